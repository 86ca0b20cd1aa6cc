"""Requests on an instance: queues, copies, pipelines, shared cores; see `docs/serving.md`."""

from neuronsim.serving.arrivals import closed, constant, parse, poisson, recorded
from neuronsim.serving.methods import serve
from neuronsim.serving.model import Load, ModelPlan, ServingError, Step
from neuronsim.serving.served import CoreUse, Requests, Served, StepUse

__all__ = [
    "CoreUse", "Load", "ModelPlan", "Requests", "Served", "ServingError", "Step", "StepUse", "closed", "constant",
    "parse", "poisson", "recorded", "serve",
]
