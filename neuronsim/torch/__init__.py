"""PyTorch's front door: trace a module, call what comes back as if it were the module.

    model = neuronsim.torch.trace(module, example_inputs, target="trn1.2xlarge")
    model.save("model.neff")
    outputs = neuronsim.torch.load("model.neff")(image)

Names and parameters are those of `torch.neuron` and `torch_neuronx`. What the device cannot run runs in CPU segments of
the same NEFF, whose operators compute what PyTorch's do.
"""

from __future__ import annotations

from isa.errors import NeuronError

try:
    import torch as _torch
except ImportError:
    raise NeuronError("neuronsim.torch needs PyTorch", code="EXTRA_MISSING",
                      help='pip install "neuronsim[torch]"') from None

from neuronsim.torch.analysis import analyze_model
from neuronsim.torch.data_parallel import DataParallel
from neuronsim.torch.module import NeuronModule, load, save
from neuronsim.torch.options import Optimization
from neuronsim.torch.tracing import trace

__all__ = ["DataParallel", "NeuronModule", "Optimization", "analyze_model", "load", "save", "trace"]
del _torch, NeuronError
