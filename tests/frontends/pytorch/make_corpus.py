"""Writes corpus.npz: exported programs (.pt2) of one operator each. Run by hand where torch 2.13 is installed."""
from __future__ import annotations

import io
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2]))

from tests.frontends.corpus import Writer  # noqa: E402
from tests.frontends.pytorch.cases import CASES, operator_names  # noqa: E402


class Function(torch.nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *xs):
        return self.function(*xs)


def exported(module, inputs, core=False):
    """The bytes of the .pt2 file, without the sample inputs, which nothing reads."""
    program = torch.export.export(module, tuple(inputs), strict=False)
    if core:
        program = program.run_decompositions()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "m.pt2"
        torch.export.save(program, path)
        data = io.BytesIO()
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as new:
            for info in old.infolist():
                name = info.filename.split("/", 1)[1]
                if not name.startswith("data/sample_inputs"):
                    new.writestr(zipfile.ZipInfo("m/" + name, (1980, 1, 1, 0, 0, 0)), old.read(info))
    return data.getvalue(), program


def flat(value):
    """The tensors of a result, in order."""
    return [v.detach().numpy() for v in torch.utils._pytree.tree_leaves(value) if v is not None]


def main(only=""):
    """Write all cases, each as it is exported and, where that differs, by core operators alone."""
    writer = Writer(HERE / "corpus.npz")
    operators = set()
    for name, (build, *inputs) in CASES.items():
        if only and only not in name:
            continue
        torch.manual_seed(0)
        module = build if isinstance(build, torch.nn.Module) else Function(build)
        module.eval()
        inputs = [torch.as_tensor(x) for x in inputs]
        with torch.no_grad():
            try:
                want = flat(module(*[x.clone() for x in inputs]))
                first, program = exported(module, inputs)
            except Exception as error:  # one case must not cost the others
                print(name, "not exported:", type(error).__name__, str(error).splitlines()[0])
                continue
            forms = {name: (first, program)}
            try:
                second = exported(module, inputs, core=True)
                if targets(second[1]) != targets(program):
                    forms[name + ".core"] = second
            except Exception as error:
                print(name, "has no core form:", type(error).__name__)
        names = [s.arg.name for s in program.graph_signature.input_specs if s.kind.name == "USER_INPUT"]
        for form, (data, made) in forms.items():
            operators |= targets(made)
            writer.add(form, {"m.pt2": data}, {n: x.numpy() for n, x in zip(names, inputs)}, want,
                       options={"framework": "pytorch"})
    writer.save()
    if not only:
        (HERE / "operators.txt").write_text("\n".join(operator_names()) + "\n")
    print(len(operators), "operators")


def targets(program):
    """The operators that a program calls."""
    return {str(n.target) for n in program.graph.nodes if n.op == "call_function"}


if __name__ == "__main__":
    main(*sys.argv[1:])
