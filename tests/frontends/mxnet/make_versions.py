"""Writes versions/<version>.npz with the installed MXNet: networks as that release saves them. Run by hand for each.

    python -m tests.frontends.mxnet.make_versions        (mxnet 0.11.0 to 1.8.0, Python 3.7)
"""
from __future__ import annotations

import numpy as np

from tests.frontends.mxnet.recording import HERE, WRITER, S, add, add_block, mx

data = S.var("data")


def module():
    """A Module network with a label and one of everything that its releases had."""
    x = S.Convolution(data, kernel=(3, 3), num_filter=6, pad=(1, 1), no_bias=True, name="conv")
    x = S.Activation(S.BatchNorm(x, name="bn"), act_type="relu")
    x = S.Pooling(x, kernel=(3, 3), stride=(2, 2), pooling_convention="full", pool_type="avg")
    x = S.FullyConnected(S.Flatten(S.Dropout(S.LeakyReLU(x, act_type="elu"), p=0.5)), num_hidden=5, name="fc")
    return S.SoftmaxOutput(x, name="softmax")


def block():
    """A Gluon network, with an LSTM since that can be exported (1.3)."""
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Conv2D(4, 3, 2))
    net.add(mx.gluon.nn.BatchNorm())
    net.add(mx.gluon.nn.LeakyReLU(0.1))
    if mx.__version__ >= "1.3":
        net.add(mx.gluon.nn.HybridLambda(lambda F, x: F.reshape(x, (0, 0, -1))))
        net.add(mx.gluon.rnn.LSTM(5, layout="NTC"))
    net.add(mx.gluon.nn.Dense(3))
    return net


def main():
    """The release's networks, and its MultiBoxDetection."""
    version = mx.__version__
    WRITER.path = HERE / "versions" / f"{version}.npz"
    WRITER.path.parent.mkdir(exist_ok=True)
    add("module", module(), data=(2, 3, 9, 9), labels=("softmax_label",))
    if hasattr(mx.gluon.HybridBlock, "export"):
        add_block("gluon", block(), data=(2, 3, 9, 9))
    rng = np.random.RandomState(3)
    scores = rng.rand(1, 4, 30).astype("float32")
    centre, half = rng.rand(30, 2), rng.rand(30, 2) * 0.2 + 0.05
    contrib = S.contrib if hasattr(S, "contrib") else mx.contrib.sym
    topk = 12 if mx.__version__ >= "1.3" else -1  # before, detections beyond the best kept their class
    add("detection", contrib.MultiBoxDetection(*(S.var(n) for n in ("score", "where", "anchors")), nms_topk=topk),
        score=scores / scores.sum(1, keepdims=True), where=rng.randn(1, 120).astype("float32"),
        anchors=np.concatenate([centre - half, centre + half], 1)[None].astype("float32"))
    WRITER.save()


if __name__ == "__main__":
    main()
