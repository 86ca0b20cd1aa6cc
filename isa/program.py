"""The program of one pipeline stage as flat arrays: what the compiler emits, the NEFF stores and the machine runs."""
from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from isa import word
from isa.dtypes import DType

INPUT, OUTPUT, WEIGHT, SCRATCH = "input", "output", "file", "tmp-buf"
VARIABLE_KINDS = (INPUT, OUTPUT, WEIGHT, SCRATCH)
IN_DRAM, IN_SBUF = "dram", "sbuf"
VARIABLE_SPACES = (IN_DRAM, IN_SBUF)
HANDOVER_BUFFERS = 2  # copies of what one stage hands to the next: one is filled while the other is read
HANDOVER_ALIGNMENT = 32  # bytes of a partition to which each of those buffers is rounded up


@dataclass(frozen=True)
class Variable:
    """One tensor in memory that only DMA reaches, addressed by descriptors through its id.

    Attributes:
        id: 1..; 0 is SBUF in descriptors.
        name: model's name of an input or output, layer-derived name of a weight.
        kind: one of `VARIABLE_KINDS` (the `type` of a NEFF `var` entry).
        dtype: element type in that memory.
        shape: row-major.
        data: uint8 bytes of a weight (a view of the mapped file, verified on first use), else None.
        space: "dram", or "sbuf" for what pipeline stages hand over: `HANDOVER_BUFFERS` buffers in the SBUF of the core
            that reads it, filled by the core before it.
    """

    id: int
    name: str
    kind: str
    dtype: DType
    shape: tuple[int, ...]
    data: np.ndarray | None = None
    space: str = IN_DRAM

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.size


@dataclass(frozen=True)
class DebugEntry:
    """What a word's or descriptor's `debug` number stands for (row number = debug, row 0 = nothing)."""

    layer: str = ""  # the source model's name for the node
    op_type: str = ""  # operator after fusion, e.g. "Conv+Relu"
    source: str = ""  # graph nodes it came from, comma separated
    purpose: str = ""  # compute, load, store, spill, reload, relayout, transpose
    macs: int = 0  # useful multiply-accumulates of the layer, counted once on its first entry


def empty_stream() -> np.ndarray:
    """The stream of an engine without work: WORD [0]."""
    return np.zeros(0, dtype=word.WORD)


@dataclass
class Stage:
    """One stage: a stream per engine, DMA descriptors, DRAM variables and debug rows.

    Attributes:
        streams: engine name -> [n] array of `word.WORD`; engines without instructions may be absent.
        descriptors: [m] array of `word.DESCRIPTOR`; a `dma_trigger` names `arg` (first) and `count`.
        variables: in id order, ids 1..len.
        debug: row 0 is the empty entry.
        sbuf_peak_bytes, psum_peak_bytes: per partition, as allocated.
        init: streams run once when the stage is loaded: they bring pinned weights into SBUF, which `streams` then only
            read. Semaphores are zero before them, after them, and before every run of `streams`.
        info: further compiler facts for reports (weights_bytes, spill_bytes, pinned_bytes, ...), JSON values.
    """

    streams: dict[str, np.ndarray] = field(default_factory=dict)
    descriptors: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=word.DESCRIPTOR))
    variables: list[Variable] = field(default_factory=list)
    debug: list[DebugEntry] = field(default_factory=lambda: [DebugEntry()])
    sbuf_peak_bytes: int = 0
    psum_peak_bytes: int = 0
    info: dict[str, object] = field(default_factory=dict)
    init: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def loading(self) -> Stage:
        """What runs when the stage is loaded, as a stage of its own: `init` with all else the same."""
        return replace(self, streams=self.init, init={})

    @property
    def handover_bytes(self) -> int:
        """Bytes of every SBUF partition taken by the buffers of what the stage before hands over."""
        handed = (v for v in self.variables if v.kind == INPUT and v.space == IN_SBUF)
        rows = (-(-v.size_bytes // word.PARTITIONS) for v in handed)
        return HANDOVER_BUFFERS * sum(-(-row // HANDOVER_ALIGNMENT) * HANDOVER_ALIGNMENT for row in rows)

    def stream(self, engine: str) -> np.ndarray:
        return self.streams.get(engine, empty_stream())

    def variable(self, name: str) -> Variable:
        return next(v for v in self.variables if v.name == name)


@dataclass(frozen=True)
class TensorInfo:
    """A model input or output as the user sees it.

    Attributes:
        name: key in the inputs and outputs of a run.
        shape: sizes, -1 where a size is known only at run time; () for what is no tensor.
        dtype: numpy (or ml_dtypes) spelling, "string" for strings; for what is no tensor ONNX's type, for instance
            "seq(tensor(float))", "optional(tensor(int64))", "seq(map(int64,tensor(float)))".
        ranked: False when even the number of dimensions is known only at run time; `shape` is then ().
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    ranked: bool = True

    @property
    def is_tensor(self) -> bool:
        """Whether it is one tensor, of numbers or of strings."""
        return "(" not in self.dtype

    @property
    def is_optional(self) -> bool:
        """Whether it may be absent (None)."""
        return self.dtype.startswith("optional(")

    @property
    def is_static(self) -> bool:
        """Whether it is a tensor of numbers whose sizes are all known: only such tensors reach the device."""
        return self.is_tensor and self.dtype != STRING and self.ranked and min(self.shape, default=0) >= 0


STRING = "string"
_ELEMENT = r"tensor\([a-z0-9_]+\)"
_CONTAINER = re.compile(rf"optional\((?:{_ELEMENT}|seq\({_ELEMENT}\))\)"
                        rf"|seq\((?:{_ELEMENT}|map\([a-z0-9]+,{_ELEMENT}\))\)|map\([a-z0-9]+,{_ELEMENT}\)")
_TENSOR = re.compile(r"[a-z][a-z0-9_]*")


def is_type(text: str) -> bool:
    """Whether `text` is written like a `TensorInfo.dtype`: a name, or an ONNX sequence, optional or map type."""
    return bool((_CONTAINER if "(" in text else _TENSOR).fullmatch(text))


@dataclass(frozen=True)
class Node:
    """One node of the NEFF graph, run in order; tensors between nodes are named.

    kind: "neuron_core" (stage >= 0) or "cpu" (`model`: archive member with the ONNX segment).
    core: which of the program's cores runs a device stage, counted from the first one.
    upstream: name of the node before it in a pipeline, whose core hands it all its inputs; "": the host does. A stage
        that is some node's upstream hands its outputs to that node's core, and to nobody else.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    stage: int = -1
    model: str = ""
    core: int = 0
    upstream: str = ""


@dataclass
class Program:
    """A whole compiled model: what a NEFF holds."""

    name: str
    target: str  # instance name it was compiled for, e.g. "trn1.2xlarge"
    generation: str  # "v1", "v2" or "v3"
    inputs: Sequence[TensorInfo]
    outputs: Sequence[TensorInfo]
    nodes: Sequence[Node]
    stages: Sequence[Stage]
    cpu_models: Mapping[str, bytes] = field(default_factory=dict)
    report: Mapping[str, object] = field(default_factory=dict)  # report.json of the design page
    options: Mapping[str, object] = field(default_factory=dict)  # compile options, for the record
    seal: str = field(default="", init=False, compare=False, repr=False)  # hash in its NEFF's header; "" in memory

    @property
    def cores(self) -> int:
        """Cores the program needs: one for each pipeline stage, at least one."""
        return 1 + max((n.core for n in self.nodes), default=0)

    def downstream(self, node: Node) -> Node | None:
        """The node that `node` hands its outputs to, core to core; None where the host takes them."""
        return next((n for n in self.nodes if n.upstream == node.name), None)
