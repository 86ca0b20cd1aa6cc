"""Cases of layers with windows or weights, normalisation, softmax, recurrence, boxes and sampling."""
from __future__ import annotations

import numpy as np

from tests.frontends.mxnet.recording import S, add

data = S.var("data")
IMAGE = (2, 6, 9, 10)


def write():
    """Add all."""
    windows()
    pooling()
    dense()
    normalise()
    heads()
    recurrent()
    boxes()
    sampling()
    attention()


def windows():
    add("Convolution", S.Convolution(data, kernel=(3, 3), num_filter=4, pad=(1, 1)), data=IMAGE)
    add("Convolution stride", S.Convolution(data, kernel=(3, 2), num_filter=4, stride=(2, 3), no_bias=True), data=IMAGE)
    add("Convolution groups", S.Convolution(data, kernel=(3, 3), num_filter=6, num_group=3, dilate=(2, 1)), data=IMAGE)
    add("Convolution 1d", S.Convolution(data, kernel=(3,), num_filter=4, pad=(2,), stride=(2,)), data=(2, 3, 11))
    add("Convolution 3d", S.Convolution(data, kernel=(3, 3, 3), num_filter=4, pad=(1, 0, 1)), data=(1, 2, 5, 6, 7))
    add("Convolution depthwise", S.Convolution(data, kernel=(3, 3), num_filter=6, num_group=6, no_bias=True),
        data=IMAGE)
    add("Deconvolution", S.Deconvolution(data, kernel=(4, 4), num_filter=3, stride=(2, 2), pad=(1, 1)), data=IMAGE)
    add("Deconvolution adj", S.Deconvolution(data, kernel=(3, 3), num_filter=4, stride=(2, 2), pad=(1, 1), adj=(1, 1),
                                             num_group=2, no_bias=False), data=IMAGE)
    add("Deconvolution 1d", S.Deconvolution(data, kernel=(4,), num_filter=3, stride=(2,), pad=(1,)), data=(1, 2, 7))
    add("DeformableConvolution", S.contrib.DeformableConvolution(
        data, S.var("offset"), kernel=(3, 3), num_filter=4, pad=(1, 1), num_deformable_group=2, name="d"),
        data=IMAGE, offset=(2, 36, 9, 10))
    add("ModulatedDeformableConvolution", S.contrib.ModulatedDeformableConvolution(
        data, S.var("offset"), S.var("mask"), kernel=(3, 3), num_filter=4, pad=(1, 1), name="d"),
        data=IMAGE, offset=(2, 18, 9, 10), mask=(2, 9, 9, 10))
    add("im2col", S.im2col(data, kernel=(3, 2), stride=(2, 1), pad=(1, 0)), data=IMAGE)
    add("col2im", S.col2im(data, output_size=(9, 10), kernel=(3, 2), stride=(2, 1), pad=(1, 0)), data=(2, 12, 45))


def pooling():
    for kind in ("max", "avg", "sum", "lp"):
        extra = {"p_value": 2} if kind == "lp" else {}
        for convention in ("valid", "full"):
            add(f"Pooling {kind} {convention}", S.Pooling(data, kernel=(3, 3), stride=(2, 2), pad=(1, 0),
                pool_type=kind, pooling_convention=convention, **extra), data=IMAGE)
        add(f"Pooling global {kind}", S.Pooling(data, kernel=(1, 1), global_pool=True, pool_type=kind, **extra),
            data=IMAGE)
    for p in (1, 3):
        add(f"Pooling lp{p}", S.Pooling(data, kernel=(2, 2), stride=(2, 2), pool_type="lp", p_value=p), atol=1e-4,
            data=np.random.default_rng(1).random((1, 2, 6, 6)).astype("float32"))
    add("Pooling exclude pad", S.Pooling(data, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="avg",
                                         pooling_convention="full", count_include_pad=False), data=IMAGE)
    add("Pooling 1d", S.Pooling(data, kernel=(3,), stride=(2,), pool_type="avg", pad=(1,)), data=(2, 3, 9))
    add("Pooling 3d", S.Pooling(data, kernel=(2, 2, 2), stride=(2, 2, 2), pool_type="max"), data=(1, 2, 4, 6, 6))
    add("Pooling wide stride", S.Pooling(data, kernel=(2, 2), stride=(3, 3), pooling_convention="full"), data=IMAGE)
    for kind in ("max", "avg"):
        add(f"Pooling single {kind}", S.Pooling(data, kernel=(1, 1), stride=(2, 2), pool_type=kind,
                                                count_include_pad=False), data=(1, 3, 8, 7))
    for kind in ("max", "avg", "sum"):
        for convention in ("valid", "full"):
            add(f"Pooling_v1 {kind} {convention}", S.Pooling_v1(
                data, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type=kind, pooling_convention=convention),
                data=IMAGE)
    add("AdaptiveAvgPooling2D", S.contrib.AdaptiveAvgPooling2D(data, output_size=(4, 3)), data=IMAGE)
    add("AdaptiveAvgPooling2D even", S.contrib.AdaptiveAvgPooling2D(data, output_size=(3, 5)), data=IMAGE)
    add("AdaptiveAvgPooling2D one", S.contrib.AdaptiveAvgPooling2D(data), data=IMAGE)


def dense():
    add("FullyConnected", S.FullyConnected(data, num_hidden=5), data=(3, 2, 4))
    add("FullyConnected rows", S.FullyConnected(data, num_hidden=5, flatten=False), data=(3, 2, 4))
    add("FullyConnected no bias", S.FullyConnected(data, num_hidden=5, no_bias=True, flatten=False), data=(3, 4))
    other = S.var("other")
    add("dot", S.dot(data, other), data=(3, 2, 4), other=(4, 5))
    add("dot transposed", S.dot(data, other, transpose_a=True, transpose_b=True), data=(4, 3), other=(5, 4))
    add("dot vectors", S.dot(data, other), data=(4,), other=(4,))
    for a, b in ((0, 0), (1, 0), (0, 1), (1, 1)):
        add(f"batch_dot {a}{b}", S.batch_dot(data, other, transpose_a=a, transpose_b=b),
            data=(2, 4, 3) if a else (2, 3, 4), other=(2, 5, 4) if b else (2, 4, 5))
    add("linalg_gemm", S.linalg.gemm(data, other, S.var("third"), transpose_b=True, alpha=0.5, beta=2.0),
        data=(2, 3, 4), other=(2, 5, 4), third=(2, 3, 5))
    add("linalg_gemm2", S.linalg.gemm2(data, other, transpose_a=True, alpha=0.5), data=(2, 4, 3), other=(2, 4, 5))
    add("linalg_gemm2 axis", S.linalg.gemm2(data, other, axis=1), data=(2, 4, 3, 5), other=(2, 5, 3, 2))
    add("linalg_syrk", S.linalg.syrk(data, transpose=True, alpha=2.0), data=(2, 4, 3))
    add("linalg_trmm", S.linalg.trmm(data, other, rightside=True, alpha=0.5), data=(2, 3, 3), other=(2, 4, 3))
    for offset in (0, -1, 1):
        add(f"linalg_extractdiag {offset}", S.linalg.extractdiag(data, offset=offset), data=(2, 4, 4))
        add(f"linalg_makediag {offset}", S.linalg.makediag(data, offset=offset), data=(2, 3))
        add(f"linalg_extracttrian {offset}", S.linalg.extracttrian(data, offset=offset), data=(2, 4, 4))
        add(f"linalg_maketrian {offset}", S.linalg.maketrian(data, offset=offset), data=(2, 6))
    add("linalg_extracttrian upper", S.linalg.extracttrian(data, lower=False), data=(2, 3, 3))
    add("linalg_sumlogdiag", S.linalg.sumlogdiag(data), data=np.random.default_rng(2).random((2, 3, 3)).astype("f4"))
    add("khatri_rao", S.khatri_rao(data, other), data=(3, 4), other=(2, 4))


def normalise():
    for fix in (True, False):
        add(f"BatchNorm fix_gamma {fix}", S.BatchNorm(data, fix_gamma=fix), data=IMAGE)
    add("BatchNorm axis", S.BatchNorm(data, axis=-1, eps=1e-2, use_global_stats=True, fix_gamma=False), data=(2, 3, 4))
    add("BatchNorm rows", S.BatchNorm(data, fix_gamma=False), data=(4, 5))
    add("LayerNorm", S.LayerNorm(data), data=(2, 3, 8))
    add("LayerNorm axis", S.LayerNorm(data, axis=1, eps=1e-3), data=(2, 6, 4))
    add("GroupNorm", S.GroupNorm(data, num_groups=3), data=IMAGE)
    add("InstanceNorm", S.InstanceNorm(data), data=IMAGE)
    for mode in ("instance", "channel", "spatial"):
        add(f"L2Normalization {mode}", S.L2Normalization(data, mode=mode), data=IMAGE)
    add("LRN", S.LRN(data, nsize=3, alpha=0.01, beta=0.5, knorm=1.5), data=IMAGE)


def heads():
    for kind in ("relu", "sigmoid", "tanh", "softrelu", "softsign"):
        add(f"Activation {kind}", S.Activation(data, act_type=kind), data=(2, 7))
    for kind in ("leaky", "prelu", "elu", "selu", "gelu", "rrelu"):
        add(f"LeakyReLU {kind}", S.LeakyReLU(data, act_type=kind)[0], data=IMAGE)
    for op in ("softmax", "softmin", "log_softmax"):
        add(op, getattr(S, op)(data, axis=1), data=(2, 5, 3))
        add(f"{op} temperature", getattr(S, op)(data, temperature=2.5), data=(2, 5, 3))
    add("softmax length", S.softmax(data, S.var("length"), use_length=True), data=(2, 3, 5),
        length=np.array([[1, 3, 5], [2, 2, 4]], "int32"))
    for mode in ("instance", "channel"):
        add(f"SoftmaxActivation {mode}", S.SoftmaxActivation(data, mode=mode), data=(2, 3, 4))
    for more in ({}, {"multi_output": True}, {"preserve_shape": True}):
        add("SoftmaxOutput " + " ".join(more), S.SoftmaxOutput(data, name="softmax", **more), data=(2, 3, 4),
            labels=("softmax_label",))
    for op in ("LinearRegressionOutput", "LogisticRegressionOutput", "MAERegressionOutput", "SVMOutput"):
        add(op, getattr(S, op)(data, name="out"), data=(2, 5), labels=("out_label",))
    add("MakeLoss", S.MakeLoss(S.square(data)), data=(2, 3))
    add("Dropout", S.Dropout(data, p=0.4), data=(2, 3))


def recurrent():
    lengths = np.array([3, 5], "float32")
    for mode in ("rnn_relu", "rnn_tanh", "lstm", "gru"):
        for layers, both in ((1, False), (2, True)):
            states = {"state": (layers * (1 + both), 2, 4)}
            if mode == "lstm":
                states["state_cell"] = states["state"]
            net = S.RNN(data, S.var("rnn_parameters"), *(S.var(n) for n in states), state_size=4, num_layers=layers,
                        mode=mode, bidirectional=both, state_outputs=True, name="rnn")
            add(f"RNN {mode} {layers}", net, data=(5, 2, 3), **states)
    zeros = S.zeros(shape=(1, 0, 4))
    add("RNN zero state", S.RNN(data, S.var("rnn_parameters"), zeros, zeros, state_size=4, num_layers=1, mode="lstm",
                                name="rnn"), data=(5, 2, 3))
    for op, more in (("SequenceMask", {"value": -1.0}), ("SequenceLast", {}), ("SequenceReverse", {})):
        add(op, getattr(S, op)(data, S.var("length"), use_sequence_length=True, **more), data=(5, 2, 3),
            length=lengths)
        add(f"{op} all", getattr(S, op)(data), data=(5, 2, 3))
    for op in ("SequenceMask", "SequenceLast"):
        add(f"{op} axis", getattr(S, op)(data, S.var("length"), use_sequence_length=True, axis=1), data=(2, 5, 3),
            length=lengths)


def overlapping(rng, count, classes=3):
    """Class probabilities (1, classes, n), offsets (1, 4n) and anchors (1, n, 4) with much overlap."""
    scores = rng.random((1, classes, count)).astype("float32")
    centre, half = rng.random((count, 2)), rng.random((count, 2)) * 0.2 + 0.05
    anchors = np.concatenate([centre - half, centre + half], 1)[None].astype("float32")
    return {"score": scores / scores.sum(1, keepdims=True), "where": rng.normal(size=(1, 4 * count)).astype("float32"),
            "anchors": anchors}


def boxes():
    rng = np.random.default_rng(7)
    add("MultiBoxPrior", S.contrib.MultiBoxPrior(data, sizes=(0.2, 0.3), ratios=(1, 2, 0.5), clip=True), data=IMAGE)
    add("MultiBoxPrior steps", S.contrib.MultiBoxPrior(data, sizes=(0.4,), ratios=(2,), steps=(0.1, 0.2),
                                                       offsets=(0.3, 0.6)), data=IMAGE)
    inputs = overlapping(rng, 40)
    three = [S.var(n) for n in inputs]
    for case, more in (("plain", {}), ("topk", {"nms_topk": 10}), ("force", {"force_suppress": True, "clip": False}),
                       ("none", {"nms_threshold": -1.0}), ("threshold", {"threshold": 0.45, "nms_topk": 12}),
                       ("variances", {"variances": (0.2, 0.1, 0.3, 0.2), "nms_threshold": 0.2})):
        add(f"MultiBoxDetection {case}", S.contrib.MultiBoxDetection(*three, **more), **inputs)
    two = {k: np.concatenate([v, v[:, ::-1]]) if k != "anchors" else v for k, v in inputs.items()}
    add("MultiBoxDetection batch", S.contrib.MultiBoxDetection(*three, threshold=0.4), **two)
    rows = np.concatenate([rng.integers(0, 3, (2, 30, 1)), rng.random((2, 30, 1)),
                           np.repeat(inputs["anchors"][:, :30], 2, 0)], 2).astype("float32")
    for case, more in (("plain", {}), ("id", {"id_index": 0}), ("topk", {"id_index": 0, "topk": 12}),
                       ("force", {"id_index": 0, "force_suppress": True, "valid_thresh": 0.3}),
                       ("background", {"id_index": 0, "background_id": 1, "overlap_thresh": 0.2}),
                       ("center", {"in_format": "center"}), ("out", {"out_format": "center", "topk": 12})):
        add(f"box_nms {case}", S.contrib.box_nms(data, **more), data=rows)
    other = S.var("other")
    corners = inputs["anchors"][0]
    for form in ("corner", "center"):
        add(f"box_iou {form}", S.contrib.box_iou(data, other, format=form), data=corners[:5],
            other=corners[5:15].reshape(2, 5, 4))
        add(f"box_decode {form}", S.contrib.box_decode(data, S.var("anchors"), 0.1, 0.1, 0.2, 0.2, format=form,
            clip=0.1 if form == "corner" else -1.0), data=(2, 40, 4), anchors=inputs["anchors"])
    regions = np.array([[0, 1, 1, 20, 25], [1, 5, 3, 30, 30], [0, 0, 0, 8, 4]], "float32")
    add("ROIPooling", S.ROIPooling(data, S.var("rois"), pooled_size=(3, 2), spatial_scale=0.25), data=IMAGE,
        rois=regions)
    for more in ({"sample_ratio": 2}, {}, {"aligned": True, "sample_ratio": 2}):
        add("ROIAlign " + " ".join(more), S.contrib.ROIAlign(data, S.var("rois"), pooled_size=(3, 2),
            spatial_scale=0.25, **more), data=IMAGE, rois=regions)
    proposal_cases(rng)


def proposal_cases(rng):
    """Region proposals of one image and of two."""
    for op, images in (("Proposal", 1), ("MultiProposal", 2)):
        score = rng.permutation(images * 12 * 5 * 6).reshape(images, 12, 5, 6).astype("float32") / 1000
        for more in ({}, {"rpn_pre_nms_top_n": 40, "threshold": 0.3}):
            net = getattr(S.contrib, op)(S.var("score"), S.var("where"), S.var("info"), feature_stride=16,
                                         scales=(2, 4), ratios=(0.5, 1, 2), rpn_post_nms_top_n=20, rpn_min_size=16,
                                         name="p", **more)
            add(f"{op} {len(more)}", net, score=score, atol=1e-3,
                where=(rng.normal(size=(images, 24, 5, 6)) * 0.2).astype("float32"),
                info=np.repeat(np.array([[70, 90, 1]], "float32"), images, 0))


def sampling():
    add("UpSampling nearest", S.UpSampling(data, scale=2, sample_type="nearest"), data=IMAGE)
    for mode in ("concat", "sum"):
        add(f"UpSampling {mode}", S.UpSampling(data, S.var("small"), scale=2, sample_type="nearest", num_args=2,
            multi_input_mode=mode), data=(1, 2, 4, 6), small=(1, 2, 2, 3))
    add("UpSampling bilinear", S.UpSampling(data, scale=2, sample_type="bilinear", num_filter=6, num_args=2),
        data=IMAGE)
    for case, more in (("size", {"height": 13, "width": 7}), ("scale", {"scale_height": 2.0, "scale_width": 1.5}),
                       ("half pixel", {"height": 13, "width": 20, "align_corners": False}),
                       ("odd", {"mode": "odd_scale", "scale_height": 2.0, "scale_width": 2.0}),
                       ("even", {"mode": "to_even_up"}), ("odd down", {"mode": "to_odd_down"})):
        add(f"BilinearResize2D {case}", S.contrib.BilinearResize2D(data, **more), data=IMAGE)
    add("BilinearResize2D like", S.contrib.BilinearResize2D(data, S.var("other"), mode="like"), data=IMAGE,
        other=(2, 6, 5, 12))
    rng = np.random.default_rng(3)
    add("BilinearSampler", S.BilinearSampler(data, S.var("grid")), data=IMAGE,
        grid=rng.uniform(-1.2, 1.2, (2, 2, 5, 4)).astype("float32"))
    theta = np.array([[1, 0.2, 0.1, -0.1, 0.8, 0.2], [0.5, 0, 0, 0, 0.5, -0.3]], "float32")
    add("GridGenerator affine", S.GridGenerator(data, transform_type="affine", target_shape=(4, 5)), data=theta)
    add("GridGenerator warp", S.GridGenerator(data, transform_type="warp"), data=(2, 2, 4, 5))
    add("SpatialTransformer", S.SpatialTransformer(data, S.var("loc"), target_shape=(5, 4), transform_type="affine",
                                                   sampler_type="bilinear"), data=IMAGE, loc=theta)


def attention():
    projection, scores = S.var("projection"), S.var("scores")
    qk, value = S.contrib.interleaved_matmul_selfatt_qk, S.contrib.interleaved_matmul_selfatt_valatt
    add("selfatt_qk", qk(projection, heads=2), projection=(5, 3, 24))
    add("selfatt_valatt", value(projection, scores, heads=2), projection=(5, 3, 24), scores=(6, 5, 5))
    qk, value = S.contrib.interleaved_matmul_encdec_qk, S.contrib.interleaved_matmul_encdec_valatt
    add("encdec_qk", qk(S.var("queries"), projection, heads=2), queries=(4, 3, 8), projection=(5, 3, 16))
    add("encdec_valatt", value(projection, scores, heads=2), projection=(5, 3, 16), scores=(6, 4, 5))
    add("div_sqrt_dim", S.contrib.div_sqrt_dim(data), data=(2, 5))
