from typing import Any

import numpy as np

class Loop:
    now: int
    done: int
    arrival: np.ndarray
    start: np.ndarray
    end: np.ndarray
    def __init__(
        self, stations: np.ndarray, models: np.ndarray, first: np.ndarray, pieces: np.ndarray, arrival: np.ndarray, *,
        cores: int, chips: int, cores_per_chip: int, vcpus: int, credit: int, machine: Any = None,
    ) -> None: ...
    def advance(self, requests: int) -> None: ...
