import numpy as np

class Shared:
    def __init__(
        self, first: np.ndarray, ticks: np.ndarray, lumps: np.ndarray, order: np.ndarray, *, cores: int,
        cores_per_chip: int,
    ) -> None: ...
