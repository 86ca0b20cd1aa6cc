# ruff: noqa: E501 - a case is a line
"""What corpus.npz is made of: by name, a module or function and its inputs. Needs torch."""
from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

R = np.random.default_rng(7)


def f(*shape, low=-2.0, high=2.0):
    """Floats, evenly spread."""
    return R.uniform(low, high, shape).astype(np.float32)


def i(*shape, low=0, high=5):
    """Integers."""
    return R.integers(low, high, shape).astype(np.int64)


def t(*shape):
    """Truth values."""
    return R.random(shape) < 0.5


CASES = {}


def case(name, build, *inputs):
    """Enter a case."""
    assert name not in CASES, name
    CASES[name] = (build, *inputs)


# ---- one operand ----------------------------------------------------------------------------------------------------

for name in ("exp", "sin", "cos", "tan", "atan", "sinh", "cosh", "asinh", "tanh", "sigmoid", "erf", "reciprocal", "abs",
             "neg", "sign", "floor", "ceil", "round", "trunc", "frac", "square", "exp2", "expm1", "erfc", "sgn",
             "isnan", "isinf", "isfinite", "logical_not", "positive"):
    case(f"unary_{name}", getattr(torch, name), f(3, 5))
for name in ("log", "sqrt", "rsqrt", "log2", "log10", "log1p"):
    case(f"unary_{name}", getattr(torch, name), f(3, 5, low=0.1, high=3))
for name in ("asin", "acos", "atanh"):
    case(f"unary_{name}", getattr(torch, name), f(3, 5, low=-0.9, high=0.9))
case("unary_acosh", torch.acosh, f(3, 5, low=1.1, high=3))
case("unary_ints", lambda x: (torch.sqrt(x), torch.exp(x), torch.abs(-x), torch.floor(x), torch.bitwise_not(x), torch.sign(x)), i(4))
case("round_decimals", lambda x: (torch.round(x, decimals=1), torch.round(x * 100, decimals=-1)), f(3, 5))
case("nan_to_num", lambda x: torch.nan_to_num(x / torch.tensor([0.0, 1.0, 0.0])), np.array([[1, 2, -1], [0, 0, 0]], np.float32))
case("posneginf", lambda x: (torch.isposinf(1 / x), torch.isneginf(1 / x)), np.array([-0.0, 0.0, 1.0], np.float32))

# ---- several operands -----------------------------------------------------------------------------------------------

for name in ("add", "sub", "mul", "div", "maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge", "fmod", "remainder",
             "atan2", "hypot", "logaddexp", "fmax", "fmin", "copysign", "true_divide", "logical_and", "logical_or",
             "logical_xor"):
    case(f"binary_{name}", getattr(torch, name), f(3, 4), f(4))
for name in ("add", "sub", "mul", "floor_divide", "remainder", "fmod", "bitwise_and", "bitwise_or", "bitwise_xor",
             "maximum", "eq", "lt", "true_divide"):
    case(f"ints_{name}", getattr(torch, name), i(3, 4, low=-9, high=9), i(4, low=1, high=5))
case("bools", lambda x, y: (x & y, x | y, x ^ y, ~x, x == y, x + y, x * y, x < y, torch.sum(x), x.float()), t(3, 4), t(4))
case("add_alpha", lambda x, y: (torch.add(x, y, alpha=2.5), torch.sub(x, y, alpha=2), torch.rsub(x, y), 3 - x), f(3, 4), f(3, 4))
case("scalars", lambda x: (x + 1, x * 2.5, x / 3, x - 0.5, 2 / x, x**2, x**3, x**0.5, x**-1, 2**x, x // 0.3, x % 0.7), f(3, 4, low=0.1))
case("int_scalars", lambda x: (x + 1.5, x * 2, x / 2, x // 2, x % 3, x**2, x << 2, x >> 1, x > 2, x == 3, x & 6), i(3, 4))
case("promotion", lambda x, y, z: (x + y, x * z, y + z, torch.where(z, x, 0), torch.cat([x, y.float()]), y / 2.0), f(3), i(3), t(3))
case("div_modes", lambda x, y: (torch.div(x, y, rounding_mode="floor"), torch.div(x, y, rounding_mode="trunc")), f(3, 4), f(4))
case("int_div_modes", lambda x, y: (torch.div(x, y, rounding_mode="floor"), torch.div(x, y, rounding_mode="trunc")), i(3, 4, low=-9, high=9), i(4, low=1))
case("pow_tensor", torch.pow, f(3, 4, low=0.1), f(4))
case("where", lambda c, x, y: torch.where(c, x, y), t(3, 4), f(3, 4), f(4))
case("masked_fill", lambda x, m: (x.masked_fill(m, -1e9), x.masked_fill(~m, torch.tensor(2.0))), f(3, 4), t(3, 4))
case("clamp", lambda x: (x.clamp(-1, 1), x.clamp(min=0.5), x.clamp(max=0), x.clamp(1, -1)), f(3, 4))
case("clamp_tensor", lambda x, y: (torch.clamp(x, min=y), torch.clamp(x, y, y + 1)), f(3, 4), f(4))
case("clamp_int", lambda x: (x.clamp(1, 3), x.clamp_min(2), x.clamp_max(2)), i(3, 4))
case("addc", lambda x, y, z: (torch.addcmul(x, y, z, value=0.5), torch.addcdiv(x, y, z.abs() + 1, value=2), torch.lerp(x, y, 0.3), torch.lerp(x, y, z)), f(3, 4), f(3, 4), f(3, 4))
case("xlogy", torch.xlogy, np.array([0, 1, 2], np.float32), f(3, low=0.5))
case("heaviside", torch.heaviside, np.array([-1, 0, 2], np.float32), f(3))

# ---- activations ----------------------------------------------------------------------------------------------------

for name in ("ReLU", "ReLU6", "Hardtanh", "LeakyReLU", "ELU", "SELU", "CELU", "GELU", "SiLU", "Mish", "Hardswish",
             "Hardsigmoid", "Softplus", "LogSigmoid", "Softsign", "Softshrink", "Hardshrink", "Tanhshrink", "RReLU"):
    case(f"act_{name}", getattr(nn, name)(), f(2, 3, 4, low=-5, high=5))
case("act_gelu_tanh", nn.GELU("tanh"), f(3, 4))
case("act_elu_alpha", nn.ELU(0.5), f(3, 4))
case("act_celu_alpha", nn.CELU(0.5), f(3, 4))
case("act_leaky", nn.LeakyReLU(0.2), f(3, 4))
case("act_softplus_beta", nn.Softplus(2, 10), f(3, 4, low=-8, high=8))
case("act_threshold", nn.Threshold(0.1, 20), f(3, 4))
case("act_glu", nn.GLU(1), f(2, 6, 3))
case("act_prelu_one", nn.PReLU(), f(2, 3, 4))
case("act_prelu", nn.PReLU(3), f(2, 3, 4, 4))
case("softmax", lambda x: (x.softmax(-1), x.softmax(1), F.log_softmax(x, 1), F.softmin(x, 0)), f(2, 3, 4))
case("softmax_dtype", lambda x: F.softmax(x, -1, dtype=torch.float32), i(2, 3))
case("inplace_act", nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Hardswish(inplace=True), nn.SiLU(inplace=True)), f(1, 3, 6, 6))

# ---- shapes ---------------------------------------------------------------------------------------------------------

case("views", lambda x: (x.view(2, 12), x.reshape(-1), x.flatten(1), x.unflatten(2, (2, 2)), x.view(6, -1), x.ravel()), f(2, 3, 4))
case("squeezes", lambda x: (x.squeeze(), x.squeeze(1), x.squeeze((1, 3)), x.unsqueeze(0), x.unsqueeze(-1)), f(2, 1, 3, 1))
case("orders", lambda x: (x.permute(2, 0, 1), x.transpose(0, -1), x.mT, x.movedim(0, 2), x.swapaxes(0, 1), torch.movedim(x, (0, 1), (2, 0))), f(2, 3, 4))
case("t", lambda x: (x.t(), x.T), f(2, 3))
case("expands", lambda x: (x.expand(4, 3, 2), x.expand(-1, 2), x.broadcast_to(2, 3, 2), x.expand_as(torch.zeros(3, 2))), f(3, 1))
case("repeats", lambda x: (x.repeat(2, 1), x.repeat(2, 1, 3), x.tile(2), x.repeat_interleave(2, dim=1), x.repeat_interleave(3)), f(2, 3))
case("broadcast_tensors", lambda x, y: torch.broadcast_tensors(x, y), f(3, 1), f(4))
case("joins", lambda x, y: (torch.cat([x, y], 1), torch.stack([x, y], 0), torch.stack([x, y], -1), torch.hstack([x, y]), torch.vstack([x, y]), torch.dstack([x, y])), f(2, 3), f(2, 3))
case("splits", lambda x: (*x.split(2, 1), *x.split([1, 4], 1), *x.chunk(2, 1), *x.unbind(0), *torch.tensor_split(x, 3, 1)), f(2, 5))
case("slices", lambda x: (x[1:], x[:, ::2], x[..., -2:], x[0], x[:, -1], x[:, 1:3, None], x.narrow(1, 1, 2), x.select(2, -1)), f(3, 4, 5))
case("flips", lambda x: (x.flip(0), x.flip(1, 2), x.fliplr(), torch.rot90(x, 1, (1, 2)), torch.rot90(x, 2, (1, 2)), torch.rot90(x, 3, (1, 2))), f(2, 3, 4))
case("rolls", lambda x: (x.roll(1, 0), x.roll((1, -2), (0, 1)), x.roll(2)), f(3, 4))
case("pixels", lambda x: (F.pixel_shuffle(x, 2), F.pixel_unshuffle(x, 2), F.channel_shuffle(x, 2)), f(1, 8, 4, 4))
case("pads", lambda x: (F.pad(x, (1, 2)), F.pad(x, (1, 0, 2, 1), value=3.0), F.pad(x, (0, -1))), f(1, 2, 4, 5))
case("pad_modes", lambda x: (F.pad(x, (1, 2, 2, 1), "reflect"), F.pad(x, (1, 2, 2, 1), "replicate"), F.pad(x, (1, 2, 2, 1), "circular")), f(1, 2, 4, 5))
case("pad_modules", nn.Sequential(nn.ReflectionPad2d(1), nn.ReplicationPad2d(1), nn.ZeroPad2d(1), nn.ConstantPad2d(1, 2.0)), f(1, 2, 4, 5))
case("unfold_dim", lambda x: (x.unfold(1, 3, 2), x.unfold(-1, 2, 1)), f(2, 7, 4))
case("triangles", lambda x: (x.tril(), x.triu(1), x.tril(-1)), f(2, 4, 4))
case("diagonals", lambda x: (x.diagonal(), x.diagonal(1, 1, 2), torch.diag_embed(x[0]), x.diagonal(-1, 0, 1)), f(3, 4, 4))
case("meshgrid", lambda x, y: (*torch.meshgrid(x, y, indexing="ij"), *torch.meshgrid(x, y, indexing="xy")), f(3), f(4))
case("like", lambda x, y: (x.view_as(y), x.reshape_as(y), x.type_as(y.int())), f(2, 6), f(3, 4))

# ---- making and types -----------------------------------------------------------------------------------------------

case("make", lambda x: (torch.zeros(2, 3) + x, torch.ones_like(x), torch.full((3,), 2.5) * x, x.new_zeros(2), x.new_ones(2), x.new_full((2,), 3.0), torch.full_like(x, 7), torch.empty(2).fill_(1)), f(3))
case("ranges", lambda x: (torch.arange(5) + x, torch.arange(1, 10, 2), torch.arange(0.0, 1.0, 0.25), torch.linspace(0, 1, 5) * x, torch.eye(3), torch.tril_indices(3, 3)), f(5))
case("types", lambda x: (x.int(), x.long(), x.bool(), x.double(), x.half().float(), x.to(torch.int32), x.to(torch.float64)), f(3, 4))
case("one_hot", lambda x: (F.one_hot(x, 6), torch.tensor(2.0) * x), i(2, 3))
case("constants", lambda x: x + torch.tensor([1.0, 2.0, 3.0]), f(2, 3))

# ---- reductions -----------------------------------------------------------------------------------------------------

case("sums", lambda x: (x.sum(), x.sum(1), x.sum((0, 2), keepdim=True), x.mean(), x.mean((1, 2)), x.prod(), x.prod(1)), f(2, 3, 4))
case("int_sums", lambda x: (x.sum(), x.sum(1), x.sum(0, dtype=torch.float32), x.float().mean(0), x.cumsum(1)), i(3, 4))
case("extremes", lambda x: (x.max(), x.min(), *x.max(1), *x.min(-1, keepdim=True), x.amax((0, 1)), x.amin(2), *torch.aminmax(x, dim=0)), f(2, 3, 4))
case("arg_extremes", lambda x: (x.argmax(), x.argmax(1), x.argmin(-1, keepdim=True), x.argmax(dim=0)), f(2, 3, 4))
case("truths", lambda x: (x.any(), x.all(), x.any(1), x.all(0, keepdim=True), torch.count_nonzero(x)), t(3, 4))
case("spread", lambda x: (x.var(), x.std(1), x.var(1, unbiased=False), x.var((0, 2), correction=2), *torch.var_mean(x, 1), *torch.std_mean(x, 2, keepdim=True)), f(2, 3, 4))
case("norms", lambda x: (x.norm(), x.norm(dim=1), x.norm(1, dim=1), x.norm(3, dim=1), x.norm(float("inf"), dim=1), torch.linalg.vector_norm(x, 2, (0, 1)), F.normalize(x, dim=1)), f(2, 3, 4))
case("running", lambda x: (x.cumsum(1), x.cumsum(-1), torch.logsumexp(x, 1), x.logsumexp((0, 1), True)), f(2, 3, 4))
case("orders_of", lambda x: (*x.topk(2), *x.topk(2, 0, False), *x.sort(1), *x.sort(0, descending=True), x.argsort(1)), f(3, 4))
case("middles", lambda x: (*x.kthvalue(2, 1), x.median(), *x.median(1)), f(3, 5))
case("similar", lambda x, y: (F.cosine_similarity(x, y), F.pairwise_distance(x, y), torch.cdist(x, y), torch.cdist(x, y, 1.0)), f(3, 4), f(3, 4))
case("diff", lambda x: (x.diff(), x.diff(2, 0)), f(4, 5))

# ---- products and convolutions --------------------------------------------------------------------------------------

case("linear", nn.Linear(4, 3), f(2, 4))
case("linear_3d", nn.Linear(4, 3, bias=False), f(2, 5, 4))
case("linear_1d", nn.Linear(4, 3), f(4))
case("products", lambda x, y: (x @ y, torch.mm(x, y), x[0] @ y, x @ y[:, 0], torch.mv(x, y[:, 0]), torch.dot(x[0], x[1]), torch.outer(x[0], x[1])), f(3, 4), f(4, 5))
case("batched", lambda x, y: (torch.bmm(x, y), x @ y, x[0] @ y), f(2, 3, 4), f(2, 4, 5))
case("adds", lambda x, y, z: (torch.addmm(z, x, y), torch.addmm(z, x, y, beta=0.5, alpha=2), torch.addmv(z[:, 0], x, y[:, 0]), torch.addr(z, x[:, 0], y[0])), f(3, 4), f(4, 5), f(3, 5))
case("baddbmm", lambda x, y, z: (torch.baddbmm(z, x, y), torch.baddbmm(z, x, y, beta=0, alpha=0.5)), f(2, 3, 4), f(2, 4, 5), f(2, 3, 5))
case("einsum", lambda x, y: (torch.einsum("bij,bjk->bik", x, y), torch.einsum("bij,bjk->b", x, y), torch.einsum("bij->bj", x)), f(2, 3, 4), f(2, 4, 5))
case("bilinear", nn.Bilinear(3, 4, 2), f(5, 3), f(5, 4))
case("tensordot", lambda x, y: torch.tensordot(x, y, dims=([2, 1], [0, 1])), f(2, 3, 4), f(4, 3, 5))
case("conv1d", nn.Conv1d(3, 4, 3, 2, 1), f(2, 3, 9))
case("conv2d", nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2), groups=2), f(2, 4, 8, 9))
case("conv2d_same", nn.Conv2d(3, 4, 4, padding="same", dilation=2), f(1, 3, 7, 8))
case("conv2d_valid", nn.Conv2d(3, 4, 3, padding="valid", bias=False), f(1, 3, 7, 8))
case("conv2d_reflect", nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), f(1, 3, 7, 8))
case("conv2d_circular", nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), f(1, 3, 7, 8))
case("conv2d_unbatched", nn.Conv2d(3, 4, 3), f(3, 7, 8))
case("conv3d", nn.Conv3d(2, 3, 3, padding=1, stride=(1, 2, 2)), f(1, 2, 4, 6, 6))
case("conv_transpose1d", nn.ConvTranspose1d(3, 4, 3, 2, 1, 1), f(1, 3, 6))
case("conv_transpose2d", nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2), f(1, 4, 5, 6))
case("conv_transpose2d_dilated", nn.ConvTranspose2d(3, 4, 3, 2, 0, 0, dilation=2), f(1, 3, 4, 4))
case("conv_transpose3d", nn.ConvTranspose3d(2, 3, 2, 2), f(1, 2, 3, 3, 3))
case("fold", nn.Fold((6, 7), 3, padding=1, stride=2), f(1, 18, 12))
case("unfold", nn.Unfold((3, 2), 1, 1, 2), f(1, 2, 6, 7))
case("weight_norm", nn.utils.parametrizations.weight_norm(nn.Conv1d(3, 4, 3)), f(1, 3, 8))
case("spectral_norm", nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3)), f(2, 4))

# ---- normalisation --------------------------------------------------------------------------------------------------


def seasoned(module):
    """A normalisation with statistics and weights as training leaves them."""
    for value in (*module.parameters(), *module.buffers()):
        if value.is_floating_point():
            value.data = torch.from_numpy(f(*value.shape, low=0.5, high=1.5))
    return module


case("batch_norm1d", seasoned(nn.BatchNorm1d(3)), f(4, 3))
case("batch_norm2d", seasoned(nn.BatchNorm2d(3)), f(2, 3, 4, 4))
case("batch_norm3d", seasoned(nn.BatchNorm3d(2)), f(1, 2, 3, 3, 3))
case("batch_norm_plain", nn.BatchNorm2d(3, affine=False), f(2, 3, 4, 4))
case("batch_norm_batch", nn.BatchNorm2d(3, track_running_stats=False), f(2, 3, 4, 4))
case("layer_norm", seasoned(nn.LayerNorm(4)), f(2, 3, 4))
case("layer_norm_two", seasoned(nn.LayerNorm((3, 4))), f(2, 3, 4))
case("layer_norm_plain", nn.LayerNorm(4, elementwise_affine=False), f(2, 3, 4))
case("layer_norm_no_bias", nn.LayerNorm(4, bias=False), f(2, 3, 4))
case("rms_norm", seasoned(nn.RMSNorm(4)), f(2, 3, 4))
case("rms_norm_eps", nn.RMSNorm(4, eps=1e-3, elementwise_affine=False), f(2, 3, 4))
case("group_norm", seasoned(nn.GroupNorm(2, 4)), f(2, 4, 3, 3))
case("group_norm_plain", nn.GroupNorm(3, 6, affine=False), f(2, 6, 5))
case("instance_norm", seasoned(nn.InstanceNorm2d(3, affine=True)), f(2, 3, 4, 4))
case("instance_norm_plain", nn.InstanceNorm1d(3), f(2, 3, 6))
case("instance_norm_tracked", seasoned(nn.InstanceNorm2d(3, track_running_stats=True)), f(2, 3, 4, 4))
case("local_response", nn.LocalResponseNorm(3), f(2, 4, 5, 5))

# ---- pooling and resizing -------------------------------------------------------------------------------------------

case("max_pools", nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.MaxPool2d((2, 1))), f(1, 2, 9, 9))
case("max_pool_ceil", nn.MaxPool2d(3, 2, ceil_mode=True), f(1, 2, 8, 8))
case("max_pool_dilated", nn.MaxPool2d(2, 1, dilation=2), f(1, 2, 6, 6))
case("max_pool_indices", nn.MaxPool2d(2, 2, return_indices=True), f(2, 3, 6, 6))
case("max_pool1d", nn.MaxPool1d(3, 2), f(1, 2, 9))
case("max_pool3d", nn.MaxPool3d(2), f(1, 2, 4, 4, 4))
case("max_pool_unbatched", nn.MaxPool2d(2), f(2, 6, 6))
case("avg_pools", nn.Sequential(nn.AvgPool2d(3, 2, 1), nn.AvgPool2d(2, 2)), f(1, 2, 9, 9))
case("avg_pool_exclude", nn.AvgPool2d(3, 2, 1, count_include_pad=False), f(1, 2, 8, 8))
case("avg_pool_ceil", nn.AvgPool2d(3, 2, 1, ceil_mode=True), f(1, 2, 8, 8))
case("avg_pool_divisor", nn.AvgPool2d(2, 2, divisor_override=3), f(1, 2, 8, 8))
case("avg_pool1d", nn.AvgPool1d(3, 2), f(1, 2, 9))
case("avg_pool3d", nn.AvgPool3d(2), f(1, 2, 4, 4, 4))
case("lp_pool", nn.LPPool2d(2, 2), f(1, 2, 6, 6, low=0.1))
case("adaptive_one", nn.AdaptiveAvgPool2d(1), f(2, 3, 5, 7))
case("adaptive_even", nn.AdaptiveAvgPool2d((2, None)), f(2, 3, 4, 6))
case("adaptive_odd", nn.AdaptiveAvgPool2d((3, 5)), f(1, 2, 7, 8))
case("adaptive_grow", nn.AdaptiveAvgPool2d(5), f(1, 2, 3, 3))
case("adaptive_1d", nn.AdaptiveAvgPool1d(3), f(1, 2, 7))
case("adaptive_3d", nn.AdaptiveAvgPool3d((1, 2, 3)), f(1, 2, 4, 5, 7))
case("adaptive_max", nn.AdaptiveMaxPool2d((2, 3)), f(1, 2, 6, 6))
case("adaptive_max_odd", nn.AdaptiveMaxPool2d((3, 2)), f(1, 2, 7, 5))
case("adaptive_max_one", nn.AdaptiveMaxPool2d(1), f(1, 2, 5, 5))
for mode in ("nearest", "nearest-exact", "bilinear", "bicubic"):
    case(f"resize_{mode}", lambda x, mode=mode: (F.interpolate(x, size=(7, 9), mode=mode), F.interpolate(x, size=(3, 2), mode=mode)), f(1, 2, 5, 4))
    case(f"resize_scale_{mode}", lambda x, mode=mode: (F.interpolate(x, scale_factor=2, mode=mode), F.interpolate(x, scale_factor=1.7, mode=mode), F.interpolate(x, scale_factor=0.6, mode=mode)), f(1, 2, 5, 6))
case("resize_corners", lambda x: (F.interpolate(x, size=(7, 9), mode="bilinear", align_corners=True), F.interpolate(x, size=(8, 8), mode="bicubic", align_corners=True), F.interpolate(x, size=(1, 1), mode="bilinear")), f(1, 2, 5, 4))
case("resize_recompute", lambda x: F.interpolate(x, scale_factor=1.7, mode="bilinear", recompute_scale_factor=True), f(1, 2, 5, 6))
case("resize_antialias", lambda x: (F.interpolate(x, size=(3, 4), mode="bilinear", antialias=True), F.interpolate(x, size=(3, 4), mode="bicubic", antialias=True)), f(1, 2, 9, 8))
case("resize_1d_3d", lambda x, y: (F.interpolate(x, scale_factor=2), F.interpolate(x, size=5, mode="linear"), F.interpolate(y, size=(3, 5, 4), mode="trilinear"), F.interpolate(y, scale_factor=2)), f(1, 2, 4), f(1, 2, 2, 3, 3))
for mode in ("bilinear", "nearest", "bicubic"):
    for edge in ("zeros", "border", "reflection"):
        case(f"grid_{mode}_{edge}", lambda x, g, m=mode, e=edge: F.grid_sample(x, g, m, e, align_corners=False), f(1, 2, 5, 6), f(1, 3, 4, 2, low=-1.2, high=1.2))
case("grid_corners", lambda x, g: F.grid_sample(x, g, align_corners=True), f(1, 2, 5, 6), f(1, 3, 4, 2, low=-1, high=1))
case("affine_grid", lambda x: F.affine_grid(x, [1, 2, 4, 5], align_corners=False), f(1, 2, 3))
case("max_unpool", lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2), f(1, 2, 4, 6))

# ---- indexing -------------------------------------------------------------------------------------------------------

case("embedding", nn.Embedding(7, 3, padding_idx=0), i(2, 4, high=7))
case("embedding_bag", lambda x, w: F.embedding_bag(x, w, torch.tensor([0, 2, 3])), i(5), f(5, 3))
case("index_one", lambda x, k: (x[k], x[:, k], x[..., k], x[k, 1:], x[:, :, k[0]]), f(3, 4, 3), i(2, high=3))
case("index_two", lambda x, k, j: (x[k, j], x[:, k, j], x[k, :, j], x[k[:, None], j]), f(3, 4, 3), i(2, high=3), i(2, high=3))
case("index_known_mask", lambda x: (x[torch.tensor([True, False, True])], x[:, torch.tensor([0, 2])]), f(3, 4))
case("index_mask", lambda x, m: (x[m].sum(), torch.masked_select(x, m).sum()), f(3, 4), t(3, 4))
case("gathers", lambda x, k: (x.gather(1, k), torch.take_along_dim(x, k, 1), x.index_select(0, k[0]), torch.take(x, k)), f(3, 4), i(3, 2, high=3))
case("scatters", lambda x, k, s: (x.scatter(1, k, s), x.scatter(1, k, 2.0), x.scatter_add(1, k, s), x.scatter_reduce(1, k, s, "amax")), f(3, 5), R.permuted(np.tile(np.arange(5), (3, 1)), axis=1)[:, :3], f(3, 3))
case("index_puts", lambda x, k, s: (x.index_put((k,), s), x.index_put((k,), s, accumulate=True), x.index_put((torch.tensor([0, 1]), k), s[:, 0]), x.index_put((k,), torch.tensor(1.0))), f(4, 3), np.array([2, 0]), f(2, 3))
case("index_adds", lambda x, k, s: (x.index_add(0, k, s, alpha=2), x.index_copy(0, k, s), x.index_fill(1, k, 5.0)), f(4, 3), np.array([2, 0]), f(2, 3))
case("slice_scatters", lambda x, s: (torch.slice_scatter(x, s, 1, 1, 3), torch.select_scatter(x, s[:, 0], 1, 2), torch.slice_scatter(x, s, 1, 0, 4, 2)), f(3, 4), f(3, 2))
case("search", lambda x, y: (torch.searchsorted(y.sort().values, x), torch.bucketize(x, torch.tensor([-1.0, 0.0, 1.0]), right=True)), f(3, 4), f(5))


def written(x):
    y = x.clone()
    y[:, 1] = 0
    y[..., :2] += 1
    y[0] *= 2
    z = y.view(-1)
    z[3] = 9
    y.transpose(0, 1)[0, 0] = 4
    a, b = y.chunk(2, 1)
    a.mul_(3)
    b.zero_()
    y.add_(x).relu_()
    return y, z


case("written", written, f(2, 4, 3))


def boxes(x):
    out = x.clone()
    out[..., 0] = x[..., 0] - x[..., 2] / 2
    out[..., 1] = x[..., 1] - x[..., 3] / 2
    out[..., 2:] = out[..., :2] + x[..., 2:]
    return out


case("boxes", boxes, f(2, 5, 4))

# ---- attention and recurrent layers ---------------------------------------------------------------------------------

Q = (f(2, 3, 4, 8), f(2, 3, 5, 8), f(2, 3, 5, 8))
case("attention", lambda q, k, v: (F.scaled_dot_product_attention(q, k, v), F.scaled_dot_product_attention(q, k, v, scale=0.3)), *Q)
case("attention_causal", lambda q: F.scaled_dot_product_attention(q, q, q, is_causal=True), Q[0])
case("attention_mask", lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m), *Q, f(4, 5))
case("attention_bool", lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m | torch.eye(4, 5, dtype=torch.bool)), *Q, t(2, 1, 4, 5))
case("attention_grouped", lambda q, k: F.scaled_dot_product_attention(q, k, k, enable_gqa=True), f(2, 4, 3, 8), f(2, 2, 3, 8))
case("multi_head", nn.MultiheadAttention(8, 2, batch_first=True), f(2, 4, 8), f(2, 5, 8), f(2, 5, 8))
case("encoder", nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2), f(2, 4, 8))
case("encoder_norm_first", nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True, activation="gelu"), f(2, 4, 8))
case("decoder", nn.TransformerDecoderLayer(8, 2, 16, batch_first=True), f(2, 4, 8), f(2, 5, 8))
case("lstm", nn.LSTM(3, 4), f(5, 2, 3))
case("lstm_bi", nn.LSTM(3, 4, 2, bidirectional=True, batch_first=True), f(2, 5, 3))
LSTM = nn.LSTM(3, 4)
case("lstm_state", lambda x, h, c: LSTM(x, (h, c)), f(5, 2, 3), f(1, 2, 4), f(1, 2, 4))
case("lstm_no_bias", nn.LSTM(3, 4, bias=False), f(5, 2, 3))
case("lstm_unbatched", nn.LSTM(3, 4), f(5, 3))
case("gru", nn.GRU(3, 4, 2), f(5, 2, 3))
case("gru_bi", nn.GRU(3, 4, bidirectional=True, batch_first=True), f(2, 5, 3))
case("rnn", nn.RNN(3, 4), f(5, 2, 3))
case("rnn_relu", nn.RNN(3, 4, nonlinearity="relu", bidirectional=True), f(5, 2, 3))


class Cells(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.gru, self.rnn = nn.LSTMCell(3, 4), nn.GRUCell(4, 4), nn.RNNCell(4, 4)

    def forward(self, x, h):
        a, c = self.lstm(x, (h, h))
        return a, c, self.gru(a, h), self.rnn(a, h)


case("cells", Cells(), f(2, 3), f(2, 4))


class Frozen(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x, scale: float = 2.0):
        with torch.no_grad():
            y = self.layer(x)
        return {"logits": y * scale, "more": {"hidden": x, "both": (x, y)}, "none": None}


case("results", Frozen(), f(2, 3))


def operator_names():
    """The operators of ATen that are in the core set, or that exported models call beyond it."""
    found = set()
    for name in torch._C._dispatch_get_all_op_names():
        packet, _, overload = name.removeprefix("aten::").partition(".")
        if name.startswith("aten::"):
            operator = getattr(getattr(torch.ops.aten, packet), overload or "default", None)
            if operator is not None and torch.Tag.core in operator.tags:
                found.add(f"aten.{packet}.{overload or 'default'}")
    return sorted(found)
