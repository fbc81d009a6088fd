"""Team: the processes of one training, and what they say to each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from counterpoint.core.errors import InputError


@dataclass(frozen=True, slots=True)
class Team:
    """``size`` processes, this one being number ``rank``; all call the same methods in the same order."""

    rank: int = 0
    size: int = 1
    group: Any = None
    """torch's name for the team; None for all processes that were joined."""

    def shares(self, rows: int) -> list[int]:
        """How many of ``rows`` rows each process takes; shares are contiguous and differ by one at most."""
        return [rows // self.size + (rank < rows % self.size) for rank in range(self.size)]

    def own(self, sizes: Sequence[int]) -> slice:
        """Which rows are this process's, of shares of these sizes."""
        start = sum(sizes[: self.rank])
        return slice(start, start + sizes[self.rank])

    def gathered(self, own: Tensor, sizes: Sequence[int]) -> Tensor:
        """(ΣB, …) from each process's (B, …), in order; ``sizes``: rows of each. No gradient."""
        # The backends take equal sizes only.
        padded = own.new_zeros(max(sizes), *own.shape[1:])
        padded[: len(own)] = own.detach()
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded, group=self.group)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    def summed(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The sums over the processes, of each of several tensors. No gradient."""
        if self.size == 1:
            return [x.detach() for x in tensors]
        found = list(tensors)
        for indices in _alike(tensors):
            flat = torch.cat([tensors[i].detach().flatten() for i in indices])
            dist.all_reduce(flat, group=self.group)
            for i, x in zip(indices, flat.split([tensors[i].numel() for i in indices]), strict=True):
                found[i] = x.view(tensors[i].shape)
        return found

    def spread(self, tensors: Sequence[Tensor], source: int) -> None:
        """Put what process ``source`` has in the place of each of several tensors."""
        for indices in _alike(tensors):
            flat = torch.cat([tensors[i].flatten() for i in indices])
            dist.broadcast(flat, group=self.group, group_src=source)
            if self.rank != source:
                for i, x in zip(indices, flat.split([tensors[i].numel() for i in indices]), strict=True):
                    tensors[i].copy_(x.view(tensors[i].shape))

    def collected(self, own: Tensor) -> list[Tensor]:
        """In the first process each one's (B,), B of its own, on the processor; in the others nothing."""
        counts = torch.zeros(self.size, dtype=torch.int64)
        counts[self.rank] = len(own)
        counts = self.summed([counts])[0].tolist()
        if self.rank:
            dist.send(own, group=self.group, group_dst=0)
            return []
        found = [own, *(own.new_empty(count) for count in counts[1:])]
        for rank, x in enumerate(found[1:], start=1):
            dist.recv(x, group=self.group, group_src=rank)
        return found

    def passed(self, tensors: Sequence[Tensor], rows: int) -> list[Tensor]:
        """What the process before this one in a ring has, for what this one gives to the next. No gradient.

        The tensors are (B, …), B of each process's own; ``rows``: B of what comes.
        """
        before, after = (self.rank - 1) % self.size, (self.rank + 1) % self.size
        found = [x.new_empty(rows, *x.shape[1:]) for x in tensors]
        group = self.group or dist.group.WORLD
        out = [
            dist.P2POp(dist.isend, x.detach().contiguous(), group=group, group_peer=after)
            for x in tensors
            if x.numel()
        ]
        come = [dist.P2POp(dist.irecv, x, group=group, group_peer=before) for x in found if x.numel()]
        for work in dist.batch_isend_irecv(out + come) if out or come else ():
            work.wait()
        return found

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Put the mean over the processes in the place of every gradient."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.size > 1 and gradients:
            for gradient, total in zip(gradients, self.summed(gradients), strict=True):
                gradient.copy_(total / self.size)

    def any(self, flag: bool) -> bool:
        """Whether any process says so."""
        return flag if self.size == 1 else bool(self.summed([torch.tensor(int(flag))])[0])

    def told(self, number: int = 0) -> int:
        """The number that the first process gives."""
        return number if self.size == 1 else int(self.summed([torch.tensor(number * (self.rank == 0))])[0])


ALONE = Team()
"""One process, which has nobody to talk to."""


def _alike(tensors: Sequence[Tensor]) -> Iterable[list[int]]:
    """Which go into one message: it costs more than what it says."""
    alike: dict[tuple[torch.dtype, torch.device], list[int]] = {}
    for index, x in enumerate(tensors):
        alike.setdefault((x.dtype, x.device), []).append(index)
    return alike.values()


def check_count(count: int, device: str) -> None:
    """Raise ``InputError`` where so many processes cannot work on a kind of device of this machine."""
    if count > 1 and not dist.is_available():
        raise InputError(f"train.processes: expected a torch with torch.distributed for {count}, found none")
    if device == "cuda" and count > torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise InputError(
            f"train.processes: expected at most the {found} CUDA devices there are, found {count}"
        )
