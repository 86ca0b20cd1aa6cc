"""DarkNet: from the files to the graph."""

from __future__ import annotations

from compiler.errors import CompileError, ModelError, ShapeError, UnsupportedOp
from compiler.frontends.builder import GraphBuilder
from compiler.frontends.darknet import convolutions, heads, joins, norms, recurrent, windows
from compiler.frontends.darknet.activations import FUNCTIONS
from compiler.frontends.darknet.cfg import ALIASES, Section, read_cfg
from compiler.frontends.darknet.net import LAYERS, REFUSED, Layer, Net
from compiler.frontends.darknet.weights import Weights
from compiler.frontends.files import ModelFiles
from compiler.frontends.inputs import Declared, Given
from compiler.frontends.onnx.check import raise_all
from compiler.ir import Graph

#: The modules whose layers are registered.
FAMILIES = (convolutions, windows, joins, norms, heads, recurrent)
#: What only AlexeyAB's darknet reads, and the revision of the version, 0.2.5, that it writes.
_ALEXEY_KINDS = {"scale_channels", "sam", "Gaussian_yolo", "conv_lstm", "history", "local_avgpool", "reorg3d",
                 "contrastive", "empty", "implicit"}  # fmt: skip
_ALEXEY_OPTIONS = {"hidden", "stride_x", "stride_y", "dilation", "antialiasing", "group_id", "scale_x_y", "new_coords",
                   "weights_type", "share_index", "maxpool_depth"}  # fmt: skip
_ALEXEY_REVISION = 5
#: Losses: what comes before them is the result.
_LOSSES = ("cost", "contrastive")
#: Options that leave weights out of the file, for layers that have some.
_PARTIAL = ("dontload", "numload")
_WEIGHTED = {"convolutional", "deconvolutional", "connected", "local", "batchnorm", "rnn", "gru", "lstm", "crnn",
             "conv_lstm", "implicit"}  # fmt: skip


def load(files: ModelFiles, given: Given) -> Graph:
    """Read a network. Its input is `data`, [batch, channels, height, width] or [batch, inputs].

    With `time_steps` in [net] the first dimension counts steps times sequences, all sequences of a step together.
    Results: every head of a detector, or else the last layer that is no loss, as `layer<number>_<kind>`.

    Raises: ModelError (CFG_*, WEIGHTS_*, MODEL_INCOMPLETE, TREE), ShapeError, UnsupportedOp naming every layer that
        cannot be compiled, ErrorList.
    """
    if "weights" not in files.others:
        raise ModelError("the weights of the DarkNet model are missing", code="MODEL_INCOMPLETE",
                         where=str(files.main), help="put the .weights file beside the .cfg")
    options, sections = read_cfg(files.main)
    raise_all(_unsupported(sections))
    alexey = _is_alexey(sections, Weights(files.others["weights"]).version)
    try:
        return _read(files, given, options, sections, alexey, batchnorm_biases=alexey)
    except ModelError as error:
        # the two darknets disagree on what a layer [batchnorm] saves: the length of the file tells
        if error.code not in ("WEIGHTS_SHORT", "WEIGHTS_SURPLUS") or all(s.kind != "batchnorm" for s in sections):
            raise
        try:
            return _read(files, given, options, sections, alexey, batchnorm_biases=not alexey)
        except ModelError:
            raise error from None


def operators() -> dict[str, str]:
    """Sections by name: "" where a model may have them, else the reason why it may not."""
    known = {**dict.fromkeys(LAYERS, ""), "net": ""}
    return known | {alias: known[kind] for alias, kind in ALIASES.items()}


def _is_alexey(sections: list[Section], version: tuple[int, int, int]) -> bool:
    return version == (0, 2, _ALEXEY_REVISION) or any(
        s.kind in _ALEXEY_KINDS or not _ALEXEY_OPTIONS.isdisjoint(s.options) for s in sections)


def _unsupported(sections: list[Section]) -> list[CompileError]:
    """An error for every kind of layer, and every option of one, that cannot be compiled; each names the layers."""
    found: dict[tuple[str, str], list[Section]] = {}
    for section in sections:
        if section.kind not in LAYERS:
            found.setdefault((f"[{section.kind}]", "no darknet knows it"), []).append(section)
        for (kind, option), reason in REFUSED.items():
            if kind == section.kind and section.integer(option, 0):
                found.setdefault((f"{option}= of [{kind}]", reason), []).append(section)
        for option in ("activation", "lstm_activation"):
            name = section.text(option, "linear")
            if name not in FUNCTIONS:
                found.setdefault((f"{option}={name}", "no darknet knows it"), []).append(section)
        for option in _PARTIAL:
            if section.kind in _WEIGHTED and section.integer(option, 0):
                what = f"{option}= of [{section.kind}]"
                found.setdefault((what, "weights are missing in the file then"), []).append(section)
    errors: list[CompileError] = []
    for (what, reason), users in found.items():
        error = UnsupportedOp(f"{what} cannot be compiled: {reason}", where=users[0].where,
                              actual=", ".join(s.name for s in users[:8]) + (" ..." if len(users) > 8 else ""))
        error.op, error.nodes = what, tuple(s.name for s in users)
        errors.append(error)
    return errors


def _read(files: ModelFiles, given: Given, options: Section, sections: list[Section], alexey: bool,
          batchnorm_biases: bool) -> Graph:
    b = GraphBuilder(files.main.stem, str(files.main))
    steps = options.integer("time_steps", 1, 1)
    net = Net(b, Weights(files.others["weights"]), steps, alexey, batchnorm_biases)
    last = _input(net, options, given)
    heads_found: list[tuple[Section, Layer]] = []
    final: tuple[Section, Layer] | None = None
    for section in sections:
        with b.layer(section.name):
            last = LAYERS[section.kind](net, section, last)
        net.layers.append(last)
        if section.kind in heads.HEADS:
            heads_found.append((section, last))
        if section.kind not in _LOSSES or final is None:
            final = (section, last)
    net.weights.close()
    for section, found in heads_found or [final or (sections[-1], last)]:
        with b.layer(section.name):
            b.output(found.value, section.name)
    return b.finish()


def _input(net: Net, options: Section, given: Given) -> Layer:
    """Define the input. Raises: ModelError CFG_NET; ShapeError TIME_STEPS when its rows do not make whole steps."""
    sizes = [options.integer(name, 0, 0) for name in ("channels", "height", "width")]
    image = (sizes[0], sizes[1], sizes[2]) if all(sizes) else None
    size = options.integer("inputs", sizes[0] * sizes[1] * sizes[2], 1) if not image or options.has("inputs") else None
    if image and size not in (None, sizes[0] * sizes[1] * sizes[2]):
        raise ModelError("[net] states inputs= beside another size of images", code="CFG_NET", where=options.where,
                         limit=sizes[0] * sizes[1] * sizes[2], actual=size)
    size = size or sizes[0] * sizes[1] * sizes[2]
    if size < 1:
        raise ModelError("[net] states neither channels=, height= and width= nor inputs=", code="CFG_NET",
                         where=options.where)
    net.check(options, *(image or (size, 1, 1)))
    first = "batch" if net.steps == 1 else net.steps
    [value] = net.b.inputs([Declared("data", (first, *(image or (size,))), "float32")], given)
    net.rows = net.b.shape(value)[0]
    if net.rows < 1 or net.rows % net.steps:
        raise ShapeError("the first dimension of the input has to be a multiple of time_steps", code="TIME_STEPS",
                         where=options.where, limit=f"multiples of {net.steps}", actual=net.rows)
    return Layer(value, size, image)
