"""Work spread over host threads, with the answer of one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def spread(function: Callable[[Item], Answer], items: Iterable[Item], threads: int) -> list[Answer]:
    """`[function(item) for item in items]` on so many threads at the most; the first item that fails raises.

    Nothing is begun any more once one has failed or the caller was interrupted; no thread is left behind.
    """
    listed = list(items)
    if threads < 2 or len(listed) < 2:
        return [function(item) for item in listed]
    pool = ThreadPoolExecutor(min(threads, len(listed)), thread_name_prefix="neuronsim")
    try:
        return list(pool.map(function, listed))
    finally:
        pool.shutdown(cancel_futures=True)
