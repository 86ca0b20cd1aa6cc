"""Give one of onnx's "light" networks seeded He-scaled weights, so that its values mean something.

The nine networks that the onnx package carries for its backend tests have constant weights: every channel computes the
same number. This tool replaces them by normally distributed ones of variance 2 / fan-in (vectors: uniform in
0.5 .. 1), and names the tensor before a final Softmax as a second output, since a saturated softmax hides errors.

    python -m neuronsim.demo.he_weights resnet50 -o resnet50.onnx [--seed 0]
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

NETWORKS = (
    "bvlc_alexnet",
    "densenet121",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "squeezenet",
    "vgg19",
    "zfnet512",
)


def network_path(name: str) -> Path:
    """File of a light network inside the installed onnx package. Raises: FileNotFoundError."""
    path = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / f"light_{name}.onnx"
    if not path.is_file():
        raise FileNotFoundError(f"the installed onnx package has no network {name!r}; known: {', '.join(NETWORKS)}")
    return path


def light_model(name: str, seed: int = 0, logits: bool = True) -> onnx.ModelProto:
    """One of `NETWORKS` with weights; see `with_he_weights`. Raises: FileNotFoundError."""
    return with_he_weights(onnx.load(network_path(name)), seed, logits)


def he_array(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """float32 weights of variance 2 / fan-in; a vector (a bias, a scale) uniform in 0.5 .. 1."""
    if len(shape) < 2:
        return rng.uniform(0.5, 1.0, shape).astype(np.float32)
    values = rng.standard_normal(shape, dtype=np.float32)
    values *= np.float32(math.sqrt(2.0 / max(1, math.prod(shape[1:]))))
    return values


def with_he_weights(model: onnx.ModelProto, seed: int = 0, logits: bool = True) -> onnx.ModelProto:
    """Return a copy of `model` whose float tensors of more than one element are seeded He-scaled ones.

    Args:
        model: weights as initialisers, or as ConstantOfShape of an initialiser (the light networks).
        seed: of the one generator that all tensors are drawn from, in model order.
        logits: add the input of a final Softmax to the outputs.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph, rng = made.graph, np.random.default_rng(seed)
    known = {t.name: t for t in graph.initializer}
    kept: list[onnx.NodeProto] = []
    for node in graph.node:
        shape = _filled_shape(node, known)
        if shape is None or math.prod(shape) < 2:
            kept.append(node)
        else:
            graph.initializer.append(numpy_helper.from_array(he_array(shape, rng), node.output[0]))
    kept = [onnx.NodeProto.FromString(n.SerializeToString()) for n in kept]
    del graph.node[:]
    graph.node.extend(kept)
    for tensor in known.values():
        shape = tuple(tensor.dims)
        if tensor.data_type == onnx.TensorProto.FLOAT and shape and math.prod(shape) > 1:
            tensor.CopyFrom(numpy_helper.from_array(he_array(shape, rng), tensor.name))
    if logits and graph.node[-1].op_type == "Softmax":
        graph.output.append(helper.make_tensor_value_info(graph.node[-1].input[0], onnx.TensorProto.FLOAT, None))
    return made


def _filled_shape(node: onnx.NodeProto, known: dict[str, onnx.TensorProto]) -> tuple[int, ...] | None:
    if node.op_type != "ConstantOfShape" or node.input[0] not in known:
        return None
    return tuple(int(d) for d in numpy_helper.to_array(known[node.input[0]]))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("-o", "--output", required=True, type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-logits", action="store_true", help="leave the outputs as they are")
    options = parser.parse_args()
    model = light_model(options.network, options.seed, not options.no_logits)
    onnx.save(model, options.output)
    print(
        f"{options.output}: {options.output.stat().st_size / 1e6:.0f} MB, outputs "
        + ", ".join(o.name for o in model.graph.output)
    )


if __name__ == "__main__":
    main()
