from typing import Any

import numpy as np

from neuronsim._core.serving_shared import Shared

class Loop:
    now: int
    done: int
    arrival: np.ndarray
    start: np.ndarray
    end: np.ndarray
    def __init__(
        self, stations: np.ndarray, models: np.ndarray, first: np.ndarray, pieces: np.ndarray, arrival: np.ndarray, *,
        cores: int, chips: int, vcpus: int, credit: int, machine: Any = None,
        shared: Shared | None = None, witness: Any = None,
    ) -> None: ...
    def advance(self, requests: int) -> None: ...
