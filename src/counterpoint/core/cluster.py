"""Cluster: work that is done by processes on other machines, which see the same folders; dask hands it out.

A process that dies has its work done again by another one. dask sends functions and values by pickle between
the user's own processes, so its scheduler must be trusted; nothing is unpickled from files.
"""

from __future__ import annotations

import logging
import os
import platform
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from counterpoint.core.errors import InputError, WorkError
from counterpoint.core.rooms import opened, own
from counterpoint.core.threads import one_thread
from counterpoint.core.untrusted import parse_json, read_text

if TYPE_CHECKING:
    from distributed import Client

T = TypeVar("T")
R = TypeVar("R")

DIED = "the processes that were at it died, perhaps for lack of memory"
"""Why ``Cluster.each`` has no answer."""
_MARK = ".cluster-"
_ONE = threading.Lock()  # at a time in a process: threads of tensors and the current folder are the process's


@dataclass(frozen=True)
class Cluster:
    """Workers that a dask scheduler knows."""

    client: Client

    def workers(self) -> int:
        """How many there are now; raises ``WorkError`` if the scheduler is gone."""
        try:
            return len(cast(dict[str, int], self.client.nthreads()))
        except OSError:
            raise _gone() from None

    def each(
        self, work: Callable[[T], R], items: Sequence[T], folder: Path
    ) -> Iterator[tuple[int, R | None]]:
        """``work`` of every item by some worker: number of the item and answer, as they are done.

        A worker stands in the current folder of this process, has one thread for tensors and the user's own
        rooms, and does one item at a time. An item whose worker died is done again by another, until dask
        gives it up ("distributed.scheduler.allowed-failures"): its answer is None, and the others go on.

        Args:
            work: A function of a module; items and answers can be sent to another process.
            items: What to work on. As many are on their way as there are workers.
            folder: Held by the caller alone, who writes there; workers must see it, and say so if not.

        Raises:
            InputError: a worker does not see the folder, or is of another version.
            WorkError: the scheduler is gone, or cannot read what is sent. What ``work`` raises comes through.
        """
        from distributed import as_completed

        for mark in filter(Path.is_file, folder.glob(f"{_MARK}*")):  # of a process that was killed
            mark.unlink()
        with tempfile.NamedTemporaryFile(dir=folder, prefix=_MARK) as mark:
            here = _Here(Path.cwd(), Path(mark.name).absolute(), own(), version("counterpoint"))
            left, under_way = iter(enumerate(items)), {}
            ended = as_completed(loop=self.client.loop)
            while True:
                for number, item in left:
                    future = self.client.submit(_done, work, item, here, pure=False)
                    under_way[future] = number
                    ended.add(future)
                    if len(under_way) >= max(1, self.workers()):
                        break  # what waits in a worker that dies would count as what made it die
                if not under_way:
                    return
                future = next(ended)
                yield under_way.pop(future), _answer(future)


@contextmanager
def connected(address: str | None, say: Callable[[str], None]) -> Iterator[Cluster | None]:
    """A cluster while the block runs; None without an address.

    When the block ends, what was not begun is dropped; what a worker is at, it finishes.

    Args:
        address: Of a dask scheduler, as tcp://HOST:PORT, or the file that it wrote (--scheduler-file).
        say: Told how many workers there are.

    Raises:
        InputError: no dask, no such file, or no scheduler that answers.
    """
    if address is None:
        yield None
        return
    try:
        from dask import config
        from distributed import Client
    except ImportError:
        raise InputError('--cluster: expected dask, found none; pip install "counterpoint[dask]"') from None
    place = address if "://" in address else _written(Path(address))
    # Images of .npy files travel with their items; that they are many bytes is nothing the user can change.
    with config.set({"distributed.admin.large-graph-warning-threshold": "1TiB"}):
        try:
            client = Client(place, set_as_default=False, name="counterpoint")
        except (OSError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(f"{address}: expected a dask scheduler that answers, found: {reason}") from None
        with _silent("distributed.client"), client:  # it shows the loss of its scheduler as a traceback
            cluster = Cluster(client)
            say(f"workers at {place}: {cluster.workers() or 'none yet, waiting for one'}")
            yield cluster


@contextmanager
def _silent(name: str) -> Iterator[None]:
    log = logging.getLogger(name)
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def _written(file: Path) -> str:
    """The address in a scheduler's file."""
    try:
        address = parse_json(read_text(file, "tcp://HOST:PORT or the file of a dask scheduler"))["address"]
        if isinstance(address, str):
            return address
    except InputError:
        raise
    except (ValueError, KeyError, TypeError):
        pass
    raise InputError(f"{file}: expected the file of a dask scheduler, found something else")


@dataclass(frozen=True)
class _Here:
    """What a worker must have as this process has it."""

    folder: Path
    mark: Path
    """A file of this process in the folder that is written to."""
    rooms: tuple[Path, ...]
    version: str


def _done(work: Callable[[Any], Any], item: Any, here: _Here) -> Any:
    """``work`` of an item, in a worker."""
    with _ONE:
        _check(here)
        with chdir(here.folder), opened(here.rooms), one_thread():
            return work(item)


def _check(here: _Here) -> None:
    me = f"worker {os.getpid()} on {platform.node()}"
    if version("counterpoint") != here.version:
        raise InputError(
            f"{me}: expected counterpoint {here.version} as here, found {version('counterpoint')}"
        )
    for path in (here.folder, here.mark.parent):
        if not path.is_dir():
            raise InputError(f"{me}: expected the folder {path}, which all must see, found nothing there")
    if not here.mark.is_file():
        raise InputError(f"{me}: expected the same folder {here.mark.parent} as here, found another one")


def _gone() -> WorkError:
    return WorkError("the cluster: its scheduler is gone, or dropped what it was given")


def _answer(future: Any) -> Any:
    from concurrent.futures import CancelledError

    from distributed.scheduler import KilledWorker

    try:
        return future.result()
    except KilledWorker:
        return None
    except CancelledError:
        raise _gone() from None
    except ImportError as error:
        raise WorkError(f"the cluster: expected the same packages there, found no {error.name}") from None
