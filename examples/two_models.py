"""Two models side by side on one instance, and what they take from each other.

Run it:  python examples/two_models.py

An inf1.xlarge has four NeuronCores on one chip. NEURONCORE_GROUP_SIZES=2,2 makes two groups of two: each holds a
model that is cut into a pipeline of two stages. Neither keeps all of its weights on chip: a part is fetched in every
run, from the memory that the cores of the chip share. Both get requests at random times, first by themselves, then
together. Then two more models are loaded, for a third of the requests each: they share the groups, and take turns with
the first two.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

import neuronsim
from neuronsim.runtime import Instance, LoadedModel
from neuronsim.runtime.contention import contention
from neuronsim.serving import Served, poisson

INSTANCE, GROUPS = "inf1.xlarge", "2,2"
REQUESTS = 500
RATES = {"narrow": 800.0, "wide": 700.0}  # requests per second


def network(layers: int, width: int) -> bytes:
    """relu(x w0), relu(. w1), ...: x [1, width], `layers` matrices [width, width]. An ONNX file."""
    rng = np.random.default_rng(layers)
    nodes, weights, x = [], [], "x"
    for k in range(layers):
        weight = rng.standard_normal((width, width), dtype=np.float32) / np.sqrt(width)
        weights.append(numpy_helper.from_array(weight.astype(np.float32), f"w{k}"))
        nodes += [helper.make_node("MatMul", [x, f"w{k}"], [f"m{k}"]), helper.make_node("Relu", [f"m{k}"], [f"r{k}"])]
        x = f"r{k}"
    inputs, outputs = ([helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, width])] for n in ("x", x))
    graph = helper.make_graph(nodes, "network", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return model.SerializeToString()


def serve(instance: Instance, models: Mapping[str, LoadedModel], share: float = 1.0) -> Served:
    """Poisson arrivals for each of these models, at a share of its rate, all at once; print what they took."""
    loads = [
        (model, poisson(REQUESTS, share * RATES[name.split()[0]], seed=seed))
        for seed, (name, model) in enumerate(models.items())
    ]
    served = instance.serve(loads)
    report = contention(served, instance.target)
    for name, requests, run in zip(models, served.loads, report.models):
        p50, p99 = (1e3 * requests.percentile_s(p) for p in (50, 99))
        print(f"  {name:12} p50 {p50:6.3f} ms  p99 {p99:6.3f} ms   on its cores {1e6 * run.device_together:4.0f} us, "
              f"alone {1e6 * run.device_alone:4.0f} us: {100 * run.slowdown:+.0f} %")  # fmt: skip
    print(f"  chip 0: {100 * report.dram_share[0]:.0f} % of its memory bandwidth, host link "
          f"{100 * report.host_link_share[0]:.0f} % busy", end="")  # fmt: skip
    if report.switches:
        print(f"; {report.switches} switches, {1e6 * report.switch_seconds / report.switches:.0f} us each", end="")
    print()
    return served


def main() -> int:
    """Compile, load, serve. Returns 0."""
    narrow, wide = (
        neuronsim.compile(network(layers, width), target=INSTANCE, neuroncore_pipeline_cores=2)
        for layers, width in ((20, 1024), (8, 2048))
    )
    for name, neff in (("narrow", narrow), ("wide", wide)):
        pinned, fetched = (sum(s[key] for s in neff.report["stages"]) for key in ("pinned_bytes", "streamed_bytes"))
        print(f"{name}: {pinned / 1e6:.1f} MB of weights stay on chip, every run fetches {fetched / 1e6:.1f} MB")

    with Instance(INSTANCE, {"NEURONCORE_GROUP_SIZES": GROUPS}, private=True) as instance:
        models = {"narrow": instance.load(narrow), "wide": instance.load(wide)}
        for name, model in models.items():
            print(f"{name} by itself, on cores {model.cores}")
            serve(instance, {name: model})
        print("both at once")
        serve(instance, models)
        print("four models on two groups")
        more = {"narrow again": instance.load(narrow), "wide again": instance.load(wide)}
        serve(instance, {**models, **more}, share=1 / 3)
    return 0


if __name__ == "__main__":
    sys.exit(main())
