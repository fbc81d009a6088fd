"""Work done ahead of who asks for it, by threads, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(work: Callable[[T], R], items: Iterable[T], workers: int) -> Generator[R, None, None]:
    """``map(work, items)``, in order, worked ahead by threads; 0 ``workers`` work in the caller's.

    ``items`` are asked for in the caller's thread, at most four a worker before they are needed.
    """
    if workers < 1:
        yield from map(work, items)
        return
    items, waiting = iter(items), deque[Future[R]]()
    with ThreadPoolExecutor(workers) as pool:
        try:
            waiting.extend(pool.submit(work, item) for item in islice(items, 4 * workers))
            while waiting:
                done = waiting.popleft().result()
                waiting.extend(pool.submit(work, item) for item in islice(items, 1))
                yield done
        finally:  # whoever stops asking wants no more
            pool.shutdown(wait=False, cancel_futures=True)
