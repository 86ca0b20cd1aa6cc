"""Write an encoder of BERT-base's shape as ONNX: 12 layers, hidden 768, 12 heads, 3072 inner, seeded random weights.

The input is the embedded sequence, float32 [batch, sequence, hidden], so that the file holds the 85 million parameters
of the encoder and no vocabulary; the output is the last hidden state. Attention is unmasked.

    python examples/make_bert.py -o bert.onnx [--batch 1] [--layers 12] [--hidden 768] [--heads 12] [--inner 3072]
                                 [--sequence 128] [--seed 0]
"""
from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSET = 20


@dataclass
class Encoder:
    """Shape of the encoder, and the ONNX nodes and weights collected while it is built.

    Raises: ValueError when `hidden` is no multiple of `heads`.
    """

    layers: int = 12
    hidden: int = 768
    heads: int = 12
    inner: int = 3072
    sequence: int = 128
    batch: int = 1
    seed: int = 0
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.hidden % self.heads:
            raise ValueError(f"hidden size {self.hidden} is no multiple of {self.heads} heads")
        self.rng = np.random.default_rng(self.seed)

    def model(self) -> onnx.ModelProto:
        """The whole network."""
        shape = [self.batch, self.sequence, self.hidden]
        x = self.norm("embeddings/norm", "hidden_states")
        for layer in range(self.layers):
            x = self.layer(f"layer{layer}", x)
        self.nodes[-1].output[0] = "last_hidden_state"
        graph = helper.make_graph(
            self.nodes, "bert_encoder",
            [helper.make_tensor_value_info("hidden_states", onnx.TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("last_hidden_state", onnx.TensorProto.FLOAT, shape)], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9,
                                 producer_name="neuronsim examples/make_bert.py")

    def layer(self, name: str, x: str) -> str:
        """Self-attention and feed-forward network, each with residual and normalisation behind it."""
        mixed = self.attention(f"{name}/attention", x)
        attention = self.dense(f"{name}/attention/output", mixed, self.hidden, self.hidden)
        x = self.norm(f"{name}/attention/norm", self.node("Add", [attention, x], f"{name}/attention/add"))
        inner = self.dense(f"{name}/inner", x, self.hidden, self.inner)
        gelu = self.node("Gelu", [inner], f"{name}/gelu")
        outer = self.dense(f"{name}/outer", gelu, self.inner, self.hidden)
        return self.norm(f"{name}/norm", self.node("Add", [outer, x], f"{name}/add"))

    def attention(self, name: str, x: str) -> str:
        """softmax(q k^T / sqrt(d)) v for every head, heads side by side again."""
        size = self.hidden // self.heads
        split = self.const(f"{name}/split", np.array([self.batch, self.sequence, self.heads, size], np.int64))
        turned = {}
        for part, order in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])):
            projected = self.dense(f"{name}/{part}", x, self.hidden, self.hidden)
            apart = self.node("Reshape", [projected, split], f"{name}/{part}/split")
            turned[part] = self.node("Transpose", [apart], f"{name}/{part}/heads", perm=order)
        scores = self.node("MatMul", [turned["query"], turned["key"]], f"{name}/scores")
        root = self.const(f"{name}/root", np.array(math.sqrt(size), np.float32))
        shares = self.node("Softmax", [self.node("Div", [scores, root], f"{name}/scaled")], f"{name}/softmax", axis=-1)
        mixed = self.node("MatMul", [shares, turned["value"]], f"{name}/mixed")
        back = self.node("Transpose", [mixed], f"{name}/back", perm=[0, 2, 1, 3])
        joined = self.const(f"{name}/joined", np.array([self.batch, self.sequence, self.hidden], np.int64))
        return self.node("Reshape", [back, joined], f"{name}/join")

    def dense(self, name: str, x: str, rows: int, columns: int) -> str:
        """x W + b; weights of variance 1 / rows."""
        weight = self.rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(rows ** -0.5)
        bias = self.rng.uniform(-0.05, 0.05, columns).astype(np.float32)
        product = self.node("MatMul", [x, self.const(f"{name}/weight", weight)], f"{name}/matmul")
        return self.node("Add", [product, self.const(f"{name}/bias", bias)], f"{name}/bias_add")

    def norm(self, name: str, x: str) -> str:
        """LayerNormalization over the hidden dimension."""
        scale = self.const(f"{name}/scale", self.rng.uniform(0.8, 1.2, self.hidden).astype(np.float32))
        bias = self.const(f"{name}/bias", self.rng.uniform(-0.1, 0.1, self.hidden).astype(np.float32))
        return self.node("LayerNormalization", [x, scale, bias], name, axis=-1, epsilon=1e-12)

    def node(self, op: str, inputs: list[str], name: str, **attributes: object) -> str:
        """Append a node; returns its output."""
        output = f"{name}/out"
        self.nodes.append(helper.make_node(op, inputs, [output], name, **attributes))
        return output

    def const(self, name: str, array: np.ndarray) -> str:
        """Append a weight; returns its name."""
        self.weights.append(numpy_helper.from_array(array, name))
        return name


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", required=True, type=Path)
    for name in ("layers", "hidden", "heads", "inner", "sequence", "batch", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Encoder, name))
    options = vars(parser.parse_args())
    path = options.pop("output")
    onnx.save(Encoder(**options).model(), path)
    print(f"{path}: {path.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
