"""One update: views, the loss of every turn, its gradient, clipping, the optimizer's step, the memories."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from counterpoint.core.errors import WorkError
from counterpoint.core.method import Method
from counterpoint.core.rng import generator, seed_all
from counterpoint.core.roles import Roles
from counterpoint.core.types import Batch, Progress, Terms, Views
from counterpoint.train import optim
from counterpoint.train.config import TrainConfig
from counterpoint.train.large import ascended
from counterpoint.train.profile import OFF, Clock
from counterpoint.train.rows import Rows
from counterpoint.train.shards import Shards
from counterpoint.train.team import ALONE, Team

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Update:
    """Updates a method, on the device and in the precision of a Fabric, alone or with other processes.

    All processes of ``team`` must have the same weights and be given the same batches. ``stage`` is told what
    of an update begins.
    """

    def __init__(
        self, fabric: Fabric, method: Method, config: TrainConfig, team: Team = ALONE, stage: Clock = OFF
    ) -> None:
        self.fabric, self.method, self.config, self.team, self.stage = fabric, method, config, team, stage
        if config.channels_last:  # what convolutions make follows their weights
            method.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] -- not in its stubs
        self.rows = Rows(method, team, config.chunk, config.checkpoint)
        self.scale = fabric.strategy.precision
        self.optim = optim.scaled(config.optim, config.batch * config.accumulate)
        self.optimizers = {turn: optim.optimizer(method.trained(turn), self.optim) for turn in method.turns}
        divided = self.optimizers.items() if config.shard and team.size > 1 else ()
        self.shards = {turn: Shards(optimizer, team) for turn, optimizer in divided}
        self._groups = {turn: clip_groups(method.trained(turn), config.clip_each) for turn in method.turns}

    def __call__(self, batches: Sequence[Batch], at: Progress) -> dict[str, Any]:
        """Make one update from one or more batches; returns what the log says of it.

        The gradient is the mean of the batches' gradients; what the batches keep for ``after_step`` is
        concatenated. With "loss" (the weighted sum), "terms", "notes" and "gradient" (2-norm before clipping)
        come "step" (updates now done), "epoch" and "rate"; several turns stand under their names.

        Raises:
            WorkError: a term or the gradient is not finite; no weight was changed by this turn.
        """
        self.stage("views")
        seed_all(self.config.seed, "step", at.step)
        rng = generator(self.config.seed, "views", at.step)
        views = [self.method.views(self.fabric.to_device(batch), rng) for batch in batches]
        # The rate of an update is that of its middle, so that none is made at a rate of 0.
        lr = optim.rate(self.optim, (at.step + 0.5) / at.steps)
        line: dict[str, Any] = {"step": at.step + 1, "epoch": at.epoch, "rate": lr}
        keep: list[dict[str, Tensor]] = [{} for _ in batches]
        for turn in self.method.turns:
            now = Progress(at.step, at.steps, at.epoch, at.epochs, turn)
            numbers = self._turn(views, now, lr, keep)
            line |= numbers if len(self.method.turns) == 1 else {turn: numbers, "loss": numbers["loss"]}
        self.stage("other")
        self.method.after_step(at, _joined(keep))
        return line

    @contextmanager
    def whole(self) -> Iterator[None]:
        """In this block the first process has the whole state of the optimizers; all must enter it."""
        with ExitStack() as stack:
            for shards in self.shards.values():
                stack.enter_context(shards.whole())
            yield

    def _turn(
        self, views: Sequence[Views], at: Progress, lr: float, keep: Sequence[dict[str, Tensor]]
    ) -> dict[str, Any]:
        """Update the weights of one turn; what is kept goes into ``keep``."""
        optimizer = self.optimizers[at.turn]
        if self.optim.sam:
            seed_all(self.config.seed, "sam", at.turn, at.step)
        numbers = self._gradient(views, at, keep)
        if self.optim.sam:  # dropout draws the same in both places
            seed_all(self.config.seed, "sam", at.turn, at.step)
            with ascended(self.method.trained(at.turn), self.optim.sam):
                self._gradient(views, at, [{} for _ in views])
        self.stage("optimizer")
        norm = _clip(self._groups[at.turn], self.config.clip)
        # In half precision an infinite gradient is usual: the step is left out and the scale made smaller.
        if not math.isfinite(norm) and getattr(self.scale, "scaler", None) is None:
            raise WorkError(_diverged(at, "the gradient", norm))
        for group in optimizer.param_groups:
            group["lr"] = lr
        step = partial(self.scale.optimizer_step, optimizer)
        self.shards[at.turn].step(step) if at.turn in self.shards else step()
        return numbers | {"gradient": _finite(norm)}

    def _gradient(
        self, views: Sequence[Views], at: Progress, keep: Sequence[dict[str, Tensor]]
    ) -> dict[str, Any]:
        """Leave the gradient of one turn in the weights; returns the loss and its parts."""
        optimizer = self.optimizers[at.turn]
        optimizer.zero_grad()
        numbers: list[dict[str, Any]] = []
        for view, kept in zip(views, keep, strict=True):
            self.stage("forward")
            with self.rows.divided():
                with self.fabric.autocast():
                    terms = self.method(view, at)
                numbers.append(_numbers(terms, at))
                self.stage("backward")
                self.fabric.backward(terms.total / len(views))
            kept.update(terms.keep)
        # Alike in all processes but for rounding, of which some devices make another one each time.
        self.team.average(self.rows.outside(p for group in optimizer.param_groups for p in group["params"]))
        self.scale.unscale_gradients(optimizer)
        return _mean(numbers)


def clip_groups(module: nn.Module, each: str) -> list[list[nn.Parameter]]:
    """The parameters whose gradients are clipped together.

    ``"turn"``: all; ``"role"``: those of every member of a ``Roles`` in ``module``, then those of no role.
    """
    everything = list(module.parameters())
    if each == "turn":
        return [everything]
    groups: list[list[nn.Parameter]] = []
    taken: set[nn.Parameter] = set()
    for roles in (m for m in module.modules() if isinstance(m, Roles)):
        for role in roles:
            groups.append([p for p in roles[role].parameters() if p not in taken])
            taken.update(groups[-1])
    return [*groups, [p for p in everything if p not in taken]]


def _clip(groups: Iterable[Sequence[nn.Parameter]], limit: float) -> float:
    """Scale each group's gradient down to a 2-norm of ``limit`` (0: no limit); the norm of all before."""
    norms = [float(clip_grad_norm_(group, limit or math.inf)) for group in groups]
    return math.hypot(*norms)


def _numbers(terms: Terms, at: Progress) -> dict[str, Any]:
    parts = {name: float(part.detach()) for name, part in terms.parts.items()}
    for name, value in parts.items():
        if not math.isfinite(value):
            raise WorkError(_diverged(at, f"the term {name!r} of the loss", value))
    notes = {name: float(note) for name, note in terms.notes.items()}
    return {"loss": float(terms.total.detach()), "terms": parts, "notes": notes}


def _diverged(at: Progress, what: str, value: float) -> str:
    return (
        f"training failed at step {at.step + 1} of {at.steps}: {what} is {value}; the last checkpoint stays "
        "(a smaller learning rate, clipping or more precision may help)"
    )


def _finite(number: float) -> float | None:
    """JSON knows no infinity."""
    return number if math.isfinite(number) else None


def _mean(each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean over batches, number by number."""
    mean: dict[str, Any] = {}
    for key, first in each[0].items():
        values = [numbers[key] for numbers in each]
        mean[key] = _mean(values) if isinstance(first, Mapping) else _finite(math.fsum(values) / len(values))
    return mean


def _joined(keep: Sequence[Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
    if len(keep) == 1:
        return keep[0]
    return {name: torch.cat([kept[name] for kept in keep]) for name in keep[0]}
