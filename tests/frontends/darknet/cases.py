"""The networks of the corpus, in short: a line per layer, `kind option=value ...`; the first is [net].

`Case.library` says which darknet computes the expected results, "pjreddie" or "alexey".
"""

from dataclasses import dataclass, field

ACTIVATIONS = ["logistic", "loggy", "relu", "elu", "selu", "relie", "plse", "hardtan", "lhtan", "linear", "ramp",
               "leaky", "tanh", "stair"]  # fmt: skip
ALEXEY_ACTIVATIONS = ["swish", "mish", "hard_mish", "gelu", "revleaky", "normalize_channels",
                      "normalize_channels_softmax", "normalize_channels_softmax_maxval"]  # fmt: skip


@dataclass
class Case:
    """A network; `batch` and `steps` as [net] states them. `outputs`: layers compared, the last where empty."""

    name: str
    text: str
    library: str = "pjreddie"
    batch: int = 1
    steps: int = 1
    outputs: list = field(default_factory=list)
    rtol: float = 1e-4
    atol: float = 2e-5

    @property
    def cfg(self):
        """The file's text."""
        first, *lines = [line.split() for line in self.text.strip().splitlines()]
        size = first[1].split("x")
        options = (["inputs=" + size[0]] if len(size) == 1
                   else ["channels=" + size[0], "height=" + size[1], "width=" + size[2]])
        net = ["[net]", f"batch={self.batch}", "subdivisions=1", f"time_steps={self.steps}", *options]
        parts = ["\n".join(net)] + ["\n".join([f"[{line[0]}]", *line[1:]]) for line in lines]
        return "\n\n".join(parts) + "\n"


def conv(filters, size=3, **options):
    """A line for a convolution with batch normalisation and leaky activation."""
    shown = {"batch_normalize": 1, "filters": filters, "size": size, "stride": 1, "pad": 1, "activation": "leaky",
             **options}
    return "convolutional " + " ".join(f"{option}={value}" for option, value in shown.items())


def head(filters):
    """The convolution before a detector's head."""
    return conv(filters, 1, batch_normalize=0, activation="linear")


def many(*lines):
    """Lines, some of them lists of lines."""
    return "\n".join(line if isinstance(line, str) else many(*line) for line in lines)


def residual(narrow, wide):
    """The block of DarkNet-53."""
    return [conv(narrow, 1), conv(wide), "shortcut from=-3 activation=linear"]


def csp(filters, act="mish"):
    """A cross-stage-partial block as YOLOv4's."""
    o = {"activation": act}
    return [conv(filters, 1, **o), "route layers=-2", conv(filters, 1, **o), conv(filters, 1, **o), conv(filters, **o),
            "shortcut from=-3 activation=linear", conv(filters, 1, **o), "route layers=-1,-7", conv(filters, 1, **o)]


ANCHORS = "anchors=10,14,23,27,37,58,81,82,135,169,344,319"
YOLO = "yolo mask=%s classes=3 num=6 " + ANCHORS
FIRST = "net 3x9x7\n"
#: AlexeyAB's parser divides by the number of layers that take images of more than one row and column.
SMALL = "net 3x2x2\n" + conv(4, 1) + "\n"

LAYERS = [
    *[Case("activation_" + a, "net 2x5x7\n" + conv(4, 1, batch_normalize=0, activation=a)) for a in ACTIVATIONS],
    *[Case("activation_" + a, "net 2x5x7\n" + conv(4, 1, batch_normalize=0, activation=a), "alexey")
      for a in ALEXEY_ACTIVATIONS],
    Case("activation_layer", "net 2x4x4\nactivation activation=elu"),
    Case("conv_plain", FIRST + "conv filters=4 size=3 stride=2 padding=2 activation=relu"),
    Case("conv_defaults", FIRST + "convolutional filters=4"),
    Case("conv_normalised", FIRST + conv(5), batch=2),
    Case("conv_groups", "net 4x6x6\n" + conv(8, groups=2) + "\n" + conv(8, groups=8, stride=2)),
    Case("conv_xnor", FIRST + conv(4, xnor=1)),
    Case("conv_flipped", FIRST + conv(4, flipped=1)),
    Case("conv_even_window", "net 3x8x8\n" + conv(4, 4, stride=2)),
    Case("conv_strides", FIRST + conv(4, stride_x=2, stride_y=3), "alexey"),
    Case("conv_dilation", "net 3x12x11\n" + conv(4, dilation=2), "alexey"),
    Case("conv_share", "net 4x6x6\n" + conv(4) + "\n" + conv(4, share_index=0), "alexey"),
    Case("conv_cbn", FIRST + conv(4, cbn=1, batch_normalize=0), "alexey"),
    Case("deconv", "net 3x5x4\ndeconvolutional filters=4 size=4 stride=2 padding=1 activation=leaky"),
    Case("deconv_normalised", "net 3x5x4\ndeconv filters=4 size=3 stride=2 pad=1 batch_normalize=1 activation=relu"),
    Case("connected", "net 20\nconnected output=7 activation=tanh", batch=3),
    Case("connected_normalised", "net 3x4x4\nconn output=6 activation=relu batch_normalize=1", batch=2),
    Case("connected_conv", "net 12\nconnected output=6 activation=relu\n" + conv(4, 1)),
    Case("local", "net 3x6x5\nlocal filters=4 size=3 stride=1 pad=1 activation=leaky", batch=2),
    Case("local_stride", "net 3x7x7\nlocal filters=4 size=3 stride=2 pad=0 activation=logistic"),
    Case("batchnorm", "net 4x3x5\nbatchnorm", batch=2),
    Case("batchnorm_biases", "net 4x3x5\nbatchnorm", "alexey"),
    Case("maxpool", "net 3x8x6\nmaxpool size=2 stride=2"),
    Case("maxpool_odd", "net 3x7x9\nmax size=2 stride=2"),
    Case("maxpool_same", "net 3x7x9\nmaxpool size=2 stride=1"),
    Case("maxpool_five", "net 3x13x13\nmaxpool size=5 stride=1"),
    Case("maxpool_padding", "net 3x9x11\nmaxpool size=3 stride=2 padding=1"),
    Case("maxpool_bare", "net 3x9x11\nmaxpool size=3 stride=2 padding=0"),
    Case("maxpool_strides", "net 3x9x11\nmaxpool size=3 stride_x=2 stride_y=1", "alexey"),
    Case("maxpool_depth", "net 7x3x4\nmaxpool maxpool_depth=1 out_channels=3 size=1 stride=1", "alexey"),
    Case("local_avgpool", "net 3x9x11\nlocal_avg size=3 stride=2", "alexey"),
    Case("avgpool", "net 6x5x3\navg", batch=2),
    Case("softmax", "net 12\nsoftmax", batch=2),
    Case("softmax_groups", "net 12\nsoft groups=3 temperature=2"),
    Case("crop", "net 3x9x8\ncrop crop_height=6 crop_width=5 flip=1"),
    Case("crop_noadjust", "net 3x9x8\ncrop crop_height=4 crop_width=8 noadjust=1"),
    Case("dropout", "net 3x4x4\nconv filters=4\ndropout probability=.5\nconv filters=2"),
    Case("normalization", "net 8x4x3\nnormalization size=5 alpha=0.02 beta=.75 kappa=1"),
    Case("normalization_even", "net 8x4x3\nlrn size=4 alpha=0.05 beta=.5 kappa=2"),
    Case("l2norm", "net 8x4x3\nl2norm", batch=2),
    Case("logistic", "net 5x4x3\nlogistic"),
    Case("cost", "net 10\nconnected output=4 activation=leaky\ncost type=sse", outputs=[0]),
    Case("empty", "net 3x4x4\n" + conv(4) + "\nempty\n" + conv(4), "alexey"),
    Case("shortcut", "net 3x6x6\n" + many(conv(4), conv(4), "shortcut from=-2 activation=relu")),
    Case("shortcut_scaled", "net 3x6x6\n" + many(conv(4), conv(6), "shortcut from=0 alpha=.5 beta=2")),
    Case("shortcut_fewer", "net 3x6x6\n" + many(conv(6), conv(4), "shortcut from=-2")),
    Case("shortcut_smaller", "net 3x8x8\n" + many(conv(4), conv(5, stride=2), "shortcut from=-2")),
    Case("shortcut_larger", "net 3x4x4\n" + many(conv(5), "upsample stride=2", conv(4), "shortcut from=0 alpha=.5")),
    Case("shortcut_several", "net 3x6x6\n" + many(conv(4), conv(6), conv(5), "shortcut from=-2,-3"), "alexey"),
    *[Case(f"shortcut_{t[4:]}_{n}", "net 3x6x6\n" + many(
        conv(4), conv(4), conv(4), f"shortcut from=-2,-3 weights_type={t} weights_normalization={n}"), "alexey")
      for t, n in [("per_feature", "relu"), ("per_channel", "softmax"), ("per_channel", "relu")]],
    Case("route", "net 3x6x6\n" + many(conv(4), conv(5), "route layers=-1,0")),
    Case("route_flat", "net 3x6x6\n" + many(conv(4), conv(5, stride=2), "route layers=0,1"), batch=2),
    Case("route_groups", "net 3x6x6\n" + many(conv(4), conv(8), "route layers=-1,-2 groups=2 group_id=1"), "alexey"),
    Case("upsample", "net 3x4x5\nupsample stride=2 scale=1.5"),
    Case("upsample_three", "net 3x4x5\nupsample stride=3"),
    Case("downsample", "net 3x6x6\nupsample stride=-2"),
    Case("reorg", "net 4x6x4\nreorg stride=2", batch=2),
    Case("reorg_reverse", "net 8x3x2\nreorg stride=2 reverse=1"),
    Case("reorg_flatten", "net 4x4x6\nreorg stride=1 flatten=1"),
    Case("reorg_extra", "net 4x4x6\nreorg stride=1 extra=5"),
    Case("reorg_alexey", "net 4x6x4\nreorg stride=2", "alexey"),
    Case("reorg3d", "net 3x6x4\nreorg3d stride=2", "alexey"),
    Case("reorg3d_reverse", "net 16x3x2\nreorg3d stride=2 reverse=1", "alexey"),
    Case("scale_channels", "net 3x5x4\n" + many(conv(4), "avg", "scale_channels from=0 activation=leaky"), "alexey"),
    Case("scale_pixels", "net 3x5x4\n" + many(conv(4), conv(1, 1), "scale_channels from=0 scale_wh=1"), "alexey"),
    Case("sam", "net 3x5x4\n" + many(conv(4), conv(4, activation="logistic"), "sam from=-2"), "alexey"),
    Case("implicit", "net 3x5x4\n" + many(conv(4), "implicit filters=4", "scale_channels from=0"), "alexey"),
    Case("yolo", "net 16x3x4\n" + YOLO % "0,2"),
    Case("yolo_all", "net 16x3x4\nyolo classes=3 num=2 anchors=1,1,2,2", batch=2),
    Case("yolo_scaled", "net 16x3x4\n" + YOLO % "0,1" + " scale_x_y=1.2", "alexey"),
    Case("yolo_new_coords", "net 16x3x4\n" + YOLO % "0,1" + " scale_x_y=2.0 new_coords=1", "alexey"),
    Case("gaussian_yolo", "net 24x3x4\nGaussian_yolo mask=0,1 classes=3 num=6 scale_x_y=1.1 " + ANCHORS, "alexey"),
    Case("region", "net 16x3x4\nregion classes=3 num=2 coords=4 softmax=1", batch=2),
    Case("region_logistic", "net 16x3x4\nregion classes=3 num=2 coords=4"),
    Case("region_background", "net 16x3x4\nregion classes=3 num=2 coords=4 softmax=1 background=1"),
    Case("region_coords", "net 20x3x4\nregion classes=3 num=2 coords=6"),
    Case("detection", "net 39x1x3\ndetection classes=3 coords=4 num=2 side=3 softmax=1"),
    Case("detection_plain", "net 117\ndetection classes=3 coords=4 num=2 side=3"),
    Case("rnn", "net 6\nrnn output=5 activation=leaky", batch=2, steps=3),
    Case("rnn_shortcut", "net 6\nrnn output=5 activation=tanh shortcut=1 batch_normalize=1", steps=3),
    Case("rnn_hidden", SMALL + "rnn output=4 hidden=5 activation=tanh logistic=1", "alexey", steps=3),
    Case("lstm", "net 6\nlstm output=5", batch=2, steps=3),
    Case("lstm_normalised", "net 6\nlstm output=5 batch_normalize=1", steps=2),
    Case("lstm_alexey", SMALL + "lstm output=5", "alexey", steps=3),
    Case("gru", "net 6\ngru output=5", batch=2, steps=3),
    Case("gru_tanh", "net 6\ngru output=5 tanh=1 batch_normalize=1", steps=3),
    Case("gru_alexey", SMALL + "gru output=5", "alexey", steps=2),
    Case("crnn", "net 3x4x4\ncrnn hidden_filters=4 output_filters=3 activation=leaky batch_normalize=1", steps=2),
    Case("crnn_alexey", "net 3x4x5\ncrnn hidden=4 output=3 size=3 pad=1 activation=leaky", "alexey", steps=2),
    Case("conv_lstm", "net 3x4x5\nconv_lstm output=4 size=3 pad=1 activation=leaky", "alexey", steps=3),
    Case("conv_lstm_peephole", "net 3x4x5\nconv_lstm output=4 size=3 pad=1 peephole=1 batch_normalize=1", "alexey",
         steps=2),
    Case("history", "net 3x4x4\nhistory history_size=3", "alexey", steps=4),
]

NETWORKS = [
    Case("darknet53", "net 3x32x32\n" + many(
        conv(4), conv(6, stride=2), residual(3, 6), conv(8, stride=2), residual(4, 8), residual(4, 8),
        conv(12, stride=2), residual(6, 12), "avgpool", head(7), "softmax groups=1")),
    Case("yolov1", "net 3x28x28\n" + many(
        conv(4, stride=2), "maxpool size=2 stride=2", conv(8), "local size=3 stride=1 pad=1 filters=6 activation=leaky",
        "dropout probability=.5", "connected output=117 activation=linear",
        "detection classes=3 coords=4 rescore=1 side=3 num=2 softmax=0 sqrt=1")),
    Case("yolov2", "net 3x32x32\n" + many(
        conv(8), "maxpool size=2 stride=2", conv(12), "maxpool size=2 stride=2", conv(16), conv(16), "route layers=-4",
        conv(4, 1), "reorg stride=2", "route layers=-1,-4", conv(16), head(16),
        "region anchors=1,1,2,2 bias_match=1 classes=3 coords=4 num=2 softmax=1"), outputs=[12]),
    Case("yolov3", "net 3x32x32\n" + many(
        conv(4), conv(8, stride=2), residual(4, 8), conv(12, stride=2), residual(6, 12), conv(16, stride=2),
        residual(8, 16), conv(8, 1), conv(16), head(16), YOLO % "4,5", "route layers=-4", conv(6, 1),
        "upsample stride=2", "route layers=-1,8", conv(12), head(16), YOLO % "2,3", "route layers=-3", conv(4, 1),
        "upsample stride=2",
        "route layers=-1,4", conv(8), head(16), YOLO % "0,1"), outputs=[16, 23, 30]),
    Case("yolov3_spp", "net 3x32x32\n" + many(
        conv(6, stride=2), conv(8, 1), "maxpool stride=1 size=5", "route layers=-2", "maxpool stride=1 size=9",
        "route layers=-4", "maxpool stride=1 size=13", "route layers=-1,-3,-5,-6", conv(8, 1), head(16),
        YOLO % "0,1")),
    Case("yolov4", "net 3x32x32\n" + many(
        conv(4, activation="mish"), conv(8, stride=2, activation="mish"), csp(4), conv(8, stride=2, activation="mish"),
        csp(4), conv(8, 1), "maxpool stride=1 size=5", "route layers=-2", "maxpool stride=1 size=9",
        "route layers=-1,-3", conv(6, 1), head(16), YOLO % "0,1" + " scale_x_y=1.05 iou_loss=ciou nms_kind=greedynms"),
        "alexey"),
    Case("yolov4_tiny", "net 3x32x32\n" + many(
        conv(4, stride=2), conv(8), "route layers=-1 groups=2 group_id=1", conv(4), conv(4), "route layers=-1,-2",
        conv(8, 1), "route layers=-6,-1", "maxpool size=2 stride=2", conv(8), head(16), YOLO % "2,3", "route layers=-3",
        conv(4, 1), "upsample stride=2", "route layers=-1,7", head(16), YOLO % "0,1" + " scale_x_y=1.05"), "alexey",
        outputs=[11, 17]),
    Case("enet", "net 3x16x16\n" + many(
        conv(8, stride=2, activation="swish"), conv(8, groups=8, activation="swish"), "avgpool",
        conv(4, 1, activation="swish"), conv(8, 1, activation="logistic"), "scale_channels from=-4", head(8),
        "shortcut from=0", "dropout probability=.2", "avgpool", head(5), "softmax groups=1"), "alexey"),
    Case("alexnet", "net 3x35x35\n" + many(
        "crop crop_height=31 crop_width=31 flip=0 angle=0", "conv filters=6 size=5 stride=2 pad=1 activation=relu",
        "maxpool size=3 stride=2 padding=0", "conv filters=8 size=3 stride=1 pad=1 activation=relu",
        "maxpool size=3 stride=2 padding=0", "connected output=12 activation=relu", "dropout probability=.5",
        "connected output=5 activation=linear", "softmax groups=1"), atol=1e-4),
    Case("vgg16", "net 3x16x16\n" + many(
        "conv filters=6 size=3 stride=1 pad=1 activation=relu", "conv filters=6 size=3 stride=1 pad=1 activation=relu",
        "maxpool size=2 stride=2", "conv filters=8 size=3 stride=1 pad=1 activation=relu", "maxpool size=2 stride=2",
        "connected output=16 activation=relu", "dropout probability=.5", "connected output=10 activation=linear",
        "softmax groups=1", "cost type=sse"), outputs=[8]),
    Case("resnet", "net 3x24x24\n" + many(
        conv(8, 7, stride=2), "maxpool size=2 stride=2", conv(4, 1), conv(4), conv(8, 1, activation="linear"),
        "shortcut from=-4 activation=leaky", conv(6, 1), conv(6, stride=2), conv(12, 1, activation="linear"),
        "shortcut from=-4 activation=leaky", "avgpool", head(9), "softmax groups=1", "cost type=sse"), outputs=[12]),
    Case("densenet", "net 3x16x16\n" + many(
        conv(8, stride=2), conv(8, 1), conv(4), "route layers=-1,-3", conv(8, 1), conv(4), "route layers=-1,-3",
        conv(8, 1), "maxpool size=2 stride=2", "avgpool", head(6), "softmax groups=1")),
    Case("extraction", "net 3x24x24\n" + many(
        conv(6, 5, stride=2), "maxpool size=2 stride=2", conv(8), "maxpool size=2 stride=2", conv(4, 1), conv(8),
        head(6), "avgpool", "softmax groups=1", "cost type=sse"), outputs=[8]),
    Case("characters", "net 12\n" + many(
        "rnn batch_normalize=1 output=8 activation=leaky", "rnn batch_normalize=1 output=8 activation=leaky",
        "connected output=12 activation=leaky", "softmax", "cost type=sse"), steps=4, outputs=[3]),
    Case("characters_gru", "net 12\n" + many(
        "gru batch_normalize=1 output=8", "gru batch_normalize=1 output=8", "connected output=12 activation=leaky",
        "softmax", "cost type=sse"), batch=2, steps=3, outputs=[3]),
]
