"""Writes `docs/isa.md` from the instruction tables, the word layout and the targets: `python -m isa.docgen`."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from isa import target as targets
from isa.dtypes import DTYPES
from isa.spec import GENERATIONS, SPEC, Instruction, Operator, Slot
from isa.word import DESCRIPTOR, DMA_OPS, ENGINES, OPERAND, POINTER, SBUF_PARTITION_STRIDE, WORD

PAGE = Path(__file__).parent.parent / "docs" / "isa.md"
_KINDS = {
    "operand": "operand", "pattern": "steps only", "scalar": "column or number", "imm": "number (fp32)",
    "alu": "operation", "func": "function", "u8": "whole number", "u16": "whole number", "u32": "whole number",
    "i16": "signed number (16 bit)", "i32": "signed number (32 bit)", "f32": "number (fp32)",
}


def page() -> str:
    """The reference page as Markdown."""
    head = _HEAD.replace("ENGINES", ", ".join(f"`{e}`" for e in ENGINES))
    parts = [head, _layouts(), _operators("ALU operations", SPEC.alu, SPEC.sources["alu"]),
             _operators("Functions", SPEC.functions, SPEC.sources["functions"]), _dtypes(), _instructions(), _targets()]
    return "\n\n".join(p.strip("\n") for p in parts) + "\n"


_HEAD = """# Instruction set

Generated from `isa/tables/` and `isa/targets/` by `python -m isa.docgen`; do not edit. Modelled on the public `nki.isa`
instructions with an encoding of our own. Sources are paths in the public AWS Neuron documentation.

Engines: ENGINES. Engines compute in fp32 and round once when they write.
Costs are start-to-start cycles of the engine's clock, rounded up. In cost rules:

| name | meaning |
|---|---|
| `src0.N`, `src1.N`, `dst.N` | elements per partition, doubled where the innermost step is above 16 bytes |
| `N` | the larger of `src0.N` and `dst.N` |
| `x.elements`, `x.partitions` | elements per partition, partitions |
| `x.sbuf`, `x.psum` | where the operand is |
| `x.unit` | its innermost step is 1 |
| `x.bf16`, `x.fp32`, `x.float16` | its data type; `float16` is bf16 or fp16 |
| `MIN_II`, `START`, `NOP` | `min_ii_cycles`, `gpsimd.start_cycles`, `nop_cycles` of the target |
| `LOAD_SPEEDUP` | `tensor.load_speedup` of the target |
| `ROW` | PE cycles for a row of the data type: `tensor.cycles_per_row` |
"""


def _table(head: list[str], rows: list[list[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(c).replace("|", "\\|") for c in line) + " |" for line in lines)


def _layouts() -> str:
    out = ["## Layout"]
    for title, kind in (("Instruction word", WORD), ("Operand", OPERAND), ("Pointer", POINTER),
                        ("DMA descriptor", DESCRIPTOR)):
        rows = []
        for name, entry in (kind.fields or {}).items():
            rows.append([entry[1], f"`{name}`", _field_type(entry[0])])
        out += [f"### {title}: {kind.itemsize} bytes", _table(["offset", "field", "type"], rows)]
    out.append(
        "Descriptor operations: " + ", ".join(f"{k} `{name}`" for k, name in enumerate(DMA_OPS)) + "."
        f" SBUF addresses in descriptors are partition * {SBUF_PARTITION_STRIDE} + byte.")
    return "\n\n".join(out)


def _field_type(kind: np.dtype) -> str:
    shape = f" x {kind.shape[0]}" if kind.shape else ""
    base = kind.base
    if base.fields:
        return "pointer" if base == POINTER else "operand"
    return base.name + shape


def _operators(title: str, operators: Any, source: str) -> str:
    rows = [[o.code, f"`{o.name}`", o.kind, o.meaning, _only(o)] for o in operators.values()]
    return f"## {title}\n\nSource: {source}.\n\n" + _table(["code", "name", "kind", "meaning", "generations"], rows)


def _only(o: Operator) -> str:
    return "all" if o.generations == GENERATIONS else ", ".join(o.generations)


def _dtypes() -> str:
    rows = [[d.code, f"`{d.name}`", d.size, {"f": "float", "i": "signed", "u": "unsigned"}[d.kind]] for d in DTYPES]
    return "## Data types\n\n" + _table(["code", "name", "bytes", "kind"], rows)


def _instructions() -> str:
    summary = _table(
        ["opcode", "mnemonic", "engines", "what it does"],
        [[f"`{i.opcode:#04x}`", f"[{i.mnemonic}](#{i.mnemonic})", ", ".join(i.engines), i.summary] for i in SPEC])
    reserved = ", ".join(f"`{code:#04x}` {name}" for code, name in SPEC.reserved.items())
    return "\n\n".join(["## Instructions", summary, f"Reserved, refused by the validator: {reserved}.",
                        *(_instruction(i) for i in SPEC)])


def _instruction(i: Instruction) -> str:
    out = [f"### {i.mnemonic}", f"`{i.opcode:#04x}` on {', '.join(i.engines)}: {i.summary}."]
    if i.formula:
        out.append(f"`{i.formula}`")
    if i.slots:
        rows = [[f"`{s.name}`", " / ".join(f"`{f}`" for f in s.fields), _KINDS[s.kind], s.role, _limits(s)]
                for s in i.slots.values()]
        out.append(_table(["name", "field", "kind", "role", "limits"], rows))
    if i.flags:
        bits = (f"bit {mask.bit_length() - 1} `{name}`" for name, mask in i.flags.items())
        out.append("Flags: " + ", ".join(bits) + ".")
    out += [line for line in _rules(i) if line]
    rows = [[key, f"`{rule.text}`", i.inferred.get(key, "")] for key, rule in i.costs.items()]
    out.append(_table(["cost for", "cycles", "inferred because"], rows))
    out.append(f"Source: {i.source}.")
    return "\n\n".join(out)


def _rules(i: Instruction) -> list[str]:
    relations = (("Same elements per partition", i.same_elements), ("Same partition count", i.same_partitions),
                 ("Not both in PSUM", i.not_both_psum), ("Further rules (`isa/validator_rules.py`)", i.rules))
    return [f"{text}: " + ", ".join(f"`{n}`" for n in names) + "." if names else "" for text, names in relations]


def _limits(s: Slot) -> str:
    parts = []
    if s.memory:
        parts.append(" or ".join(m.upper() for m in s.memory))
    if s.dtypes:
        parts.append(" ".join(s.dtypes))
    for text, pair in (("elements", s.free), ("partitions", s.partitions), ("value", s.range)):
        if pair:
            parts.append(f"{text} {pair[0]}" if pair[0] == pair[1] else f"{text} {pair[0]}..{pair[1]}")
    if s.multiple != 1:
        parts.append(f"a multiple of {s.multiple}")
    if s.allowed:
        parts.append("one of " + " ".join(s.allowed))
    return "; ".join(parts)


def _targets() -> str:
    out = ["## Targets", "Every number of a machine, with its source. Inferred ones are tunable defaults."]
    generations = [targets.load(g) for g in GENERATIONS]
    for t in generations:
        rows = [[f"`{name}`", _value(p.value), "inferred" if p.inferred else "", p.reason or p.source]
                for name, p in t.parameters.items()]
        out += [f"### {t.summary}", _table(["parameter", "value", "", "source or reason"], rows)]
    rows = []
    for name in targets.names()[len(GENERATIONS):]:
        t = targets.load(name)
        price = "-" if t.usd_per_hour is None else f"{t.usd_per_hour:.3f}"
        link = "-" if t.link_bytes_per_ns is None else f"{t.link_bytes_per_ns:g}"
        gib = t.dram_bytes_per_chip * t.chips >> 30
        rows.append([f"`{name}`", t.generation, f"{t.chips}", f"{t.cores}", f"{gib}", link, price])
    out += ["### Instances", f"Sizes: {t.source('chips')}. Prices: {t.source('usd_per_hour')}.",
            _table(["name", "generation", "chips", "cores", "device GiB", "link bytes/ns per chip", "USD/hour"], rows)]
    return "\n\n".join(out)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(" + ".join(v) if isinstance(v, list) else str(v) for v in value) or "none"
    return f"{value}"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
