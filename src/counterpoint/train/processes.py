"""Processes: the first of a team starts the others, which follow it until it ends, or one of them does.

The first is the process that called ``fit``; it alone writes. Under ``torchrun``, or where the program has
joined its processes by ``torch.distributed`` itself, they are there already and each calls ``fit``.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch
import torch.distributed as dist

from counterpoint.core import rooms
from counterpoint.core.errors import InputError, WorkError
from counterpoint.train.team import ALONE, Team

Work = Callable[[Team], object]
HOST = "127.0.0.1"
PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others; the first may look at features, or write, for a while."""
READY = "ready"
GRACE = 5.0
"""Seconds in which a process may end by itself."""


@dataclass(frozen=True, slots=True)
class Joining:
    """What a new process must know to join."""

    rank: int
    count: int
    port: int
    device: str
    threads: int
    places: Mapping[str, list[str]]
    """Room → its folders, where the user's own may be among them."""


@dataclass(frozen=True, slots=True)
class Follower:
    """A process that was started, and the pipe by which it says what went wrong."""

    process: BaseProcess
    pipe: Connection


@contextmanager
def given(count: int) -> Iterator[Team]:
    """The processes that were there before, ``ALONE`` where there are none.

    Raises:
        InputError: they are not ``count``, where that is not 1.
        WorkError: another one of them ended.
    """
    joined = dist.is_available() and dist.is_initialized()
    if not joined and not _launched():
        yield ALONE
        return
    if not joined:
        dist.init_process_group(_backend("cuda" if torch.cuda.is_available() else "cpu"), timeout=PATIENCE)
    size = dist.get_world_size()
    try:
        if count not in (1, size):
            raise InputError(f"train.processes: expected {size}, as were launched, or 1, found {count}")
        if size == 1:
            yield ALONE
        else:  # a group of our own, because what a program joined may not know of tensors on both devices
            group = dist.new_group(backend=_backend("cuda" if torch.cuda.is_available() else "cpu"))
            yield Team(dist.get_rank(), size, group)
    except Exception as error:
        if _lost(error):
            raise WorkError("training failed, the last checkpoint stays: another process ended") from error
        raise
    finally:
        if not joined:
            dist.destroy_process_group()


@contextmanager
def started(count: int, device: str, work: Work) -> Iterator[Team]:
    """A team of this process and ``count`` − 1 that are started to do ``work``, a function of a module.

    Raises:
        InputError: what belongs to the work cannot be sent to another process.
        WorkError: one of them ended early.
    """
    store = _store(count)
    threads = torch.get_num_threads()
    each = max(threads // count, 1)
    followers: list[Follower] = []
    ended = False
    try:
        with _deaf():
            for rank in range(1, count):
                joining = Joining(rank, count, store.port, device, each, rooms.places())
                followers.append(_start(work, joining))
        _all_ready(followers)
        torch.set_num_threads(each)
        dist.init_process_group(_backend(device), store=store, rank=0, world_size=count, timeout=PATIENCE)
        yield (team := Team(0, count))
        team.told()  # nobody leaves while another one still talks
        ended = True
    except Exception as error:
        if _lost(error) and (reason := _reason(followers)):
            raise WorkError(f"training failed, the last checkpoint stays: {reason}") from error
        raise
    finally:
        torch.set_num_threads(threads)
        if dist.is_initialized():
            dist.destroy_process_group()
        for follower in followers:
            _end(follower, at_once=not ended)


def rank() -> int:
    """The number of this process among those that were launched; 0 where there is no other."""
    return int(os.environ.get("RANK", "0")) if _launched() else 0


def local_rank(team: Team) -> int:
    """The number of a process on its machine."""
    return int(os.environ.get("LOCAL_RANK", "0")) if _launched() else team.rank


def _follow(pipe: Connection, joining: Joining, work: Work) -> None:
    """The whole life of a process that was started."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process hears it, and all end together
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
    rooms.settle(joining.places)
    torch.set_num_threads(joining.threads)
    try:
        store = _store(joining.count, joining.port)
        pipe.send(READY)
        dist.init_process_group(
            _backend(joining.device),
            store=store,
            rank=joining.rank,
            world_size=joining.count,
            timeout=PATIENCE,
        )
        work(team := Team(joining.rank, joining.count))
        team.told()
        dist.destroy_process_group()
    except Exception as error:
        if not _lost(error):  # or else another one has the reason
            if not isinstance(error, (InputError, WorkError)):
                traceback.print_exc()
            pipe.send(f"{type(error).__name__}: {error}")
        os._exit(1)


def _start(work: Work, joining: Joining) -> Follower:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_follow, args=(theirs, joining, work))
    try:
        process.start()
    except OSError:
        raise
    except Exception as error:  # whatever it is that cannot be written down says why
        found = f"{type(error).__name__}: {error}"
        raise InputError(
            f"train.processes: expected data that can be sent to a process, found {found}"
        ) from None
    finally:
        theirs.close()
    return Follower(process, ours)


def _all_ready(followers: Sequence[Follower]) -> None:
    for follower in followers:
        wait([follower.pipe, follower.process.sentinel])
        said = _said(follower)
        if said != READY:
            raise WorkError(
                f"train.processes: a process could not be started ({said or 'it wrote why'}); a program must "
                "call fit below: if __name__ == '__main__'"
            )


def _reason(followers: Sequence[Follower]) -> str:
    """Why a process ended, as it says itself or the system does; empty if it is not known."""
    for follower in followers:
        follower.process.join(GRACE)
    for number, follower in enumerate(followers, start=2):
        if said := _said(follower):
            return f"process {number} of {len(followers) + 1}: {said}"
    for number, follower in enumerate(followers, start=2):
        if (code := follower.process.exitcode or 0) < 0:
            return (
                f"process {number} of {len(followers) + 1} was killed (signal {-code}); memory may be short"
            )
    return ""


def _said(follower: Follower) -> str:
    with suppress(EOFError, OSError):
        if follower.pipe.poll():
            return follower.pipe.recv()
    return ""


def _end(follower: Follower, at_once: bool) -> None:
    if not at_once:
        follower.process.join(GRACE)
    follower.process.kill()
    follower.process.join()
    follower.process.close()
    follower.pipe.close()


def _lost(error: Exception) -> bool:
    """Whether what went wrong is that another process is gone."""
    by_word = type(error) is RuntimeError and re.search(r"gloo|connection|c10d", str(error), re.IGNORECASE)
    return isinstance(error, dist.DistError) or bool(by_word)


def _store(count: int, port: int = 0) -> Any:
    """Where the processes meet: the first one's, at a port that is free, or that which it has."""
    return dist.TCPStore(  # pyright: ignore[reportPrivateImportUsage]
        HOST, port, count, is_master=not port, wait_for_workers=False
    )


def _launched() -> bool:
    return dist.is_available() and dist.is_torchelastic_launched()


def _backend(device: str) -> str:
    return "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes begun in this block do not hear ctrl-C, not even before their first line."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
