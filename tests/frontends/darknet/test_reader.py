"""Reading cfg and weights: spellings, versions, and files that are wrong."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from compiler.errors import ModelError, ShapeError, UnsupportedOp
from compiler.frontends.darknet.cfg import read_cfg
from compiler.frontends.darknet.model import load, operators
from compiler.frontends.darknet.weights import Weights
from compiler.frontends.files import ModelFiles
from compiler.frontends.inputs import Given
from compiler.ir import Graph
from isa.errors import NeuronError

NET = "[net]\nchannels=2\nheight=4\nwidth=4\n"
CONV = "[convolutional]\nfilters=3\nsize=1\nactivation=linear\n"
#: Sections that the two parsers know (string_to_layer_type in src/parser.c of each).
PJREDDIE = """shortcut crop cost detection region yolo iseg local conv convolutional deconv deconvolutional activation
    logistic l2norm net network crnn gru lstm rnn conn connected max maxpool reorg avg avgpool dropout lrn
    normalization batchnorm soft softmax route upsample""".split()
ALEXEY = """shortcut scale_channels sam crop cost detection region yolo Gaussian_yolo local conv convolutional
    activation net network crnn gru lstm conv_lstm history rnn conn connected max maxpool local_avg
    local_avgpool reorg3d reorg avg avgpool dropout lrn normalization batchnorm soft softmax contrastive
    route upsample empty silence implicit""".split()


def weights(path: Path, count: int, version: tuple[int, int, int] = (0, 2, 0), wide: bool = True) -> np.ndarray:
    """Write a file of `count` floats; returns them."""
    floats = np.arange(count, dtype="<f4") / 8
    path.write_bytes(struct.pack("<3i", *version) + struct.pack("<q" if wide else "<i", 0) + floats.tobytes())
    return floats


def read(folder: Path, cfg: str, count: int = 9, given: Given | None = None, **header: object) -> Graph:
    (folder / "a.cfg").write_text(cfg)
    weights(folder / "a.weights", count, **header)  # type: ignore[arg-type]
    return load(ModelFiles("darknet", "cfg", folder / "a.cfg", {"weights": folder / "a.weights"}), given or Given())


def test_spellings(tmp_path: Path) -> None:
    path = tmp_path / "a.cfg"
    path.write_text("\ufeff; first\r\n[network]\r\n height = 4 \r\n#x\nwidth=4\n\n[conv]\nfilters= 3 # three\n"
                    "filters=4\nsize =\nmask = 1, 2,3\nalpha=.5x\nstride=2.9\n")
    net, layers = read_cfg(path)
    assert (net.kind, net.index, net.options) == ("net", -1, {"height": "4", "width": "4"})
    [conv] = layers
    assert (conv.kind, conv.name) == ("convolutional", "layer0_convolutional")
    assert (conv.integer("filters", 1), conv.integer("size", 7), conv.integer("stride", 1)) == (3, 7, 2)
    assert conv.integers("mask") == [1, 2, 3]
    assert conv.real("alpha", 1) == 0.5


@pytest.mark.parametrize(
    "text, code",
    [("", "CFG_NET"), (CONV + NET, "CFG_NET"), (NET, "CFG_NET"), ("height=4\n" + NET, "CFG_SYNTAX"),
     (NET + "[conv]\nnonsense\n", "CFG_SYNTAX"), (NET + "[conv]\nfilters=many\n", "CFG_VALUE"),
     (NET + "[conv]\nfilters=-1\n", "CFG_VALUE"), (NET + "[conv]\nfilters=99999999999999999999999\n", "CFG_VALUE"),
     (NET + "[route]\nlayers=\n", "CFG_VALUE"), (NET + "[route]\nlayers=1,x\n", "CFG_VALUE"),
     (NET + "[upsample]\nscale=x\n", "CFG_VALUE"), ("[net]\nheight=4\nwidth=4\n" + CONV, "CFG_NET"),
     ("[net]\nchannels=1\nheight=4\nwidth=4\ninputs=3\n[dropout]\n", "CFG_NET")],
)  # fmt: skip
def test_a_cfg_that_is_wrong(text: str, code: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        read(tmp_path, text)
    assert caught.value.code == code
    assert "a.cfg" in caught.value.where


def test_a_cfg_too_long(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        read(tmp_path, NET + "[dropout]\n" * 9000)
    assert caught.value.code == "CFG_SIZE"


@pytest.mark.parametrize(
    "version, wide, transposed",
    [((0, 1, 0), False, False), ((0, 2, 0), True, False), ((1, 0, 0), True, False), ((1001, 2, 0), False, True),
     ((0, 1001, 0), False, True)],
)  # fmt: skip
def test_versions_of_weights(version: tuple[int, int, int], wide: bool, transposed: bool, tmp_path: Path) -> None:
    floats = weights(tmp_path / "w", 6, version, wide)
    found = Weights(tmp_path / "w")
    assert (found.version, found.transposed, found.left) == (version, transposed, 6)
    np.testing.assert_array_equal(found.take("l", "weights", 2, 3), floats.reshape(2, 3))
    found.close()


def test_transposed_matrices(tmp_path: Path) -> None:
    cfg = "[net]\ninputs=3\n[connected]\noutput=2\nactivation=linear\n"
    for name in ("plain", "turned"):
        (tmp_path / name).mkdir()
    plain = read(tmp_path / "plain", cfg, 8)
    turned = read(tmp_path / "turned", cfg, 8, version=(1001, 0, 0), wide=False)
    floats = np.arange(8, dtype=np.float32) / 8
    for graph, wanted in ((plain, floats[2:].reshape(2, 3)), (turned, floats[2:].reshape(3, 2).T)):
        assert any(np.array_equal(value.const, wanted) for value in graph.constants())


def test_weights_too_short_name_the_layer(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        read(tmp_path, NET + CONV + "[conn]\noutput=4\n", 9 + 4 + 100)
    error = caught.value
    assert (error.code, error.limit, error.actual) == ("WEIGHTS_SHORT", "192 floats", "100 left")
    assert "92 floats" in error.what and "layer1_connected" in error.where


def test_weights_left_over(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        read(tmp_path, NET + CONV, 11)
    assert (caught.value.code, caught.value.limit, caught.value.actual) == ("WEIGHTS_SURPLUS", "9 floats", "2 more")


@pytest.mark.parametrize("length, code", [(0, "WEIGHTS_HEADER"), (18, "WEIGHTS_HEADER"), (23, "WEIGHTS_LENGTH")])
def test_weights_cut_off(length: int, code: str, tmp_path: Path) -> None:
    read(tmp_path, NET + CONV)
    path = tmp_path / "a.weights"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ModelError) as caught:
        load(ModelFiles("darknet", "cfg", tmp_path / "a.cfg", {"weights": path}), Given())
    assert caught.value.code == code


def test_no_weights(tmp_path: Path) -> None:
    (tmp_path / "a.cfg").write_text(NET + CONV)
    with pytest.raises(ModelError) as caught:
        load(ModelFiles("darknet", "cfg", tmp_path / "a.cfg"), Given())
    assert caught.value.code == "MODEL_INCOMPLETE"


@pytest.mark.parametrize(
    "layers, code",
    [("[conv]\nfilters=1000000\nsize=4096\npadding=4000\n", "WEIGHTS_SHORT"),
     ("[conn]\noutput=2147483647\n", "WEIGHTS_SHORT"),
     ("[upsample]\nstride=4096\n" * 3, "LAYER_SIZE"),
     ("[reorg]\nstride=1\nextra=1000000\n[softmax]\n[conv]\n", "NO_IMAGE"),
     ("[conv]\nsize=5\n", "LAYER_SHAPE"), ("[max]\nsize=9\npadding=0\n", "LAYER_SHAPE"),
     ("[max]\nsize=1\nstride=1\npadding=60000\n", "LAYER_SHAPE"),
     ("[conv]\ngroups=3\n", "LAYER_SHAPE"), ("[route]\nlayers=0\n", "LAYER_INDEX"),
     ("[dropout]\n[shortcut]\nfrom=-2\n", "LAYER_INDEX"), ("[dropout]\n[route]\nlayers=7\n", "LAYER_INDEX"),
     ("[yolo]\nclasses=3\nmask=0,1\n", "LAYER_SHAPE"), ("[region]\nclasses=3\n", "LAYER_SHAPE"),
     ("[detection]\nclasses=3\n", "LAYER_SHAPE"), ("[softmax]\ngroups=5\n", "LAYER_SHAPE"),
     ("[reorg]\nstride=3\n", "LAYER_SHAPE"), ("[softmax]\ntree=/etc/hosts\n", "MODEL_INCOMPLETE"),
     ("[upsample]\nstride=-3\n", "LAYER_SHAPE"), ("[local]\nsize=31\n", "LAYER_SHAPE"),
     ("[conv]\nactivation=magic\n", "UNSUPPORTED_OP"), ("[deconv]\nfilters=1000000\nsize=4096\n", "LAYER_SIZE")],
)  # fmt: skip
def test_sizes_that_lie(layers: str, code: str, tmp_path: Path) -> None:
    with pytest.raises(NeuronError) as caught:
        read(tmp_path, NET + layers, 3)
    assert caught.value.code == code
    assert "a.cfg" in caught.value.where or "a.weights" in caught.value.where


@pytest.mark.parametrize("size", ["channels=2147483647\nheight=2\nwidth=2", "inputs=0", "inputs=-1",
                                  "channels=70000\nheight=70000\nwidth=70000"])
def test_inputs_that_lie(size: str, tmp_path: Path) -> None:
    with pytest.raises(NeuronError):
        read(tmp_path, f"[net]\n{size}\n[lrn]\n[softmax]\n")


def test_every_unsupported_layer_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(NeuronError) as caught:
        read(tmp_path, NET + "[magic]\n[conv]\nrotate=1\n[dropout]\n[magic]\n[conn]\ndontload=1\nactivation=prelu\n")
    found = {e.op: e.nodes for e in caught.value.errors}  # type: ignore[attr-defined]
    assert found == {
        "[magic]": ("layer0_magic", "layer3_magic"), "rotate= of [convolutional]": ("layer1_convolutional",),
        "dontload= of [connected]": ("layer4_connected",), "activation=prelu": ("layer4_connected",),
    }  # fmt: skip
    assert all(isinstance(e, UnsupportedOp) for e in caught.value.errors)  # type: ignore[attr-defined]


def test_operators_are_those_of_both_parsers() -> None:
    known = operators()
    assert set(PJREDDIE) | set(ALEXEY) == set(known)
    assert not any(known.values())


def test_batch_and_time_steps(tmp_path: Path) -> None:
    graph = read(tmp_path, NET + CONV, given=Given(batch=5))
    assert graph.value("layer0_convolutional").shape == (5, 3, 4, 4)
    cfg = "[net]\ninputs=3\ntime_steps=2\n[rnn]\noutput=2\n"
    count = 2 + 6 + 2 + 4 + 2 + 4
    assert read(tmp_path, cfg, count).value("data").shape == (2, 3)
    assert read(tmp_path, cfg, count, Given({"data": (6, 3)})).value("layer0_rnn").shape == (6, 2)
    with pytest.raises(ShapeError) as caught:
        read(tmp_path, cfg, count, Given({"data": (5, 3)}))
    assert caught.value.code == "TIME_STEPS"
    with pytest.raises(ShapeError) as caught:
        read(tmp_path, cfg.replace("=2\n[rnn", "=5000\n[rnn"), count)
    assert caught.value.code == "TIME_STEPS"
