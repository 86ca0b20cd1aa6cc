"""The runtime of one simulated instance: who owns which cores, what is loaded where, and how much memory it takes."""

from __future__ import annotations

from neuronsim.runtime.instance import Instance, LoadedModel
from neuronsim.runtime.status import NrtError, NrtStatus, PlacementWarning

__all__ = ["Instance", "LoadedModel", "NrtError", "NrtStatus", "PlacementWarning"]
