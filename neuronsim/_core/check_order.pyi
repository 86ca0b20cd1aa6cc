import numpy as np

def execute(
    offsets: np.ndarray, wait_sem: np.ndarray, wait_val: np.ndarray, post_sem: np.ndarray, post_inc: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]: ...

class Clocks:
    retired: np.ndarray
    started: np.ndarray
    complete: np.ndarray
    def __init__(self, offsets: np.ndarray, engine: np.ndarray, transfer: np.ndarray, transfers: int) -> None: ...
    def before(self, a: int, b: int) -> bool: ...

def clocks(
    offsets: np.ndarray, engine: np.ndarray, transfer: np.ndarray, transfers: int, order: np.ndarray,
    wait_sem: np.ndarray, wait_val: np.ndarray, post_sem: np.ndarray, post_op: np.ndarray, post_before: np.ndarray,
    post_start: np.ndarray, state: np.ndarray, old: Clocks | None,
) -> tuple[Clocks, int]: ...
