"""Sharing: processes that divide a computation, as the rooms below training see them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from torch import Tensor


class Sharing(Protocol):
    """Processes in a ring, this one among them; all call the same in the same order."""

    @property
    def rank(self) -> int:
        """The number of this process, from 0 on."""
        ...

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    def summed(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The sums over the processes, of each of several tensors. No gradient."""
        ...

    def passed(self, tensors: Sequence[Tensor], rows: int) -> list[Tensor]:
        """What the process before this one has, for what this one gives to the next.

        No gradient. The tensors are (B, …), B of each process's own; ``rows``: B of what comes.
        """
        ...


_NOW: ContextVar[Sharing | None] = ContextVar("sharing", default=None)


def sharing() -> Sharing | None:
    """Who has the same tensors as this process, and may compute a part each; None if nobody has."""
    return _NOW.get()


@contextmanager
def shared_by(processes: Sharing) -> Iterator[None]:
    """In this block all of them compute the same from the same, and may divide it."""
    token = _NOW.set(processes if processes.size > 1 else None)
    try:
        yield
    finally:
        _NOW.reset(token)
