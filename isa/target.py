"""Machine descriptions: generations and instances as data, with the source of every number.

A target is a flat table of dotted parameters (`tensor.clock_ghz`, `dma.t0_ns`, ...) read from `isa/targets/`; the
attributes of `Target` are views of it. Nothing else in the project holds a machine number.

A user's own YAML file is a target too:

    extends: trn1.2xlarge            # a generation, an instance, or another file beside this one
    parameters:
      sbuf.partition_bytes: 262144   # or {value: .., source: ..} or {value: .., inferred: true, reason: ..}
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from isa.errors import TargetError
from isa.target_checks import RATES, TIMES, check
from isa.target_file import Parameter, parameters, read, written
from isa.word import ENGINES

FOLDER = Path(__file__).parent / "targets"
GENERATIONS = ("v1", "v2", "v3")
TICK_HZ_MAX = 10**14  # see Target.tick_hz


@dataclass(frozen=True)
class EngineParams:
    """One engine: clock in GHz, presence, result latency beyond the issue cost in its cycles, ticks per cycle."""

    clock_ghz: float
    present: bool
    latency_cycles: int
    ticks_per_cycle: int


@dataclass(frozen=True)
class DmaParams:
    """The DMA engines of one core. A packet takes `t0_ns + bytes / bytes_per_ns`; `ops` as in `isa.word.DMA_OPS`.

    The efficiencies are fractions of `bytes_per_ns`: transposing (`_sbuf`: from SBUF to SBUF), adding in place.
    """

    engines: int
    queues: int
    t0_ns: float
    bytes_per_ns: float
    packet_bytes: int
    start_latency_ns: float
    partitions_per_engine: int
    transpose_efficiency: float
    transpose_efficiency_sbuf: float
    add_efficiency: float
    ops: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Target:
    """A machine: `name`, `generation` ("v1" ...), and every parameter by dotted name.

    Instances are immutable; derive others with `with_params` and `scaled`.
    """

    name: str
    generation: str
    parameters: Mapping[str, Parameter]
    summary: str = ""

    def __getitem__(self, parameter: str) -> Any:
        """Value of a parameter. Raises: TargetError when the target does not state it."""
        found = self.parameters.get(parameter)
        if found is None:
            raise TargetError(f"unknown parameter {parameter!r}", where=self.name,
                              help="known: " + ", ".join(sorted(self.parameters)))
        return found.value

    def source(self, parameter: str) -> str:
        """Where the parameter's value comes from: a document, or "inferred: ..." with the reason."""
        self[parameter]
        p = self.parameters[parameter]
        return f"inferred: {p.reason}" if p.inferred else p.source

    # ---- size
    @property
    def chips(self) -> int:
        return int(self["chips"])

    @property
    def cores_per_chip(self) -> int:
        return int(self["cores_per_chip"])

    @property
    def cores(self) -> int:
        return self.chips * self.cores_per_chip

    @property
    def usd_per_hour(self) -> float | None:
        """Reserved-instance effective price, None where none is published."""
        p = self.parameters.get("usd_per_hour")
        return None if p is None else p.value

    # ---- time
    @cached_property
    def _clock_hz(self) -> dict[str, int]:
        """Clock of each present engine of finite speed in Hz."""
        values = {e: float(self[f"{e}.clock_ghz"]) for e in ENGINES if self[f"{e}.present"]}
        return {e: round(v * 1e9) for e, v in values.items() if math.isfinite(v)}

    @cached_property
    def tick_hz(self) -> int:
        """Ticks per second: the least common multiple of the clocks.

        What-if clocks may have none that is small. When it would pass 100 THz the tick is 10 fs and an engine's cycle
        is rounded to whole ticks, an error below 2e-5 for clocks up to 4 GHz.
        """
        if not self._clock_hz:
            return 10**9
        exact = math.lcm(*self._clock_hz.values())
        return exact if exact <= TICK_HZ_MAX else TICK_HZ_MAX

    @cached_property
    def engines(self) -> dict[str, EngineParams]:
        """Every engine by name, absent ones included. An engine of infinite clock has 0 ticks per cycle."""
        out = {}
        for name in ENGINES:
            hz = self._clock_hz.get(name)
            ticks = 0 if hz is None else round(Fraction(self.tick_hz, hz))
            out[name] = EngineParams(float(self[f"{name}.clock_ghz"]), bool(self[f"{name}.present"]),
                                     int(self[f"{name}.latency_cycles"]), ticks)
        return out

    def ns_to_ticks(self, ns: float) -> int:
        """Nanoseconds as whole ticks, to nearest."""
        return round(ns * self.tick_hz / 1e9)

    def ticks_to_ns(self, ticks: float) -> float:
        return float(ticks) * 1e9 / self.tick_hz

    @property
    def semaphore_latency_ns(self) -> float:
        return float(self["semaphore_latency_ns"])

    # ---- memories
    @property
    def partitions(self) -> int:
        return int(self["partitions"])

    @property
    def sbuf_partition_bytes(self) -> int:
        return int(self["sbuf.partition_bytes"])

    @property
    def psum_partition_bytes(self) -> int:
        return int(self["psum.partition_bytes"])

    @property
    def psum_banks(self) -> int:
        return int(self["psum.banks"])

    @property
    def psum_bank_bytes(self) -> int:
        """Bytes per partition of one PSUM bank."""
        return self.psum_partition_bytes // self.psum_banks

    @property
    def exclusive_sbuf(self) -> tuple[tuple[str, str], ...]:
        """Pairs of engines that cannot access SBUF at the same time."""
        return tuple((str(a), str(b)) for a, b in self["sbuf.exclusive_pairs"])

    @property
    def exclusive_psum(self) -> tuple[tuple[str, str], ...]:
        """Pairs of engines that cannot access PSUM at the same time."""
        return tuple((str(a), str(b)) for a, b in self["psum.exclusive_pairs"])

    @property
    def semaphores(self) -> int:
        return int(self["semaphores"])

    @property
    def dram_bytes_per_ns(self) -> float:
        """Device memory bandwidth of one chip."""
        return float(self["dram.bytes_per_ns"])

    @property
    def dram_bytes_per_chip(self) -> int:
        return int(self["dram.bytes_per_chip"])

    @property
    def host_bytes_per_ns(self) -> float:
        """Bandwidth of the link between host and device."""
        return float(self["host.bytes_per_ns"])

    @property
    def host_vcpus(self) -> int:
        """Hardware threads of the instance's host; one where the target is a generation and states none."""
        p = self.parameters.get("host.vcpus")
        return 1 if p is None else int(p.value)

    @property
    def host_dispatch_ns(self) -> float:
        """Time the host spends on one operator before and after its work."""
        return float(self["host.dispatch_ns"])

    @property
    def host_bytes_per_cpu_ns(self) -> float:
        """Memory bandwidth of one core of the host's CPU."""
        return float(self["host.cpu_bytes_per_ns"])

    @property
    def host_flops_per_ns(self) -> float:
        """Floating-point operations of one core of the host's CPU, sustained in products and convolutions."""
        return float(self["host.flops_per_ns"])

    @property
    def link_bytes_per_ns(self) -> float | None:
        """Chip-to-chip bandwidth of one chip, None where there is no link."""
        p = self.parameters.get("link.bytes_per_ns")
        return None if p is None or p.value is None else float(p.value)

    @property
    def link_grid(self) -> tuple[int, int]:
        """Chips as (rows, columns), numbered along the rows; see `isa.topology`."""
        rows, columns = self["link.grid"]
        return int(rows), int(columns)

    @property
    def link_wrap(self) -> bool:
        """Whether the ends of rows and columns are linked."""
        return bool(self["link.wrap"])

    # ---- what the runtime adds
    @property
    def lnc_sizes(self) -> tuple[int, ...]:
        """Physical cores that may form one logical core."""
        return tuple(int(n) for n in self["lnc.sizes"])

    @property
    def lnc_default(self) -> int:
        return int(self["lnc.default"])

    @property
    def microcode_bytes(self) -> int:
        """Device memory that one physical core takes whatever is loaded on it."""
        return int(self["runtime.microcode_bytes"])

    @property
    def switch_ns(self) -> float:
        """Time until a core that held one model can run another."""
        return float(self["runtime.switch_ns"])

    @cached_property
    def dma(self) -> DmaParams:
        kinds = {f.name: f.type for f in fields(DmaParams)}
        made: dict[str, Any] = {}
        for name, kind in kinds.items():
            value = self[f"dma.{name}"]
            made[name] = int(value) if kind == "int" else float(value) if kind == "float" else tuple(value)
        return DmaParams(**made)

    # ---- PE
    @cached_property
    def cycles_per_row(self) -> dict[str, float]:
        """PE cycles for one row of moving data, by operand dtype; dtypes the PE does not take are absent."""
        prefix = "tensor.cycles_per_row."
        return {k.removeprefix(prefix): v.value for k, v in self.parameters.items() if k.startswith(prefix)}

    @property
    def matmul_dtypes(self) -> tuple[str, ...]:
        return tuple(self.cycles_per_row)

    def peak_flops(self, dtype_name: str) -> float:
        """Peak matmul FLOP/s of one core, two per multiply-accumulate. Raises: TargetError for other dtypes."""
        cycles = self.cycles_per_row.get(dtype_name)
        if cycles is None:
            raise TargetError(f"{self.generation} has no {dtype_name} matmul", where=self.name,
                              help="available: " + ", ".join(self.matmul_dtypes))
        macs_per_cycle = int(self["tensor.rows"]) * int(self["tensor.cols"]) / cycles
        return 2.0 * macs_per_cycle * float(self["tensor.clock_ghz"]) * 1e9

    # ---- what if
    def with_params(self, changes: Mapping[str, Any]) -> Target:
        """The same machine with some parameters changed. Raises: TargetError for unknown names or impossible values."""
        for name in changes:
            self[name]
        changed = {k: Parameter(v, source="changed by the user") for k, v in changes.items()}
        return _checked(Target(self.name, self.generation, {**self.parameters, **changed}, self.summary))

    def as_yaml(self) -> str:
        """A target file that is this machine, every parameter with its source: `load` gives an equal one."""
        same = (name for name in _instances()["instances"] if _built_in(name).generation == self.generation)
        base = self.name if self.name in names() else next(same)
        return written(self.name, self.summary, base, self.parameters)

    def inferred(self) -> list[str]:
        """Names of the parameters no document states, sorted."""
        return sorted(k for k, p in self.parameters.items() if p.inferred)

    def scaled(self, names: Iterable[str], factor: float) -> Target:
        """A machine costlier by `factor` in those parameters: times and cycle counts up, rates down.

        Parameters that are neither (sizes, counts, lists) are left alone. Cycle counts stay whole, rounded up; cycles
        per PE row need not.
        """
        if not factor > 0:
            raise TargetError("the factor must be positive", where=self.name, limit="> 0", actual=factor)
        return self.with_params({k: v for k in names if (v := _scale(k, self[k], factor)) is not None})


def _scale(name: str, value: Any, factor: float) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if name.endswith(RATES):
        return value / factor
    if name.endswith("_cycles"):
        return math.ceil(round(value * factor, 9))
    return value * factor if name.endswith(TIMES) or ".cycles_per_row." in name else None


# ---- loading
def names() -> list[str]:
    """Every built-in target: generations, then instances."""
    return [*GENERATIONS, *_instances()["instances"]]


def load(name_or_path: str | Path | Target) -> Target:
    """Return the target of that generation ("v2"), instance ("trn1.2xlarge") or YAML file.

    Raises: TargetError for an unknown name or a file that does not describe a machine.
    """
    if isinstance(name_or_path, Target):
        return name_or_path
    text = str(name_or_path)
    if text.endswith((".yaml", ".yml")):
        return _from_file(Path(text), ())
    return _built_in(text)


@cache
def _built_in(name: str) -> Target:
    if name in GENERATIONS:
        data = read(FOLDER / f"{name}.yaml")
        return _checked(Target(name, name, parameters(data, name), data.get("summary", "")))
    table = _instances()
    row = table["instances"].get(name)
    if row is None:
        raise TargetError(f"unknown target {name!r}", code="TARGET_UNKNOWN", help="known: " + ", ".join(names()))
    values = dict(zip(table["columns"], row, strict=True))
    base = _built_in(values.pop("extends"))
    why = table["inferred"].get(name, {})
    own = {k: Parameter(v, inferred=True, reason=why[k]) if k in why else Parameter(v, source=table["sources"][k])
           for k, v in values.items()}
    return _checked(Target(name, base.generation, {**base.parameters, **own}, base.summary))


@cache
def _instances() -> dict[str, Any]:
    return read(FOLDER / "instances.yaml")


def _from_file(path: Path, seen: tuple[Path, ...]) -> Target:
    resolved = path.resolve()
    if resolved in seen:
        raise TargetError("targets extend each other in a circle", where=str(path))
    data = read(path)
    base_name = data.get("extends")
    if not isinstance(base_name, str):
        raise TargetError("a target file must say what it extends", where=str(path), help="extends: trn1.2xlarge")
    is_file = base_name.endswith((".yaml", ".yml"))
    base = _from_file(path.parent / base_name, (*seen, resolved)) if is_file else _built_in(base_name)
    own = parameters(data, str(path))
    for key in own:
        if key != "usd_per_hour" and not key.startswith("tensor.cycles_per_row."):
            base[key]
    return _checked(Target(str(data.get("name", path.stem)), base.generation, {**base.parameters, **own},
                           str(data.get("summary", base.summary))))


def _checked(target: Target) -> Target:
    """The target, unless it has values no machine can have."""
    check(target)
    return target
