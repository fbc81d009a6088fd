"""Compress: workers average their gradients by few bytes, and what was not sent is sent later.

A worker's part of it is a ``Step``, a generator that yields what the worker sends, is sent what came of all
workers' words, and returns the average with what the worker must remember. So the same lines run in real
processes and in workers that are simulated in one.

Ours, because torch's hooks (``torch.distributed.algorithms.ddp_comm_hooks``) need buckets of gradients that
only its DDP can make, keep what was not sent by the number of a bucket in an object to be pickled, and know
PowerSGD and shorter numbers, neither signs nor the largest.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.train.team import ALONE, Team

Memory = Mapping[str, Tensor]
"""What a worker remembers of a tensor from step to step; empty before the first."""
Step = Generator[Tensor, Tensor, tuple[Tensor, Memory]]
"""Yields numbers, to be sent their mean over the workers, or bytes (n,) uint8, to be sent those of all
workers, (W, n) uint8; returns the average gradient, the same for all workers, and the worker's memory."""


class Kind(Protocol):
    """A way to send a gradient."""

    def takes(self, shape: torch.Size) -> bool:
        """Whether it is worth it for a tensor of this shape; others are sent as they are."""
        ...

    def step(self, gradient: Tensor, memory: Memory) -> Step:
        """One worker's part in averaging a tensor."""
        ...


@dataclass(frozen=True)
class Whole:
    """Gradients as they are: what the other ways are compared with."""

    def takes(self, shape: torch.Size) -> bool:  # noqa: ARG002
        """Whether a tensor of this shape is taken: each is."""
        return True

    def step(self, gradient: Tensor, memory: Memory) -> Step:
        """One worker's part in averaging a tensor."""
        return (yield gradient), memory


@dataclass(frozen=True, kw_only=True)
class Sign:
    """Signs, one bit each, and the mean magnitude: p = g + e, sent is sign(p)·mean|p|, e ← p − sent.

    Seide et al. 2014, Interspeech (one bit with feedback); Karimireddy et al. 2019, arXiv:1901.09847,
    Algorithm 1 with the rate outside. The sign of 0 is +.
    """

    feedback: bool = True
    """Whether what was not sent is remembered."""
    least: int = 512
    """Fewest numbers of a tensor that is compressed; it has two dimensions or more."""

    def takes(self, shape: torch.Size) -> bool:
        """Whether a tensor of this shape is compressed."""
        return len(shape) >= 2 and shape.numel() >= self.least

    def step(self, gradient: Tensor, memory: Memory) -> Step:
        """One worker's part in averaging a tensor."""
        wanted = gradient + memory.get("error", 0)
        up, size = wanted.flatten() >= 0, wanted.abs().mean()
        said = yield torch.cat([_packed(up), _bytes(size[None])])
        sizes = _numbers(said[:, -size.element_size() :], size.dtype)
        signs = _unpacked(said[:, : -size.element_size()], wanted.numel()).to(wanted) * 2 - 1
        mean = (signs * sizes).mean(0).view_as(gradient)
        sent = torch.where(wanted >= 0, size, -size)
        return mean, {"error": wanted - sent} if self.feedback else {}


@dataclass(frozen=True, kw_only=True)
class TopK:
    """The largest numbers and their places: u ← μ·u + g, v ← v + u, sent is the largest share of |v|.

    Lin et al. 2018 (deep gradient compression), arXiv:1712.01887, Algorithm 4: both u and v are zeroed where
    they were sent. The threshold is exact, where the paper samples one. Shares that shrink in the first
    epochs, as in the paper, are ``dataclasses.replace`` on ``Compressed.kind``.
    """

    share: float = 0.01
    """Share of a tensor that is sent, in (0, 1]; one number at least."""
    momentum: float = 0.0
    """μ in [0, 1). It stands in the place of the optimizer's, which must then have none."""
    feedback: bool = True
    """Whether what was not sent is remembered; without it there is no momentum."""
    least: int = 512
    """Fewest numbers of a tensor that is compressed; it has two dimensions or more."""

    def __post_init__(self) -> None:
        if not (0 < self.share <= 1 and 0 <= self.momentum < 1):
            found = f"{self.share}, {self.momentum}"
            raise InputError(f"topk: expected a share in (0, 1] and momentum in [0, 1), found {found}")

    def takes(self, shape: torch.Size) -> bool:
        """Whether a tensor of this shape is compressed."""
        return len(shape) >= 2 and shape.numel() >= self.least

    def step(self, gradient: Tensor, memory: Memory) -> Step:
        """One worker's part in averaging a tensor."""
        speed = self.momentum * memory.get("speed", torch.zeros_like(gradient)) + gradient
        wanted = (memory.get("error", 0) + speed).flatten()
        count = max(round(self.share * wanted.numel()), 1)
        at = wanted.abs().topk(count).indices
        said = yield torch.cat([_bytes(at.to(torch.int32)), _bytes(wanted[at])])
        mean = torch.zeros_like(wanted)
        places = _numbers(said[:, : 4 * count], torch.int32)
        values = _numbers(said[:, 4 * count :], wanted.dtype)
        for place, value in zip(places, values, strict=True):  # in this order everywhere, to the bit
            mean[place.long()] += value / len(said)
        if not self.feedback:
            return mean.view_as(gradient), {}
        wanted[at] = 0
        kept: dict[str, Tensor] = {"error": wanted.view_as(gradient)}
        if self.momentum:
            kept["speed"] = speed.flatten().index_fill(0, at, 0).view_as(gradient)
        return mean.view_as(gradient), kept


@dataclass(frozen=True, kw_only=True)
class PowerSGD:
    """A product of two thin matrices: M = g + e, P = orth(mean M·Q), Q = mean Mᵀ·P, sent is P·(Mᵀ·P)ᵀ.

    Vogels, Karimireddy, Jaggi 2019, arXiv:1905.13727, Algorithms 1 and 2: one step of power iteration, from
    the last step's Q. e ← M − sent, each worker's own. All dimensions but the first are taken as one.
    """

    rank: int = 2
    """Columns of the matrices, ≥ 1."""
    feedback: bool = True
    """Whether what was not sent is remembered."""
    rate: float = 2.0
    """Least factor by which the two matrices must be smaller than the tensor."""
    seed: int = 0
    """What the first Q follows from; the same for all workers."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise InputError(f"powersgd.rank: expected at least 1, found {self.rank}")

    def takes(self, shape: torch.Size) -> bool:
        """Whether a tensor of this shape is compressed."""
        rows, numbers = (shape[0], shape.numel()) if len(shape) >= 2 else (0, 0)
        return bool(rows) and numbers >= self.rate * self.rank * (rows + numbers // rows)

    def step(self, gradient: Tensor, memory: Memory) -> Step:
        """One worker's part in averaging a tensor."""
        wanted = (gradient + memory.get("error", 0)).flatten(1)
        q = memory.get("q")
        if q is None:
            rng = generator(self.seed, "powersgd", *wanted.shape)
            q = torch.randn(wanted.shape[1], self.rank, generator=rng).to(wanted)
        p = torch.linalg.qr((yield wanted @ q).float()).Q.to(wanted)
        own = wanted.T @ p
        q = yield own
        kept = {"error": (wanted - p @ own.T).view_as(gradient)} if self.feedback else {}
        return (p @ q.T).view_as(gradient), kept | {"q": q}


class Compressed:
    """Averages the gradients of workers, and remembers for each what it did not send.

    Its state is a part of the training's, each process's own: without it, what was not sent is lost.
    """

    def __init__(self, kind: Kind, module: nn.Module, *, team: Team = ALONE, workers: int = 1) -> None:
        """Remember nothing yet.

        Args:
            kind: The way of sending.
            module: Whose parameters' gradients are averaged; they go by their names.
            team: The processes.
            workers: How many workers each process stands for; more than one are simulated.
        """
        self.kind, self.team, self.workers = kind, team, workers
        self.sent = 0
        """Bytes that each worker has sent so far; the state does not hold it."""
        self._names = {id(p): name for name, p in module.named_parameters()}
        self._shapes = {name: p.shape for name, p in module.named_parameters()}
        self._memory: list[dict[str, Memory]] = [{} for _ in range(workers)]

    @torch.no_grad()
    def __call__(self, gradients: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """The average over all workers, from name → gradient of each worker of this process.

        All must give gradients of the same parameters, in the same order.
        """
        steps = [
            [self._step(gradient, memory.get(name, {})) for name, gradient in given.items()]
            for given, memory in zip(gradients, self._memory, strict=True)
        ]
        names = list(gradients[0])
        done, sent = _together(steps, self.team)
        self.sent += sent
        for memory, results in zip(self._memory, done, strict=True):
            memory.update((name, kept) for name, (_, kept) in zip(names, results, strict=True) if kept)
        return {name: mean for name, (mean, _) in zip(names, done[0], strict=True)}

    def hook(self, bucket):  # without types, because DDP cannot read them as text
        """For ``ddp.register_comm_hook(compressed, Compressed.hook)``: the average of a bucket of gradients.

        ``ddp`` is torch's DistributedDataParallel around the module; ``team`` must name its processes.
        """
        names = [self._names[id(parameter)] for parameter in bucket.parameters()]
        views = dict(zip(names, bucket.gradients(), strict=True))
        for name, mean in self([views]).items():
            views[name].copy_(mean)
        future: torch.futures.Future[Tensor] = torch.futures.Future()
        future.set_result(bucket.buffer())
        return future

    def state_dict(self) -> dict[str, Tensor]:
        """What each worker of this process remembers, as "worker/parameter/entry"; numbered over all."""
        first = self.team.rank * self.workers
        return {
            f"{first + worker}/{name}/{entry}": tensor.clone()
            for worker, memory in enumerate(self._memory)
            for name, kept in memory.items()
            for entry, tensor in kept.items()
        }

    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> None:
        """Take over a state, or of several processes' together what is this one's.

        Raises:
            ValueError: it is of another number of workers, or of other parameters.
        """
        count, first = self.team.size * self.workers, self.team.rank * self.workers
        found: list[dict[str, dict[str, Tensor]]] = [{} for _ in range(self.workers)]
        for key, tensor in state_dict.items():
            number, name, entry = key.split("/")
            if not 0 <= int(number) < count:
                raise ValueError(f"expected a state of {count} workers, found one of worker {number}")
            if name not in self._shapes or (entry != "q" and tensor.shape != self._shapes[name]):
                raise ValueError(f"expected a state of these parameters, found {key} {tuple(tensor.shape)}")
            if first <= int(number) < first + self.workers:
                found[int(number) - first].setdefault(name, {})[entry] = tensor.clone()
        self._memory = [dict(memory) for memory in found]

    def _step(self, gradient: Tensor, memory: Memory) -> Step:
        kind = self.kind if self.kind.takes(gradient.shape) else Whole()
        return kind.step(gradient, memory)


def _together(workers: Sequence[Sequence[Step]], team: Team) -> tuple[list[list[tuple[Tensor, Memory]]], int]:
    """Run the steps of all workers side by side; what each returned, and the bytes that each worker sent."""
    said = [[next(step) for step in steps] for steps in workers]
    done: list[dict[int, tuple[Tensor, Memory]]] = [{} for _ in workers]
    going, sent = list(range(len(workers[0]))), 0
    while going:
        sent += sum(x.numel() * x.element_size() for x in said[0])
        heard = _heard(said, team)
        said = [[] for _ in workers]
        for worker, steps in enumerate(workers):
            for index, answer in zip(going, heard, strict=True):
                try:
                    said[worker].append(steps[index].send(answer))
                except StopIteration as end:
                    done[worker][index] = end.value
        going = [index for index in going if index not in done[0]]
    return [[results[index] for index in range(len(results))] for results in done], sent


def _heard(said: Sequence[Sequence[Tensor]], team: Team) -> list[Tensor]:
    """What came of all workers' words: means of numbers, and the bytes of each; two messages in all."""
    heard = [torch.stack(words) for words in zip(*said, strict=True)]
    of_bytes = [i for i, words in enumerate(heard) if words.dtype == torch.uint8]
    of_numbers = [i for i, words in enumerate(heard) if words.dtype != torch.uint8]
    sums = team.summed([heard[i].sum(0) for i in of_numbers])
    for i, total in zip(of_numbers, sums, strict=True):
        heard[i] = total / (team.size * len(said))
    if of_bytes and team.size > 1:
        own = torch.cat([heard[i] for i in of_bytes], 1)
        every = team.gathered(own, [len(said)] * team.size)
        parts = every.split([heard[i].shape[1] for i in of_bytes], 1)
        for i, part in zip(of_bytes, parts, strict=True):
            heard[i] = part
    return heard


def _bytes(x: Tensor) -> Tensor:
    """(n,) numbers as uint8."""
    return x.contiguous().view(torch.uint8)


def _numbers(said: Tensor, dtype: torch.dtype) -> Tensor:
    """(W, n) numbers from uint8; copied, for a view must begin at a multiple of its size."""
    return said.clone(memory_format=torch.contiguous_format).view(dtype)


def _packed(flags: Tensor) -> Tensor:
    """(N,) bool → (⌈N/8⌉,) uint8."""
    padded = nn.functional.pad(flags.to(torch.uint8), (0, -len(flags) % 8)).view(-1, 8)
    return (padded << _SHIFTS.to(flags.device)).sum(1, dtype=torch.uint8)


def _unpacked(said: Tensor, count: int) -> Tensor:
    """(W, ⌈N/8⌉) uint8 → (W, N) of 0 and 1."""
    return ((said[..., None] >> _SHIFTS.to(said.device)) & 1).flatten(1)[:, :count]


_SHIFTS = torch.arange(8, dtype=torch.uint8)
