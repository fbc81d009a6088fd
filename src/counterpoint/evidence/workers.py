"""Workers: processes of one thread each that know the rooms as this process does."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from counterpoint.core import rooms
from counterpoint.core.errors import WorkError
from counterpoint.core.threads import one_thread

T = TypeVar("T")
R = TypeVar("R")


def each(work: Callable[[T], R], items: Sequence[T], jobs: int, name: str) -> Iterator[R]:
    """``work`` of every item, in order, by ``jobs`` processes at a time (0: as many as there are cores).

    ``work`` is a function of a module, and items and answers can be sent to another process; one job alone
    stays in this one. Ended early, by the caller or an error, what is under way is left to end and nothing
    new begins.

    Raises:
        WorkError: a process ended early. What ``work`` raises comes through.
    """
    if jobs == 1:
        with one_thread():  # as the others have, so that numbers do not depend on how many there are
            yield from map(work, items)
        return
    count = max(1, min(len(items), jobs or os.cpu_count() or 1))
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, fresh, _prepare, (rooms.places(),)) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in futures:
                yield future.result()
        except BrokenProcessPool:
            raise WorkError(f"{name}: a process ended early, perhaps for lack of memory") from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _prepare(places: Mapping[str, list[str]]) -> None:
    """Make a new process like this one, with one thread, and the rooms with the folders they have here.

    It ends when this one is killed: it would wait for ever, and hold the folder of the run it is at.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    import torch

    torch.set_num_threads(1)
    rooms.settle(places)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # whoever prepares was started for it
    parent.join()
    os._exit(1)
