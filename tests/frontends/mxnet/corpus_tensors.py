"""Cases of operators on tensors: arithmetic, reductions, shapes, pieces, look-ups, sorting, creation, numpy's."""
from __future__ import annotations

import numpy as np

from tests.frontends.mxnet.recording import S, add, mx

data, other = S.var("data"), S.var("other")
RNG = np.random.default_rng(11)
HALVES = (RNG.integers(-6, 7, (4, 5)) / 2).astype("float32")
INSIDE = (RNG.random((4, 5)) * 1.6 - 0.8).astype("float32")
POSITIVE = (RNG.random((4, 5)) * 3 + 1.1).astype("float32")
#: numbers with ties between the operands
SMALL = [RNG.integers(-3, 4, (3, 4)).astype("float32") for _ in range(2)]


def write():
    """Add all."""
    binary()
    scalars()
    unary()
    reductions()
    shapes()
    pieces()
    lookups()
    sorting()
    creation()
    numpy_interface()


def op(name, *args, **attrs):
    """A node of any registered operator."""
    for space in (S, S._internal, S.contrib, S.linalg, S.op):
        short = name.removeprefix("_contrib_") if space is S.contrib else name
        found = getattr(space, short, None)
        if found is not None:
            return found(*args, **attrs)
    return S._internal.__dict__[name](*args, **attrs)


def binary():
    for name in ("add", "sub", "mul", "div", "mod", "power", "maximum", "minimum", "hypot", "equal", "not_equal",
                 "greater", "greater_equal", "lesser", "lesser_equal", "logical_and", "logical_or", "logical_xor"):
        a, b = (SMALL[0], SMALL[1][:1])
        if name in ("div", "power"):
            a, b = np.abs(a) + 1, np.abs(b) + 0.5
        add(f"broadcast_{name}", op(f"broadcast_{name}", data, other), data=a, other=b)
    for name in ("add", "sub", "mul", "div"):
        add(f"elemwise_{name}", op(f"elemwise_{name}", data, other), data=SMALL[0], other=np.abs(SMALL[1]) + 1)
    add("_mod", op("_mod", data, other), data=HALVES, other=HALVES[::-1].copy())
    add("_equal", op("_equal", data, other), data=SMALL[0], other=SMALL[1])
    add("add_n", S.add_n(data, other, S.var("third")), data=(2, 3), other=(2, 3), third=(2, 3))
    add("integers", S.broadcast_add(data, other) * 3, data=np.arange(6, dtype="int32").reshape(2, 3),
        other=np.array([[1, 2, 3]], "int32"))


def scalars():
    for name in ("plus", "minus", "rminus", "mul", "div", "rdiv", "mod", "rmod", "power", "rpower", "maximum",
                 "minimum", "hypot", "equal", "not_equal", "greater", "greater_equal", "lesser", "lesser_equal",
                 "logical_and", "logical_or", "logical_xor"):
        add(f"_{name}_scalar", op(f"_{name}_scalar", data, scalar=1.5),
            data=POSITIVE if name in ("div", "rdiv", "power", "rpower", "mod", "rmod") else HALVES)
    add("smooth_l1", S.smooth_l1(data, scalar=2.0), data=INSIDE)
    add("quadratic", S.contrib.quadratic(data, a=2, b=-1, c=0.5), data=INSIDE)


def unary():
    for name in ("abs", "sign", "negative", "ceil", "floor", "round", "rint", "fix", "trunc", "square", "cbrt", "exp",
                 "expm1", "erf", "relu", "sigmoid", "softsign", "tanh", "sinh", "cosh", "sin", "cos", "arctan",
                 "arcsinh", "degrees", "radians", "logical_not", "hard_sigmoid", "identity", "BlockGrad"):
        add(name, op(name, data), data=HALVES)
    for name in ("sqrt", "rsqrt", "rcbrt", "log", "log2", "log10", "log1p", "reciprocal", "arccosh"):
        add(name, op(name, data), data=POSITIVE)
    for name in ("tan", "arcsin", "arccos", "arctanh"):
        add(name, op(name, data), data=INSIDE)
    add("clip", S.clip(data, a_min=-1, a_max=0.5), data=HALVES)
    for kind in ("int32", "float16", "uint8"):
        add(f"Cast {kind}", S.Cast(data, dtype=kind), data=POSITIVE)
    add("amp_cast", S.amp_cast(S.amp_cast(data, dtype="float16"), dtype="float32"), data=POSITIVE)


def reductions():
    for name in ("sum", "mean", "prod", "max", "min", "nansum", "nanprod"):
        values = RNG.normal(size=(2, 3, 4)).astype("float32")
        if name.startswith("nan"):
            values[0, 1, 2] = np.nan
        add(name, op(name, data), data=values)
        add(f"{name} axis", op(name, data, axis=(0, 2), keepdims=True), data=values)
        add(f"{name} exclude", op(name, data, axis=1, exclude=True), data=values)
    for order in (1, 2):
        add(f"norm {order}", S.norm(data, ord=order, axis=1), data=(2, 3, 4))
    add("norm all", S.norm(data), data=(2, 3, 4))
    for name in ("argmax", "argmin"):
        add(name, op(name, data, axis=1), data=(2, 5, 3))
        add(f"{name} all", op(name, data, keepdims=True), data=(2, 5, 3))
    add("argmax_channel", S.argmax_channel(data), data=(2, 5))
    add("moments", S.Group(list(S.moments(data, axes=(0, 2)))), data=(2, 3, 4))
    add("cumsum", S.cumsum(data, axis=1), data=(2, 3, 4))
    add("cumsum flat", S.cumsum(data), data=(2, 3))
    add("softmax_cross_entropy", S.softmax_cross_entropy(data, other), data=(3, 4),
        other=np.array([1, 0, 3], "float32"))


def shapes():
    for case, shape, wanted, more in (
            ("zero", (2, 3, 4), (0, -1), {}), ("rest", (2, 3, 4), (-2, 1), {}), ("join", (2, 3, 4), (-3, 0), {}),
            ("split", (2, 6, 4), (0, -4, 2, -1, -2), {}), ("split first", (6, 4), (-4, -1, 3, 0), {}),
            ("reverse", (10, 5, 4), (-1, 0), {"reverse": True}),
            ("split last", (3, 8), (0, 2, -1, -4), {"reverse": True}),
            ("join rest", (2, 3, 4, 5), (-3, -2), {}), ("plain", (2, 3, 4), (4, 6), {})):
        add(f"Reshape {case}", S.Reshape(data, shape=wanted, **more), data=shape)
    add("Flatten", S.Flatten(data), data=(2, 3, 4))
    add("expand_dims", S.expand_dims(data, axis=-1), data=(2, 3))
    add("squeeze", S.squeeze(data, axis=(0, 2)), data=(1, 3, 1, 1))
    add("squeeze all", S.squeeze(data), data=(1, 3, 1))
    add("transpose", S.transpose(data, axes=(0, 2, 1)), data=(2, 3, 4))
    add("transpose all", S.transpose(data), data=(2, 3, 4))
    add("SwapAxis", S.SwapAxis(data, dim1=0, dim2=2), data=(2, 3, 4))
    add("depth_to_space", S.depth_to_space(data, block_size=2), data=(1, 8, 2, 3))
    add("space_to_depth", S.space_to_depth(data, block_size=2), data=(1, 2, 4, 6))
    add("broadcast_to", S.broadcast_to(data, shape=(0, 4, 3)), data=(2, 1, 3))
    add("broadcast_axis", S.broadcast_axis(data, axis=(0, 2), size=(3, 2)), data=(1, 4, 1))
    add("broadcast_like", S.broadcast_like(data, other), data=(1, 3), other=(2, 3))
    add("broadcast_like axes", S.broadcast_like(data, other, lhs_axes=(0,), rhs_axes=(-1,)), data=(1, 3), other=(2, 5))
    add("reshape_like", S.reshape_like(data, other), data=(2, 6), other=(3, 4))
    add("reshape_like part", S.reshape_like(data, other, lhs_begin=1, lhs_end=3, rhs_begin=0, rhs_end=1),
        data=(2, 3, 4, 5), other=(12, 2))
    add("tile", S.tile(data, reps=(2, 1, 3)), data=(2, 3))
    add("repeat", S.repeat(data, repeats=2, axis=1), data=(2, 3))
    add("repeat flat", S.repeat(data, repeats=2), data=(2, 3))


def pieces():
    add("slice", S.slice(data, begin=(None, 1), end=(None, -1)), data=(3, 5, 2))
    add("slice step", S.slice(data, begin=(2, 4), end=(None, 0), step=(-1, -2)), data=(3, 5, 2))
    add("slice_axis", S.slice_axis(data, axis=1, begin=-3, end=None), data=(2, 5))
    add("slice_like", S.slice_like(data, other, axes=(0, -1)), data=(4, 5, 6), other=(2, 9, 3))
    add("slice_like all", S.slice_like(data, other), data=(4, 5), other=(2, 3))
    add("SliceChannel", S.SliceChannel(data, num_outputs=3), data=(2, 6, 3))
    add("SliceChannel squeeze", S.SliceChannel(data, num_outputs=3, axis=2, squeeze_axis=True), data=(2, 6, 3))
    add("split_v2", S.split_v2(data, (1, 4), axis=1), data=(2, 6))
    add("split_v2 even", S.split_v2(data, 3, axis=1, squeeze_axis=False), data=(2, 6))
    add("Concat", S.Concat(data, other, dim=2), data=(2, 3, 4), other=(2, 3, 1))
    add("Concat maps", S.Concat(data, other, dim=1), data=np.arange(2048, dtype="float32").reshape(1, -1),
        other=np.arange(4096, dtype="float32").reshape(1, -1))
    add("stack", S.stack(data, other, axis=1), data=(2, 3), other=(2, 3))
    add("reverse", S.reverse(data, axis=(0, 2)), data=(2, 3, 4))
    for mode in ("constant", "edge", "reflect"):
        more = {"constant_value": 1.5} if mode == "constant" else {}
        add(f"Pad {mode}", S.Pad(data, mode=mode, pad_width=(0, 0, 0, 0, 1, 2, 3, 0), **more), data=(1, 2, 4, 5))
    add("Crop like", S.Crop(data, other, num_args=2, offset=(1, 2)), data=(1, 2, 7, 8), other=(1, 5, 4, 3))
    add("Crop center", S.Crop(data, num_args=1, h_w=(4, 5), center_crop=True), data=(1, 2, 7, 8))
    add("diag", S.diag(data, k=1), data=(3, 4))
    add("diag vector", S.diag(data, k=-1), data=(3,))
    add("diag axes", S.diag(data, axis1=0, axis2=2), data=(3, 2, 4))
    add("_slice_assign", op("_slice_assign", data, other, begin=(1, 0), end=(3, None), step=(1, 2)), data=(4, 5),
        other=(2, 3))
    add("_slice_assign_scalar", op("_slice_assign_scalar", data, scalar=2.5, begin=(1,), end=(3,)), data=(4, 5))


def lookups():
    index = np.array([[0, 3, 9], [1, -1, 2]], "float32")
    add("Embedding", S.Embedding(data, input_dim=4, output_dim=3), data=np.abs(index))
    for mode in ("clip", "wrap"):
        add(f"take {mode}", S.take(data, other, axis=1, mode=mode), data=(2, 4, 3), other=index)
    add("batch_take", S.batch_take(data, other), data=(3, 4), other=np.array([1, 0, 3], "int32"))
    for mode in ("clip", "wrap"):
        add(f"pick {mode}", S.pick(data, other, axis=1, mode=mode), data=(3, 4),
            other=np.array([1, 5, -1], "float32"))
    add("pick keepdims", S.pick(data, other, axis=0, keepdims=True), data=(3, 4),
        other=np.array([1, 0, 2, 1], "float32"))
    add("gather_nd", S.gather_nd(data, other), data=(3, 4, 2), other=np.array([[0, 2, 1], [3, 1, 0]], "int32"))
    add("scatter_nd", S.scatter_nd(data, other, shape=(3, 4, 2)), data=(2, 2),
        other=np.array([[0, 2], [3, 1]], "int32"))
    add("one_hot", S.one_hot(data, depth=4, on_value=2.0, off_value=-1.0), data=index)
    add("where", S.where(S.var("condition"), data, other), condition=SMALL[0], data=(3, 4), other=(3, 4))
    add("where rows", S.where(S.var("condition"), data, other), condition=np.array([0, 1, 2], "float32"),
        data=(3, 4), other=(3, 4))
    add("index_copy", S.contrib.index_copy(data, S.var("index"), other), data=(5, 3), other=(2, 3),
        index=np.array([3, 1], "int32"))
    add("ravel", S.ravel_multi_index(data, shape=(3, 5)), data=np.array([[0, 2, 1], [4, 1, 3]], "float32"))
    add("unravel", S.unravel_index(data, shape=(3, 5)), data=np.array([4, 11, 8], "float32"))


def sorting():
    ties = RNG.integers(0, 4, (3, 6)).astype("float32")
    for kind in ("value", "indices", "mask", "both"):
        found = S.topk(data, k=3, ret_typ=kind)
        add(f"topk {kind}", S.Group(list(found)) if kind == "both" else found, data=(3, 6))
    add("topk ascend", S.topk(data, k=2, axis=0, ret_typ="value", is_ascend=True), data=ties)
    add("topk all", S.topk(data, k=0, ret_typ="value"), data=ties)
    add("sort", S.sort(data, axis=1), data=ties)
    add("sort descend", S.sort(data, axis=0, is_ascend=False), data=ties)
    add("argsort", S.argsort(data, dtype="int32"), data=(3, 6))


def creation():
    add("_zeros", S.broadcast_add(data + S.zeros((0, 3)), 2 * S.ones((1, 3))), data=(2, 3))
    add("_full", data * S.full((2, 3), 2.5), data=(2, 3))
    add("_arange", S.broadcast_mul(data, S.arange(1, 7, 2)), data=(2, 3))
    add("_arange repeat", S.broadcast_mul(data, S.arange(3, repeat=2)), data=(2, 6))
    add("_linspace", S.broadcast_mul(data, S.linspace(0, 1, 5)), data=(2, 5))
    add("_eye", S.dot(data, S.eye(4, 3, k=1)), data=(2, 4))
    add("zeros_like", data + S.zeros_like(data) + S.ones_like(data), data=(2, 3))
    add("arange_like", S.broadcast_add(data, S.contrib.arange_like(data, axis=1, start=1.0)), data=(2, 5))
    add("arange_like repeat", data + S.contrib.arange_like(data, step=2.0, repeat=2), data=(2, 4))
    add("shape_array", S.shape_array(data), data=(2, 3))
    add("size_array", S.size_array(data), data=(2, 3))
    add("index_array", S.contrib.index_array(data, axes=(1,)), data=(2, 3))


def numpy_interface():
    n, x = data.as_np_ndarray(), other.as_np_ndarray()
    np_sym, npx = mx.sym.np, mx.sym.npx
    with mx.util.np_shape(True):
        cases = {
            "np sum": np_sym.sum(n), "np mean": np_sym.mean(n, axis=1, keepdims=True), "np var": np_sym.var(n, axis=0),
            "np std": np_sym.std(n), "np argmax": np_sym.argmax(n, axis=1), "np greater": n > 0.0,
            "np concatenate": np_sym.concatenate([n, n], axis=1), "np stack": np_sym.stack([n, n], axis=1),
            "np split": np_sym.split(n, 2, axis=1)[1], "np transpose": n.T, "np reshape": np_sym.reshape(n, (2, -1)),
            "np expand": np_sym.expand_dims(n, 1), "np swapaxes": np_sym.swapaxes(n, 0, 1),
            "np clip": np_sym.clip(n, -0.5, 0.5), "np tile": np_sym.tile(n, (2, 1)), "np flip": np_sym.flip(n, 0),
            "np where": np_sym.where(n > 0.0, n, -n), "np power": n ** 2.0, "np rsub": 1.0 - n, "np div": 1.0 / (n + 9),
            "np einsum": np_sym.einsum("ij,kj->ik", n, n), "np tensordot": np_sym.tensordot(n, n, axes=((0,), (0,))),
            "np dot": np_sym.dot(n, n.T), "np max": np_sym.max(n, axis=-1), "np cumsum": np_sym.cumsum(n, axis=0),
            "np squeeze": np_sym.squeeze(np_sym.expand_dims(n, 0)), "np vstack": np_sym.vstack([n, n]),
            "np arange": n + np_sym.arange(4), "np ones": n + np_sym.ones((3, 4)),
            "np broadcast_to": np_sym.broadcast_to(np_sym.expand_dims(n, 0), (2, 3, 4)),
            "np moveaxis": np_sym.moveaxis(np_sym.expand_dims(n, 0), 0, 2), "np maximum": np_sym.maximum(n, 0.1),
            "np sort": np_sym.sort(n, axis=1), "np argsort": np_sym.argsort(n, axis=1),
            "np take": np_sym.take(n, np_sym.arange(2), axis=1), "np roll": np_sym.roll(n, 1, axis=1),
            "np tril": np_sym.tril(n), "np exp": np_sym.exp(n), "np isnan": np_sym.isnan(n),
            "npx softmax": npx.softmax(n, axis=-1), "npx relu": npx.relu(n), "npx reshape": npx.reshape(n, (-2, 2, -1)),
            "npx topk": npx.topk(n, k=2, ret_typ="value"), "npx one_hot": npx.one_hot(np_sym.argmax(n, axis=1), 5),
            "npx pick": npx.pick(n, np_sym.argmax(n, axis=1)), "npx gelu": npx.leaky_relu(n, act_type="gelu"),
            "npx batch_dot": npx.batch_dot(np_sym.expand_dims(n, 0), np_sym.expand_dims(n, 0), transpose_b=True),
        }
        cases.update({
            "np arctan2": np_sym.arctan2(n, np_sym.flip(n, 0)), "np arctan2 number": np_sym.arctan2(n, 0.5),
            "np copysign": np_sym.copysign(n, np_sym.flip(n, 0)), "np ldexp": np_sym.ldexp(n, 2.0),
            "np around": np_sym.around(n, 1), "np average": np_sym.average(n, axis=0),
            "np average weights": np_sym.average(n, weights=np_sym.arange(1, 5), axis=1),
            "np diff": np_sym.diff(n, n=2), "np trace": np_sym.trace(n, offset=1),
            "np nan_to_num": np_sym.nan_to_num(np_sym.log(n)), "np norm": np_sym.linalg.norm(n, axis=1),
            "npx reshape reverse": npx.reshape(n, (-2, -1, 1, -6), reverse=True),
        })
        for case, symbol in cases.items():
            add(case, symbol, data=(3, 4))
        add("np matmul", np_sym.matmul(n, x), data=(2, 3, 4), other=(4, 5))
