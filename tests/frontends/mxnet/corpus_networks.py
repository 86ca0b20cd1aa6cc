"""Small whole networks of several tasks, and control flow."""
from __future__ import annotations

import numpy as np
from mxnet import gluon
from mxnet.gluon import nn, rnn

from tests.frontends.mxnet.recording import S, add, add_block

data, state = S.var("data"), S.var("state")


def write():
    """Add all."""
    control()
    symbol_networks()
    fused()
    add_block("net YOLOv3", Yolo(), data=(1, 3, 32, 32))
    add_block("net FCN", Segmentation(), data=(1, 3, 32, 32))
    add_block("net pose", pose(), data=(1, 3, 32, 24))
    add_block("net action", Action(), data=(2, 3, 6, 16, 16))
    add_block("net BERT", Encoder(), data0=np.array([[1, 5, 3, 2], [4, 4, 0, 0]], "float32"),
              data1=np.array([4, 2], "float32"))
    add_block("net tagger", Tagger(), data=np.array([[3, 1, 4, 1, 5], [2, 6, 5, 3, 5]], "float32"))
    add_block("net mobile", mobile(), data=(1, 3, 24, 24))


def conv_block(channels, stride=1, groups=1, kernel=3):
    """Convolution, batch normalisation, leaky ReLU."""
    block = nn.HybridSequential(prefix="")
    block.add(nn.Conv2D(channels, kernel, stride, kernel // 2, groups=groups, use_bias=False), nn.BatchNorm(),
              nn.LeakyReLU(0.1))
    return block


class Yolo(gluon.HybridBlock):
    """Two scales as GluonCV's YOLOv3 has them: boxes from offsets and anchors, suppression at the end."""

    def __init__(self):
        super().__init__()
        self.stem, self.deep, self.back = conv_block(8, 2), conv_block(16, 2), conv_block(8, kernel=1)
        self.heads = nn.HybridSequential()
        self.heads.add(nn.Conv2D(16, 1), nn.Conv2D(16, 1))

    def scale(self, F, x, anchors, stride, size):
        """(batch, places x anchors x classes, 6): class, score, box."""
        x = F.transpose(F.reshape(x, (0, -1, size * size)), (0, 2, 1))
        x = F.reshape(x, (0, -1, 2, 8))
        centre, raw, objectness, classes = (F.slice_axis(x, axis=-1, begin=a, end=b)
                                            for a, b in ((0, 2), (2, 4), (4, 5), (5, None)))
        places = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1).reshape(1, size * size, 1, 2)
        grid = self.constant(F, places)
        centre = F.broadcast_add(F.sigmoid(centre), grid) * stride
        half = F.broadcast_mul(F.exp(raw), self.constant(F, np.array(anchors).reshape(1, 1, 2, 2))) / 2
        score = F.broadcast_mul(F.sigmoid(classes), F.sigmoid(objectness))
        boxes = F.tile(F.concat(centre - half, centre + half, dim=-1), reps=(3, 1, 1, 1, 1))
        scores = F.expand_dims(F.transpose(score, axes=(3, 0, 1, 2)), axis=-1)
        ids = F.broadcast_add(scores * 0, F.reshape(F.arange(0, 3), (3, 1, 1, 1, 1)))
        found = F.concat(ids, scores, boxes, dim=-1)
        return F.reshape(F.transpose(found, axes=(1, 0, 2, 3, 4)), (0, -1, 6))

    def constant(self, F, array):
        """A small constant spelled with operators that a symbol can hold."""
        flat = F.concat(*(F.full((1,), float(v)) for v in array.ravel()), dim=0)
        return F.reshape(flat, array.shape)

    def hybrid_forward(self, F, x):
        fine = self.stem(x)
        coarse = self.deep(fine)
        up = F.slice_like(F.repeat(F.repeat(self.back(coarse), 2, axis=-1), 2, axis=-2), fine, axes=(2, 3))
        fine = F.concat(up, fine, dim=1)
        rows = F.concat(self.scale(F, self.heads[0](coarse), [[8, 6], [12, 16]], 4, 8),
                        self.scale(F, self.heads[1](F.Pooling(fine, kernel=(2, 2), stride=(2, 2))),
                                   [[4, 5], [6, 3]], 4, 8), dim=1)
        rows = F.contrib.box_nms(rows, overlap_thresh=0.45, valid_thresh=0.2, topk=60, id_index=0, score_index=1,
                                 coord_start=2, force_suppress=False)
        rows = rows.slice_axis(axis=1, begin=0, end=40)
        return tuple(rows.slice_axis(axis=-1, begin=a, end=b) for a, b in ((0, 1), (1, 2), (2, 6)))


class Segmentation(gluon.HybridBlock):
    """Dilated convolutions, pyramid pooling, a skip, bilinear growth and a transposed convolution."""

    def __init__(self):
        super().__init__()
        self.stem, self.body = conv_block(8, 2), nn.Conv2D(12, 3, padding=2, dilation=2)
        self.squeeze, self.grow = nn.Conv2D(6, 1), nn.Conv2DTranspose(4, 4, 2, 1)

    def hybrid_forward(self, F, x):
        stem = self.stem(x)
        body = F.relu(self.body(stem))
        pooled = F.contrib.AdaptiveAvgPooling2D(body, output_size=3)
        pooled = F.contrib.BilinearResize2D(self.squeeze(pooled), height=16, width=16)
        found = self.grow(F.concat(body, pooled, stem, dim=1))
        return F.softmax(found, axis=1), F.argmax(found, axis=1)


def pose():
    """A head of transposed convolutions, 17 joints."""
    net = nn.HybridSequential()
    net.add(conv_block(8, 2), conv_block(12, 2))
    for _ in range(2):
        net.add(nn.Conv2DTranspose(8, 4, 2, 1, use_bias=False), nn.BatchNorm(), nn.Activation("relu"))
    net.add(nn.Conv2D(17, 1))
    return net


class Action(gluon.HybridBlock):
    """Convolutions over time and space, then an LSTM over the frames."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv3D(6, (3, 3, 3), (1, 2, 2), 1), nn.BatchNorm()
        self.lstm, self.out = rnn.LSTM(10, num_layers=2, bidirectional=True), nn.Dense(5)

    def hybrid_forward(self, F, x):
        x = F.Pooling(F.relu(self.norm(self.stem(x))), kernel=(1, 2, 2), stride=(1, 2, 2), pool_type="max")
        frames = F.transpose(F.mean(x, axis=(3, 4)), axes=(2, 0, 1))
        return F.log_softmax(self.out(F.mean(self.lstm(frames), axis=0)))


class Encoder(gluon.HybridBlock):
    """A transformer as GluonNLP 0.9 writes BERT: interleaved attention, masks from lengths, GELU."""

    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(8, 12), nn.Embedding(6, 12)
        self.first, self.project, self.join = nn.LayerNorm(), nn.Dense(36, flatten=False), nn.Dense(12, flatten=False)
        self.wide, self.narrow, self.last = nn.Dense(24, flatten=False), nn.Dense(12, flatten=False), nn.LayerNorm()

    def hybrid_forward(self, F, tokens, lengths):
        steps = F.contrib.arange_like(tokens, axis=1)
        x = self.first(F.broadcast_add(self.words(tokens), F.expand_dims(self.places(steps), axis=0)))
        x = F.transpose(x, axes=(1, 0, 2))
        mask = F.broadcast_lesser(F.reshape(steps, (1, -1)), F.reshape(lengths, (-1, 1)))
        mask = F.broadcast_axes(F.expand_dims(F.expand_dims(mask, 1), 1), axis=(1, 2), size=(2, 4))
        projected = self.project(x)
        scores = F.contrib.interleaved_matmul_selfatt_qk(projected, heads=2)
        scores = F.where(F.reshape(mask, (-3, 0, 0)), scores, -1e4 * F.ones_like(scores))
        weights = F.softmax(scores, axis=-1)
        x = x + self.join(F.contrib.interleaved_matmul_selfatt_valatt(projected, weights, heads=2))
        x = self.last(x + self.narrow(F.LeakyReLU(self.wide(x), act_type="gelu")))
        return F.transpose(F.SequenceMask(x, lengths, use_sequence_length=True), axes=(1, 0, 2))


class Tagger(gluon.HybridBlock):
    """Cells unrolled by hand and a fused GRU over words."""

    def __init__(self):
        super().__init__()
        self.words, self.cell, self.gru = nn.Embedding(8, 6), rnn.LSTMCell(5, input_size=6), rnn.GRU(4, layout="NTC")
        self.out = nn.Dense(3, flatten=False)

    def hybrid_forward(self, F, x):
        words = self.words(x)
        outputs, _ = self.cell.unroll(5, words, layout="NTC", merge_outputs=True)
        return self.out(F.concat(outputs, self.gru(words), dim=2))


def mobile():
    """MobileNetV3's pieces: depthwise convolutions, squeeze and excitation, hard swish."""

    class Squeeze(gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            self.down, self.up = nn.Conv2D(4, 1), nn.Conv2D(8, 1)

        def hybrid_forward(self, F, x):
            gate = self.up(F.relu(self.down(F.contrib.AdaptiveAvgPooling2D(x))))
            x = F.broadcast_mul(x, F.clip(gate + 3, 0, 6) / 6)
            return x * F.clip(x + 3, 0, 6) / 6

    net = nn.HybridSequential()
    net.add(conv_block(8, 2), conv_block(8, 1, groups=8), Squeeze(), nn.GlobalAvgPool2D(), nn.Flatten(), nn.Dense(5))
    return net


def layer(x, name, filters, stride=(1, 1), **attrs):
    """Convolution, batch normalisation and ReLU in the Module style."""
    x = S.Convolution(x, kernel=(3, 3), pad=(1, 1), stride=stride, num_filter=filters, no_bias=True, name=name, **attrs)
    return S.Activation(S.BatchNorm(x, fix_gamma=False, eps=2e-5, name=name + "_bn"), act_type="relu")


def symbol_networks():
    """Networks of the Module interface, with their labels."""
    x = layer(layer(data, "a", 8, (2, 2)), "b", 8)
    x = S.Pooling(x, kernel=(2, 2), stride=(2, 2), pool_type="max", pooling_convention="full")
    x = S.FullyConnected(S.Flatten(S.Dropout(x, p=0.3)), num_hidden=6, name="fc")
    add("net Module", S.SoftmaxOutput(x, name="softmax"), data=(2, 3, 17, 17), labels=("softmax_label",))
    maps = [layer(data, "one", 8, (2, 2))]
    maps.append(layer(maps[0], "two", 12, (2, 2)))
    scores, places, anchors = [], [], []
    for k, m in enumerate(maps):
        m = S.L2Normalization(m, mode="channel") * 4 if k == 0 else m
        for found, count in ((places, 12), (scores, 9)):
            y = S.Convolution(m, kernel=(3, 3), pad=(1, 1), num_filter=count, name=f"head{k}_{count}")
            found.append(S.Flatten(S.transpose(y, axes=(0, 2, 3, 1))))
        anchors.append(S.contrib.MultiBoxPrior(m, sizes=(0.2 + 0.2 * k, 0.3 + 0.2 * k), ratios=(1, 2), clip=False))
    scores = S.transpose(S.Reshape(S.Concat(*scores, dim=1), shape=(0, -1, 3)), axes=(0, 2, 1))
    scores = S.SoftmaxActivation(scores, mode="channel", name="cls_prob")
    anchors = S.Concat(*(S.Reshape(a, shape=(1, -1, 4)) for a in anchors), dim=1)
    found = S.contrib.MultiBoxDetection(scores, S.Concat(*places, dim=1), anchors, nms_threshold=0.45, nms_topk=40,
                                        threshold=0.4, name="detection")
    add("net SSD", S.Group([found, S.BlockGrad(scores, name="prob")]), data=(1, 3, 16, 16), atol=1e-4)


def fused():
    """What the MKLDNN backend makes of a network: convolution, normalisation, sum and activation in one operator."""
    x = S.var("data")
    y = layer(x, "a", 8, (2, 2))
    z = S.BatchNorm(S.Convolution(y, kernel=(1, 1), num_filter=8, name="b"), fix_gamma=False, name="b_bn")
    y = S.Activation(z + y, act_type="relu")
    y = S.Activation(S.FullyConnected(S.Flatten(y), num_hidden=6, name="fc"), act_type="relu")
    add("net fused", S.softmax(y).get_backend_symbol("MKLDNN"), data=(2, 3, 8, 8))


def control():
    weight = S.var("w_weight")
    outputs, states = S.contrib.foreach(
        lambda x, s: (S.FullyConnected(x, weight, num_hidden=3, no_bias=True) + s, S.tanh(s * 2 + x)), data, state)
    add("foreach", S.Group([outputs, states]), data=(4, 2, 3), state=(2, 3))
    outputs, states = S.contrib.while_loop(lambda i, x: S.sum(i) < 4, lambda i, x: ([x + i], [i + 1, x * 2]),
                                           [S.var("i"), data], max_iterations=6)
    rows = S.slice_axis(outputs[0] if isinstance(outputs, list) else outputs, axis=0, begin=0, end=3)
    add("while_loop", S.Group([rows, *states]), data=(1,), i=np.array([1], "float32"))
    for sign in (1, -1):
        chosen = S.contrib.cond(S.sum(data) > 0, lambda: data + state, lambda: data * state)
        add(f"cond {sign}", chosen, data=np.full((2, 3), sign, "float32"), state=(2, 3))
