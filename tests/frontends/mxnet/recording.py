"""Runs a symbol in MXNet and records its files, inputs and outputs as a case of the corpus."""
from __future__ import annotations

import tempfile
import zlib
from pathlib import Path

import numpy as np

np.bool = bool  # mxnet 1.9.1 was written for older numpy releases
import mxnet as mx  # noqa: E402

from tests.frontends.corpus import Writer  # noqa: E402

HERE = Path(__file__).parent
WRITER = Writer(HERE / "corpus.npz")
S = mx.sym


def values(name, shape, dtype, rng):
    """Random numbers that suit a variable of that name."""
    if name.endswith(("_var", "var")):
        return (rng.random(shape) + 0.5).astype(dtype)
    return rng.normal(size=shape).astype(dtype)


def _text(symbol):
    """The symbol's JSON as it is computed; since 1.7 MXNet leaves out amp_cast where it is not told to keep it."""
    return symbol.tojson() if mx.__version__ < "1.7" else symbol.tojson(remove_amp_cast=False)


def saved(symbol, params):
    """The two files, by name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net"
        mx.nd.save(str(path), {k: mx.nd.array(v, dtype=v.dtype) for k, v in params.items()})
        return {"net-symbol.json": _text(symbol).encode(), "net-0000.params": path.read_bytes()}


def add(case, symbol, rtol=1e-4, atol=1e-5, labels=(), given=None, options=None, **inputs):
    """Add a case. `inputs`: array or shape by variable; all other variables become parameters, in `given` or random."""
    rng = np.random.default_rng(zlib.crc32(case.encode()))
    feeds = {n: rng.normal(size=v).astype("float32") if isinstance(v, (tuple, list)) else np.asarray(v)
             for n, v in inputs.items()}
    types = {n: v.dtype for n, v in feeds.items()}
    shapes = {n: v.shape for n, v in feeds.items()}
    arg_shapes, _, aux_shapes = symbol.infer_shape_partial(**shapes)
    arg_types, _, aux_types = symbol.infer_type(**types)
    args, aux = {}, {}
    for found, names, dims, kinds in ((args, symbol.list_arguments(), arg_shapes, arg_types),
                                      (aux, symbol.list_auxiliary_states(), aux_shapes, aux_types)):
        for name, shape, kind in zip(names, dims, kinds):
            if name in (given or {}):
                found[name] = np.asarray(given[name])
            elif name not in feeds:
                found[name] = values(name, shape, kind, rng)
    nd = {n: mx.nd.array(v, dtype=v.dtype) for n, v in {**feeds, **args}.items()}
    executor = symbol.bind(mx.cpu(), {n: nd[n] for n in symbol.list_arguments()}, grad_req="null",
                           aux_states={n: mx.nd.array(v, dtype=v.dtype) for n, v in aux.items()})
    outputs = [o.asnumpy() for o in executor.forward(is_train=False)]
    stored = {f"arg:{n}": v for n, v in args.items() if n not in labels}
    stored.update({f"aux:{n}": v for n, v in aux.items()})
    kinds = {n: v.dtype.name for n, v in feeds.items() if v.dtype != np.float32}
    if kinds:
        options = {**(options or {}), "input_dtypes": kinds}
    names = symbol.list_outputs()
    assert len(set(names)) == len(outputs)
    WRITER.add(case, saved(symbol, stored), feeds, dict(zip(names, outputs)), rtol, atol, "net-symbol.json", options)


def add_block(case, block, rtol=1e-3, atol=1e-4, **inputs):
    """Add a Gluon network as `HybridBlock.export` writes it. `inputs`: arrays or shapes, in the order of the call."""
    seed = zlib.crc32(case.encode())
    rng = np.random.default_rng(seed)
    mx.random.seed(seed % 2**31)
    np.random.seed(seed % 2**31)
    feeds = {n: rng.normal(size=v).astype("float32") if isinstance(v, tuple) else v for n, v in inputs.items()}
    block.initialize(mx.init.Xavier(magnitude=2.5))
    block.hybridize()
    given = [mx.nd.array(v, dtype=v.dtype) for v in feeds.values()]
    block(*given)
    for name, parameter in block.collect_params().items():
        if name.endswith(("running_mean", "running_var", "beta", "bias")) and parameter.shape:
            parameter.set_data(mx.nd.array(values(name, parameter.shape, "float32", rng) * 0.5 + 0.1))
    outputs = block(*given)
    outputs = [o.asnumpy() for o in (outputs if isinstance(outputs, (list, tuple)) else [outputs])]
    with tempfile.TemporaryDirectory() as folder:
        block.export(str(Path(folder) / "net"))
        files = {p.name: p.read_bytes() for p in sorted(Path(folder).iterdir())}
    symbol = mx.sym.load_json(files["net-symbol.json"].decode())
    names = [n for n in symbol.list_arguments() if n.startswith("data")]
    assert len(names) == len(feeds), names
    order = sorted(names)
    WRITER.add(case, files, dict(zip(order, feeds.values())), dict(zip(symbol.list_outputs(), outputs)), rtol, atol,
               "net-symbol.json")
