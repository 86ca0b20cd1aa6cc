"""What a user can ask of the compiler: one dataclass, checked when it is made, and the parsing of its text forms.

Not responsible for what a target supports (a cast type the PE of a generation cannot multiply is the frontend
pipeline's error, which knows the target).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from isa.errors import ErrorList, NeuronError

if TYPE_CHECKING:
    from compiler.ir import Node

AUTO_CAST: tuple[str, ...] = ("none", "matmult", "all")
AUTO_CAST_TYPES: tuple[str, ...] = ("bf16", "fp16", "tf32", "fp8_e4m3")
AUTO = "auto"
OBJECTIVES: tuple[str, ...] = ("throughput", "latency", "cost")
OPT_LEVELS: tuple[int, ...] = (0, 1, 2, 3)
DEFAULT_TARGET = "inf1.xlarge"
#: An option beside the fields of `CompileOptions`, which it sets: inputs and outputs as neuron-cc takes them.
IO_CONFIG = "io_config"


class OptionError(NeuronError):
    """A compile option that cannot be meant."""

    code = "OPTION"


@dataclass(frozen=True)
class CompileOptions:
    """Options of one compilation.

    Attributes:
        target: instance name or path of a target description.
        auto_cast: which operands are rounded to `auto_cast_type`: "none" (full fp32), "matmult" (operands of the PE),
            "all" (activations too). None takes the generation's default:
            "matmult" on v1, whose PE has no fp32, "none" later.
        auto_cast_type: one of `AUTO_CAST_TYPES`.
        batch: value for a model's symbolic leading dimension, or None (1 where one is needed).
        input_shapes: input name -> full shape; overrides `batch` for that input.
        input_dtypes: input name -> element type, for files that do not state it.
        outputs: names of the results wanted, in order; () for all that the file states.
        framework: which frontend reads the model (`compiler.frontends.FRAMEWORKS`); None finds out from the content.
        opt_level: 0 (no optional passes, nothing overlapped) to 3; 2 is the default.
        print_after: names of passes whose graph is printed to stderr; "all" for every pass.
        fusion: fold and fuse operators into epilogues.
        double_buffer: load the next tile while the present one is in use.
        packing: fill the PE's rows where a layer has few channels.
        cpu_ops: operator types, or names of nodes, that stay on the CPU.
        device_ops: operator types, or names of nodes, that go to the device even where transfers make it slower.
        minimum_segment_size: device segments of fewer operators join the CPU.
        fallback: False makes every operator that the device cannot run an error.
        transfer_cost: False keeps on the device what would be faster left with its neighbours on the CPU.
        strict_rounding: True leaves to the CPU what the device rounds otherwise than ONNX defines (16-bit softmax).
        neuroncore_pipeline_cores: stages, each on its own core, that every device segment is cut into at the most, with
            weights pinned on chip as far as they fit; "auto" searches the number. None: one core, weights fetched by
            every run.
        require_pinned: a weight that does not fit on chip is an error.
        optimize_for: what "auto" looks for, one of `OBJECTIVES`.
        subgraph_builder_function: whether a node may go to the device; asked once for each node of the model.

    Raises: ErrorList of OptionError, all wrong options at once.
    """

    target: str = DEFAULT_TARGET
    auto_cast: str | None = None
    auto_cast_type: str = "bf16"
    batch: int | None = None
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    input_dtypes: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    framework: str | None = None
    opt_level: int = 2
    print_after: tuple[str, ...] = ()
    fusion: bool = True
    double_buffer: bool = True
    packing: bool = True
    cpu_ops: tuple[str, ...] = ()
    device_ops: tuple[str, ...] = ()
    minimum_segment_size: int = 2
    fallback: bool = True
    transfer_cost: bool = True
    strict_rounding: bool = False
    neuroncore_pipeline_cores: int | str | None = None
    require_pinned: bool = False
    optimize_for: str = "throughput"
    subgraph_builder_function: Callable[[Node], bool] | None = None

    def __post_init__(self) -> None:
        errors = list(_problems(self))
        if errors:
            raise ErrorList(errors)

    def record(self) -> dict[str, Any]:
        """The options as JSON values, for the NEFF (what is printed does not change the program and is left out)."""
        values = asdict(self)
        del values["print_after"], values["subgraph_builder_function"]
        if self.neuroncore_pipeline_cores is None:
            del values["neuroncore_pipeline_cores"], values["require_pinned"]
        if self.neuroncore_pipeline_cores != AUTO:
            del values["optimize_for"]
        values["input_shapes"] = {name: list(shape) for name, shape in sorted(self.input_shapes.items())}
        values["input_dtypes"] = dict(sorted(self.input_dtypes.items()))
        for name in ("input_dtypes", "outputs", "framework"):
            if not values[name]:
                del values[name]
        return values


def from_keywords(options: Mapping[str, Any]) -> CompileOptions:
    """`CompileOptions` of keyword arguments.

    Shapes and types of inputs may be given by name or as the command line's texts, and `io_config` as JSON text, file
    or mapping. Raises: OptionError naming the options there are; as `CompileOptions`.
    """
    from compiler.face import dtype_name, parse_input_dtypes, parse_input_shapes, with_io_config
    from compiler.frontends.formats import canonical

    known = [*(f.name for f in fields(CompileOptions)), IO_CONFIG]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ErrorList(
            [OptionError(f"unknown option {n!r}", where=n, help="known: " + ", ".join(known)) for n in unknown]
        )
    values = {name: value for name, value in options.items() if name != IO_CONFIG}
    values["input_shapes"] = _by_name(values.get("input_shapes"), parse_input_shapes, tuple)
    values["input_dtypes"] = _by_name(values.get("input_dtypes"), parse_input_dtypes, dtype_name)
    for name in ("print_after", "cpu_ops", "device_ops", "outputs"):
        if name in values:
            given = values[name]
            values[name] = (given,) if isinstance(given, str) else tuple(given)
    if options.get(IO_CONFIG) is not None:
        values = with_io_config(values, options[IO_CONFIG])
    if values.get("framework") is not None:
        values["framework"] = canonical(str(values["framework"]))
    return CompileOptions(**values)


def _by_name(
    given: Any, parse: Callable[[Iterable[str]], dict[str, Any]], value: Callable[[Any], Any]
) -> dict[str, Any]:
    """What is said of inputs, by name, from a mapping or from texts."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        return parse([given] if isinstance(given, str) else given)
    return {str(name): value(each) for name, each in given.items()}


def _problems(o: CompileOptions) -> Iterable[OptionError]:
    from compiler.face import DTYPES
    from compiler.frontends import FRAMEWORKS

    if o.auto_cast is not None and o.auto_cast not in AUTO_CAST:
        yield _choice("auto_cast", o.auto_cast, AUTO_CAST)
    if o.auto_cast_type not in AUTO_CAST_TYPES:
        yield _choice("auto_cast_type", o.auto_cast_type, AUTO_CAST_TYPES)
    if o.optimize_for not in OBJECTIVES:
        yield _choice("optimize_for", o.optimize_for, OBJECTIVES)
    cores = o.neuroncore_pipeline_cores
    if cores is not None and cores != AUTO and (not isinstance(cores, int) or cores < 1):
        yield OptionError("a pipeline has at least one core", where="neuroncore_pipeline_cores",
                          limit=f">= 1 or {AUTO!r}", actual=cores)
    if o.require_pinned and cores is None:
        yield OptionError("weights are pinned in a pipeline only", where="require_pinned",
                          help="say how many cores: --neuroncore-pipeline-cores N, or auto")
    if o.opt_level not in OPT_LEVELS:
        yield _choice("opt_level", o.opt_level, OPT_LEVELS)
    if o.minimum_segment_size < 1:
        yield OptionError("a segment has at least one operator", where="minimum_segment_size", limit=">= 1",
                          actual=o.minimum_segment_size)
    if o.batch is not None and (not isinstance(o.batch, int) or o.batch < 1):
        yield OptionError("batch has to be a positive whole number", where="batch", limit=">= 1", actual=o.batch)
    for name, shape in o.input_shapes.items():
        if any(not isinstance(d, int) or d < 0 for d in shape):
            yield OptionError(
                "an input shape has whole numbers >= 0", where=f"input {name}", limit=">= 0", actual=shape
            )
    for name, dtype in o.input_dtypes.items():
        if dtype not in DTYPES:
            yield OptionError(f"{dtype!r} is no element type", where=f"input {name}", limit=", ".join(DTYPES),
                              actual=dtype)
    if len(set(o.outputs)) < len(o.outputs):
        yield OptionError("an output is named twice", where="outputs", actual=", ".join(o.outputs))
    if o.framework is not None and o.framework not in FRAMEWORKS:
        yield _choice("framework", o.framework, FRAMEWORKS)


def _choice(name: str, value: object, choices: Iterable[object]) -> OptionError:
    text = ", ".join(map(str, choices))
    return OptionError(f"{name} {value!r} is not one of {text}", where=name, limit=text, actual=value)
