import numpy as np

from neuronsim._core.check_order import Clocks

def races(
    records: np.ndarray, access_of: np.ndarray, order: np.ndarray, clocks: Clocks, offsets: np.ndarray,
    engine: np.ndarray, transfer: np.ndarray, last_access: np.ndarray, last_transfer: np.ndarray, base: np.ndarray,
    shift: np.ndarray, stamp: np.ndarray, buckets: int, limit: int, prune: bool,
) -> list[tuple[int, int]]: ...
