"""MKL-DNN's fused operators for CPUs, which carry what they were fused from as a body."""

from __future__ import annotations

from compiler.frontends.mxnet.call import Call, operator
from compiler.frontends.mxnet.control import body, run


@operator("_sg_mkldnn_conv", "_sg_mkldnn_fully_connected", roles=("data", "weight"))
def _fused(c: Call) -> list[str]:
    """The body on the operands. What computes with 8-bit integers depends on how MKL-DNN rounds on a CPU."""
    if c.flag("quantized"):
        raise c.unsupported("8-bit integers: compile the network it was quantised from, with --auto-cast as needed")
    return run(c, body(c, 0), c.inputs)
