import numpy as np

def scan(
    records: np.ndarray, access_of: np.ndarray, order: np.ndarray, granule: np.ndarray, sbuf: np.ndarray,
    psum: np.ndarray, pe: np.ndarray, group: np.ndarray, open_groups: np.ndarray, dram: list[np.ndarray | None],
    limit: int,
) -> list[tuple[str, int, int, int, int, int, int]]: ...
