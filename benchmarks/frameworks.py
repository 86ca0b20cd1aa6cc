"""Models saved by every framework: compiled from files and from archives, run, compared with the framework's outputs.

    python benchmarks/frameworks.py FOLDER      rewrites that section of docs/results.md

Below FOLDER lies a folder for each model: meta.json (task, files, tensors, tolerances), io.npz, the files, an archive.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from measure import CASTS

import neuronsim
from isa.errors import ErrorList, NeuronError

BF16_SHARE = 3e-2
TITLE = "## Models of every framework"
RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results.md"
#: Results of non-maximum suppression, where a small error moves whole rows: judged in fp32 only.
_SUPPRESSED = ("multiboxdetection0_output",)


@dataclass(frozen=True)
class Outcome:
    """One model on one target: largest error over what is allowed (1 and less is right), and what the report says."""

    error: float
    on_device: int
    operators: int
    latency_ms: float


@dataclass(frozen=True)
class Row:
    """One model; a sentence in place of an outcome that there is none of. `archive` None: there is none."""

    meta: Mapping[str, Any]
    files: Outcome | str
    archive: bool | None
    bf16: Outcome | str


def rows(folder: Path) -> Iterator[Row]:
    """The models below a folder, or of one format, in order; progress on stderr."""
    for path in sorted(folder.rglob("meta.json")):
        meta = json.loads(path.read_text())
        model, packed = _model(path.parent, meta), (meta.get("archive") or {}).get("file")
        files = _outcome(path.parent, meta, model, "trn1.2xlarge")
        archive = _right(_outcome(path.parent, meta, path.parent / packed, "trn1.2xlarge")) if packed else None
        row = Row(meta, files, archive, _outcome(path.parent, meta, model, "inf1.xlarge"))
        sys.stderr.write(_line(row) + "\n")
        yield row


def _model(folder: Path, meta: Mapping[str, Any]) -> Path:
    """What a user would name: the one file, the first of a pair, the folder of a SavedModel."""
    names = meta["files"]
    if "saved_model.pb" in names:
        return folder
    return folder / next((n for n in names if n.endswith((".cfg", "symbol.json"))), names[0])


def _outcome(folder: Path, meta: Mapping[str, Any], model: Path, target: str) -> Outcome | str:
    with np.load(folder / "io.npz", allow_pickle=False) as io:
        arrays = dict(io)
    worst, first = 0.0, None
    try:
        for given, wanted in (("inputs", "outputs"), ("second_inputs", "second_outputs")):
            if wanted not in meta:
                continue
            inputs = {i["name"]: arrays[i["key"]] for i in meta[given]}
            shapes = {name: array.shape for name, array in inputs.items()}
            neff = neuronsim.compile(model, None, target, auto_cast=CASTS[target], input_shapes=shapes)
            result = neff.run(inputs)
            expected = {o["name"]: arrays[o["key"]] for o in meta[wanted]}
            worst = max(worst, _worst(result.outputs, expected, meta, target))
            operators = neff.report["operators"]
            first = first or Outcome(0, operators["on_device"], operators["total"], result.stats["latency_ms"]["p50"])
    except NeuronError as error:
        one = error.errors[0] if isinstance(error, ErrorList) else error
        return f"{one.code}: {one.what}"
    assert first is not None
    return Outcome(worst, first.on_device, first.operators, first.latency_ms)


def _worst(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], meta: Mapping[str, Any],
           target: str) -> float:
    """Largest error over what is allowed, infinite where a class is another although fp32 is sure of it."""
    if not set(expected) <= set(found):  # TorchScript and exported programs do not name their results
        found = dict(zip(expected, found.values(), strict=True))
    exact = CASTS[target] == "none"
    return max(_error(found[n], e, meta, exact) for n, e in expected.items() if exact or not _left_out(n, e))


def _left_out(name: str, expected: np.ndarray) -> bool:
    """Whether a result is judged in fp32 only: what comes out of a suppression, and numbers of classes and boxes."""
    return name.endswith(_SUPPRESSED) or (expected.dtype.kind in "iu" and expected.dtype.itemsize > 1)


def _error(ours: np.ndarray, expected: np.ndarray, meta: Mapping[str, Any], exact: bool) -> float:
    """Largest |ours - expected| over what is allowed: the model's own tolerance in fp32, `BF16_SHARE` of the largest
    magnitude with bf16 operands (for quantised results no less than the model's own)."""
    a, b = ours.astype(np.float64), expected.astype(np.float64)
    if a.shape != b.shape:
        return np.inf
    if exact:
        allowed = meta["atol"] + meta["rtol"] * np.abs(b) * (expected.dtype.kind == "f")
        return float(np.divide(np.abs(a - b), allowed, out=np.where(a == b, 0, np.inf), where=allowed > 0).max())
    limit = max(BF16_SHARE * np.abs(b).max(), meta["atol"] * (expected.dtype.kind != "f"))
    if meta["task"].startswith(("Image classification", "Activity recognition")) and b.shape[-1] > 1:
        best = np.sort(b, axis=-1)
        sure = best[..., -1] - best[..., -2] > 2 * limit
        if (a.argmax(-1) != b.argmax(-1))[sure].any():
            return np.inf
    return float(np.abs(a - b).max() / limit) if limit else float(np.abs(a - b).max() > 0)


def _right(outcome: Outcome | str) -> bool:
    return isinstance(outcome, Outcome) and outcome.error <= 1


def _line(row: Row) -> str:
    yes = {True: "yes", False: "no", None: "-"}
    cells = [row.meta["format"], row.meta["name"], row.meta["task"], row.meta["architecture"]]
    if isinstance(row.files, str):
        return f"| {' | '.join(cells)} | {row.files} |"
    cells += [f"{row.files.on_device} of {row.files.operators}", yes[_right(row.files)], yes[row.archive],
              f"{row.files.error:.2g}"]  # fmt: skip
    if isinstance(row.bf16, str):
        return f"| {' | '.join(cells)} | {row.bf16} |"
    cells += [f"{row.bf16.error:.2g}", f"{row.files.latency_ms:.3f} ms", f"{row.bf16.latency_ms:.3f} ms"]
    return f"| {' | '.join(cells)} |"


def lines(folder: Path) -> list[str]:
    """The section: a row for every model, and the share of each format's operators that is on the device."""
    found = list(rows(folder))
    text = [
        TITLE, "",
        "| format | model | task | network | on device | files right | archive right | fp32 error | bf16 error "
        "| trn1 latency | inf1 latency |",
        "|---|---|---|---|---:|---|---|---:|---:|---:|---:|",
        *map(_line, found), "",
        "| format | models | right from files | right from archives | right in bf16 | operators on device |",
        "|---|---:|---:|---:|---:|---:|",
    ]  # fmt: skip
    for name, group in groupby(found, lambda r: r.meta["format"]):
        of = list(group)
        done = [r.files for r in of if isinstance(r.files, Outcome)]
        share = sum(o.on_device for o in done) / max(sum(o.operators for o in done), 1)
        archives = sum(r.archive is True for r in of)
        text.append(f"| {name} | {len(of)} | {sum(_right(r.files) for r in of)} | {archives} "
                    f"| {sum(_right(r.bf16) for r in of)} | {100 * share:.0f} % |")
    return [
        *text, "",
        "Errors are the largest over what is allowed, so at most 1 is right: in fp32 (trn1.2xlarge) the model's own",
        "tolerance, with bf16 operands (inf1.xlarge) 3e-2 of the largest expected magnitude, the class being the same",
        "wherever two of the scores are further apart than twice that. What comes out of non-maximum suppression is",
        "judged in fp32 only. A model with a second recorded call (another batch or size) is compiled for both.",
        "Operators are those of the framework's file (its nodes or layers); latencies are simulated, of one call.",
    ]  # fmt: skip


def replaced(document: str, section: list[str]) -> str:
    """A document with the section of that title anew, or added at the end."""
    before, _, rest = document.partition(section[0] + "\n")
    _, mark, after = rest.partition("\n## ")
    return before.rstrip("\n") + "\n\n" + "\n".join(section) + "\n" + (mark + after if mark else "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="one folder per model, or one per format with those in it")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    document = args.output.read_text(encoding="utf-8")
    args.output.write_text(replaced(document, lines(args.folder)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
