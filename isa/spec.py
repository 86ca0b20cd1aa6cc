"""The instruction set as data: `isa/tables/*.yaml` loaded once and checked hard.

Encoder, assembler, validator, cost rules, the reference page and the simulator's dispatch all read `SPEC`; no mnemonic,
opcode or operand rule is typed twice.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from isa import expression
from isa.dtypes import BY_NAME as DTYPES_BY_NAME
from isa.errors import SpecError
from isa.expression import Expression
from isa.word import ENGINES, WORD

FOLDER = Path(__file__).parent / "tables"
FILES = ("tensor", "vector", "scalar", "gpsimd", "sync")  # besides operators.yaml
GENERATIONS = ("v1", "v2", "v3")
OPERANDS = ("dst", "src0", "src1")
RULES = (
    "bitwise_integer", "descriptor_range", "matmul_dtype", "matmul_pair", "no_bitwise", "one_bank", "reduce_axes",
    "same_dtype", "tensor_scalar_engine", "transposed",
)
# slot kind -> fields it may name; "scalar" is ptrN if present, else immN
FIELDS: dict[str, tuple[str, ...]] = {
    "operand": OPERANDS, "pattern": ("src0", "src1"), "scalar": (), "imm": ("imm0", "imm1"), "alu": ("op0", "op1"),
    "func": ("func",), "u8": ("axes", "op0", "op1", "func"), "u16": ("count",), "i16": ("count",), "u32": ("arg",),
    "i32": ("arg",), "f32": ("arg",),
}
_OPERAND_FACTS = ("N", "elements", "partitions", "sbuf", "psum", "unit", "bf16", "fp32", "float16")
COST_NAMES = frozenset(
    ["N", "MIN_II", "START", "NOP", "ROW", "LOAD_SPEEDUP", "op0", "op1", "func", "axes", "imm0", "imm1"]
    + [f"{o}.{fact}" for o in OPERANDS for fact in _OPERAND_FACTS]
)
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Operator:
    """An ALU operation or a function: `kind` is bypass, binary, compare, unary, bitwise or function."""

    name: str
    code: int
    kind: str
    meaning: str
    generations: tuple[str, ...] = GENERATIONS


@dataclass(frozen=True)
class Slot:
    """A named parameter of an instruction and the word field that holds it.

    Attributes:
        name: as in listings and in `isa.lang`.
        kind: a key of `FIELDS`. `pattern` uses only the steps of an operand field; `scalar` is the pointer of that
            index when present, else the immediate; `f32`, `i32` reinterpret the 32-bit `arg`, `i16` the 16-bit `count`.
        field: word field; of a scalar, the pointer's.
        index: of a scalar, 0 or 1; else -1.
        role: read, write or update (reads or keeps part of what it writes); operands only.
        memory: "sbuf", "psum"; dtypes: names allowed.
        free, partitions: (least, most) elements per partition and partitions, or None; multiple: free is one of it.
        allowed: operation names an `alu` slot takes; range: (least, most) of a whole number, or None.
    """

    name: str
    kind: str
    field: str
    index: int = -1
    role: str = ""
    memory: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    free: tuple[int, int] | None = None
    partitions: tuple[int, int] | None = None
    multiple: int = 1
    allowed: tuple[str, ...] = ()
    range: tuple[int, int] | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """Word fields the slot may use."""
        return (f"ptr{self.index}", f"imm{self.index}") if self.kind == "scalar" else (self.field,)


@dataclass(frozen=True)
class Instruction:
    """One mnemonic. `slots` by name in listing order; `flags` name -> bit mask; `costs` key -> rule (see `cost`)."""

    mnemonic: str
    opcode: int
    engines: tuple[str, ...]
    summary: str
    formula: str
    source: str
    slots: Mapping[str, Slot]
    flags: Mapping[str, int]
    costs: Mapping[str, Expression]
    inferred: Mapping[str, str] = field(default_factory=dict)
    rules: tuple[str, ...] = ()
    same_elements: tuple[str, ...] = ()
    same_partitions: tuple[str, ...] = ()
    not_both_psum: tuple[str, ...] = ()

    @property
    def operands(self) -> tuple[Slot, ...]:
        """Slots that are access patterns in memory, destination first."""
        return tuple(s for s in self.slots.values() if s.kind == "operand")

    @property
    def scalars(self) -> tuple[Slot, ...]:
        """Slots that are a [P, 1] column or an immediate."""
        return tuple(s for s in self.slots.values() if s.kind == "scalar")

    def by_field(self, field_name: str) -> Slot | None:
        """The slot that uses the word field, None when it must be zero."""
        return next((s for s in self.slots.values() if field_name in s.fields), None)

    def cost(self, engine: str, generation: str) -> Expression:
        """The most specific rule: `engine.generation`, `engine`, `generation`, `default`."""
        keys = (f"{engine}.{generation}", engine, generation, "default")
        return next(self.costs[k] for k in keys if k in self.costs)

    def cost_inferred(self, engine: str, generation: str) -> str:
        """Why the rule is inferred, "" when it is documented."""
        keys = (f"{engine}.{generation}", engine, generation, "default")
        return self.inferred.get(next(k for k in keys if k in self.costs), "")


@dataclass(frozen=True)
class Spec:
    """The whole instruction set."""

    by_name: Mapping[str, Instruction]
    by_opcode: Mapping[int, Instruction]
    reserved: Mapping[int, str]  # opcode -> name; refused by the validator
    alu: Mapping[str, Operator]
    functions: Mapping[str, Operator]
    sources: Mapping[str, str]  # of the alu and functions tables

    def __iter__(self) -> Iterator[Instruction]:
        """Instructions in opcode order."""
        return iter(self.by_opcode.values())

    def __len__(self) -> int:
        return len(self.by_opcode)


# ---- loading
def read_tables(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """Raw content of the tables by file stem. Raises: SpecError for a file that is not YAML."""
    out: dict[str, dict[str, Any]] = {}
    for stem in ("operators", *FILES):
        try:
            out[stem] = yaml.load((folder / f"{stem}.yaml").read_text(encoding="utf-8"), Loader=_LOADER)
        except (OSError, yaml.YAMLError) as error:
            raise SpecError(f"cannot read the table: {error}", where=f"{stem}.yaml") from error
    return out


def build(tables: Mapping[str, Mapping[str, Any]]) -> Spec:
    """Make the instruction set from raw tables. Raises: SpecError for the first contradiction, naming its place."""
    operators = tables["operators"]
    alu = _operators(operators["alu"], "alu")
    functions = _operators(operators["functions"], "functions")
    groups = _groups(operators, alu)
    by_opcode: dict[int, Instruction] = {}
    reserved: dict[int, str] = {}
    for stem in FILES:
        for name, entry in tables[stem].items():
            if name == "reserved":
                reserved.update({int(code): str(text) for code, text in entry.items()})
                continue
            made = _instruction(str(name), entry, groups, alu)
            if made.opcode in by_opcode:
                raise SpecError(f"opcode {made.opcode:#04x} is taken by {by_opcode[made.opcode].mnemonic}", where=name)
            by_opcode[made.opcode] = made
    for code, name in reserved.items():
        if code in by_opcode:
            raise SpecError(f"opcode {code:#04x} is reserved for {name}", where=by_opcode[code].mnemonic)
    ordered = dict(sorted(by_opcode.items()))
    by_name = {i.mnemonic: i for i in ordered.values()}
    if len(by_name) != len(ordered) or set(by_name) & set(reserved.values()):
        raise SpecError("two opcodes share a mnemonic", where=", ".join(i.mnemonic for i in ordered.values()))
    sources = {k: str(operators[f"{k}_source"]) for k in ("alu", "functions")}
    return Spec(by_name, ordered, reserved, alu, functions, sources)


def _operators(entries: Mapping[str, Any], table: str) -> dict[str, Operator]:
    out: dict[str, Operator] = {}
    for name, e in entries.items():
        kind = str(e.get("kind", "function"))
        made = Operator(name, int(e["code"]), kind, str(e["meaning"]), tuple(e.get("generations", GENERATIONS)))
        if any(o.code == made.code for o in out.values()) or not 0 <= made.code < 256:
            raise SpecError(f"code {made.code} is taken or does not fit a byte", where=f"{table}.{name}")
        out[name] = made
    return out


def _groups(operators: Mapping[str, Any], alu: Mapping[str, Operator]) -> dict[str, tuple[str, ...]]:
    for group, members in operators["dtype_groups"].items():
        _known(members, DTYPES_BY_NAME, f"dtype_groups.{group}")
    for group, members in operators["op_groups"].items():
        _known(members, alu, f"op_groups.{group}")
    return {k: tuple(v) for t in ("dtype_groups", "op_groups") for k, v in operators[t].items()}


def _known(values: Any, known: Any, where: str) -> None:
    unknown = [v for v in values if v not in known]
    if unknown:
        raise SpecError(f"unknown {unknown[0]!r}", where=where, help="known: " + ", ".join(map(str, known)))


_KEYS = {
    "opcode", "engines", "summary", "formula", "slots", "flags", "rules", "same_elements", "same_partitions",
    "not_both_psum", "cost", "inferred", "source",
}
_SLOT_KEYS = {
    "kind", "field", "index", "role", "memory", "dtypes", "free", "partitions", "multiple", "allowed", "range",
}


def _instruction(name: str, e: Mapping[str, Any], groups: Mapping[str, tuple[str, ...]],
                 alu: Mapping[str, Operator]) -> Instruction:
    _known(e, _KEYS, name)
    missing = {"opcode", "engines", "summary", "formula", "cost", "source"} - set(e)
    if missing:
        raise SpecError(f"{sorted(missing)[0]} is missing", where=name)
    if not 0 < int(e["opcode"]) < 256:
        raise SpecError("an opcode is 1..255", where=name, limit=255, actual=e["opcode"])
    _known(e["engines"], ENGINES, f"{name}.engines")
    _known(e.get("rules", []), RULES, f"{name}.rules")
    slots = {s: _slot(s, d, groups, alu, f"{name}.{s}") for s, d in (e.get("slots") or {}).items()}
    _check_fields(name, slots)
    flags = {str(f): 1 << i for i, f in enumerate(e.get("flags", []))}
    if len(flags) > 8:
        raise SpecError("more flags than bits", where=name, limit=8, actual=len(flags))
    relations = {k: tuple(e.get(k, ())) for k in ("same_elements", "same_partitions", "not_both_psum")}
    for key, members in relations.items():
        _known(members, [s.name for s in slots.values() if s.kind == "operand"], f"{name}.{key}")
    costs = {str(k): _cost(str(v), f"{name}.cost.{k}", alu) for k, v in e["cost"].items()}
    _check_cost_keys(name, costs, e)
    inferred = {str(k): str(v) for k, v in e.get("inferred", {}).items()}
    return Instruction(name, int(e["opcode"]), tuple(e["engines"]), str(e["summary"]), str(e["formula"]),
                       str(e["source"]), slots, flags, costs, inferred, tuple(e.get("rules", ())), **relations)


def _slot(name: str, d: Mapping[str, Any], groups: Mapping[str, tuple[str, ...]], alu: Mapping[str, Operator],
          where: str) -> Slot:
    _known(d, _SLOT_KEYS, where)
    kind = str(d.get("kind"))
    _known([kind], FIELDS, where)
    index = int(d.get("index", -1))
    if kind == "scalar":
        if index not in (0, 1):
            raise SpecError("a scalar has index 0 or 1", where=where, actual=index)
        place = f"ptr{index}"
    else:
        place = str(d.get("field", name))
        _known([place], FIELDS[kind], where)
    dtypes, allowed = _members(d.get("dtypes", ()), groups), _members(d.get("allowed", ()), groups)
    _known(dtypes, DTYPES_BY_NAME, where)
    _known(allowed, alu, where)
    _known(d.get("memory", ()), ("sbuf", "psum"), where)
    if kind == "operand" and (d.get("role") not in ("read", "write", "update") or not d.get("memory") or not dtypes):
        raise SpecError("an operand states its role, memory and dtypes", where=where)
    pairs = {k: _pair(d[k], f"{where}.{k}") if k in d else None for k in ("free", "partitions", "range")}
    return Slot(name, kind, place, index, str(d.get("role", "")), tuple(d.get("memory", ())), dtypes,
                multiple=int(d.get("multiple", 1)), allowed=allowed, **pairs)


def _members(value: Any, groups: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    if isinstance(value, str):
        _known([value], groups, "group")
        return groups[value]
    return tuple(value)


def _pair(value: Any, where: str) -> tuple[int, int]:
    if not (isinstance(value, list) and len(value) == 2 and 0 <= value[0] <= value[1]):
        raise SpecError("expected [least, most]", where=where, actual=value)
    return int(value[0]), int(value[1])


def _check_fields(name: str, slots: Mapping[str, Slot]) -> None:
    used: dict[str, str] = {}
    for slot in slots.values():
        for place in slot.fields:
            if place not in (WORD.names or ()):
                raise SpecError(f"no word field {place!r}", where=f"{name}.{slot.name}")
            if place in used:
                raise SpecError(f"field {place} is used by {used[place]} too", where=f"{name}.{slot.name}")
            used[place] = slot.name


def _cost(text: str, where: str, alu: Mapping[str, Operator]) -> Expression:
    made = expression.parse(text)
    _known(sorted(made.names), sorted(COST_NAMES | set(alu)), where)
    return made


def _check_cost_keys(name: str, costs: Mapping[str, Expression], e: Mapping[str, Any]) -> None:
    engines = list(e["engines"])
    keys = ["default", *GENERATIONS, *engines, *(f"{a}.{g}" for a in engines for g in GENERATIONS)]
    _known(costs, keys, f"{name}.cost")
    _known(e.get("inferred", {}), costs, f"{name}.inferred")
    if "default" not in costs:
        raise SpecError("a default cost rule is missing", where=name)


@cache
def load() -> Spec:
    """The instruction set of the shipped tables."""
    return build(read_tables())


SPEC: Spec = load()
ALU_OPS: dict[str, int] = {o.name: o.code for o in SPEC.alu.values()}
FUNCTIONS: dict[str, int] = {o.name: o.code for o in SPEC.functions.values()}
