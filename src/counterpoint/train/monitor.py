"""A monitor: how the features of a few samples lie during a training, and a warning when they collapse.

It reads the same samples in the same views at every look, in evaluation mode, and moves neither weights, nor
memories, nor modes, nor random state: a run ends with the same bits with it and without. What it remembers it
reads from the log, so a run that was broken off and resumed has the same log, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from counterpoint.core.config import Config
from counterpoint.core.data import Data
from counterpoint.core.encoder import evaluation
from counterpoint.core.errors import InputError, unknown
from counterpoint.core.method import Method
from counterpoint.core.rng import generator
from counterpoint.core.types import Batch, Progress, View, Views
from counterpoint.metrics.geometry import (
    alignment,
    alive,
    by_position,
    by_sample,
    effective_rank,
    rankme,
    spread,
    uniformity,
)

if TYPE_CHECKING:
    from lightning_fabric import Fabric

HEADS = ("projector", "expander")
"""What methods call the head that makes the embedding."""
MEASURES = (effective_rank, rankme, alive, spread, uniformity)
ROWS = 1024
"""Most rows that are measured."""
Numbers = dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class MonitorConfig(Config):
    """Settings of the monitor."""

    every: int = 100
    """Updates between looks, 0 for none at all; the first and the last update have one of their own."""
    samples: int = 64
    """How many samples are looked at; in batches as large as in training."""
    taps: tuple[str, ...] = ()
    """Layers that are read besides the networks' output and the projector's: a role and a layer of its
    network ("fixed.bottleneck"), or a module of the method ("predictor")."""
    rank: float = 0.2
    """Warn where the effective rank falls below this share of the highest there was; 0 for never. On digits,
    embeddings of the image methods keep a quarter and more; without what prevents it, a sixth and less."""
    spread: float = 0.1
    """Warn where the spread (1 for a sphere, 0 for a point) falls below this after half of the training, or
    after it was four times as much; 0 for never. On digits it ends above 0.4, or else below 0.1. Embeddings
    of many methods begin at nearly 0."""

    def __post_init__(self) -> None:
        if self.every < 0 or self.samples < 2:
            raise InputError(
                f"monitor: expected every ≥ 0 and samples ≥ 2, found {self.every} and {self.samples}"
            )
        if not (0 <= self.rank < 1 and 0 <= self.spread < 1):
            raise InputError(
                f"monitor: expected rank and spread in [0, 1), found {self.rank} and {self.spread}"
            )


class Monitor:
    """Looks at a method every so many updates."""

    def __init__(self, method: Method, data: Data, config: MonitorConfig, batch: int, seed: int) -> None:
        """Say what to look at; nothing is read yet.

        Args:
            method: In training; its ``loss`` and ``views`` are called as training calls them.
            data: What it is trained on, of which the samples are drawn.
            config: Its settings.
            batch: Samples a batch.
            seed: What the choice of the samples and their views follow from.

        Raises:
            InputError: a tap that the method has not.
        """
        self.method, self.data, self.config, self.size, self.seed = method, data, config, batch, seed
        self.inside, self.beside = _layers(method, config.taps)
        self.best: dict[str, dict[str, tuple[float, int]]] = {}
        """Reading → measure → highest value, and the number of updates then done."""
        self.warned: set[str] = set()
        """Taps of which it was said that they collapse."""
        self._batches: list[Batch] = []

    def recall(self, log: Iterable[Mapping[str, Any]]) -> None:
        """Take over what earlier looks of the run found, from its log."""
        for line in log:
            self._remember(line.get("monitor", {}), line["step"])
            self.warned |= set(line.get("collapse", ()))

    def __call__(self, fabric: Fabric, at: Progress) -> dict[str, Any]:
        """What the log says after the update at ``at``; empty where it is not the time for a look.

        "monitor": reading → measure → number, None where features are not finite; a map is read by position,
        averaged and as a whole. "collapse", if there is one to report for the first time: tap → a sentence.
        """
        done, every = at.step + 1, self.config.every
        if not every or (done % every and done not in (1, at.steps)):
            return {}
        found = self.look(fabric, at)
        # The first look is what later ones are held against, not a verdict on the untrained.
        warnings = self._judge(found, at) if done >= every else {}
        self._remember(found, done)
        self.warned |= warnings.keys()
        return {"monitor": found} | ({"collapse": warnings} if warnings else {})

    def look(self, fabric: Fabric, at: Progress) -> dict[str, Numbers]:
        """The numbers of every reading, now."""
        if not self._batches:
            batches = self.data.epoch(self.size, generator(self.seed, "monitor"))
            self._batches = list(islice(batches, math.ceil(self.config.samples / self.size)))
        features: dict[str, list[Tensor]] = {}
        cuda = [fabric.device] if fabric.device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda), evaluation(self.method):
            for number, batch in enumerate(self._batches):
                rng = generator(self.seed, "monitor", "views", number)
                views = self.method.views(fabric.to_device(batch), rng)
                with fabric.autocast():
                    for name, z in (*self._networks(views), *self._modules(views, at)):
                        features.setdefault(name, []).append(z.float())
        partners = [torch.cat(features.pop(key)) for key in _undone(self.method) if key in features]
        found: dict[str, Numbers] = {}
        for name, parts in features.items():
            for reading, rows in _readings(name, torch.cat(parts), self.config.samples):
                found[reading] = _measured(rows)
        if len(partners) == 2 and partners[0].shape == partners[1].shape:
            a, b = (z[: self.config.samples].flatten(1) for z in partners)
            if a.isfinite().all() and b.isfinite().all():
                found["+".join(self.method.roles[:2])] = {"alignment": alignment(a, b)}
        return found

    @torch.no_grad()
    def _networks(self, views: Views) -> list[tuple[str, Tensor]]:
        """What the networks make of the first view of their role, and their layers on the way."""
        found: list[tuple[str, Tensor]] = []
        for role in self.method.roles:
            view = _first(views, role, alone=len(self.method.roles) == 1)
            if view is None:
                continue
            network = self.method.network(role)
            with _read({f"{role}.{name}": network.get_submodule(name) for name in self.inside[role]}) as seen:
                z = network(view.x)
            found += [(role, z), *((name, torch.cat(rows)) for name, rows in seen.items())]
            if (key := f"{role} undone") in _undone(self.method):
                found.append((key, view.undo(z)))
        return found

    def _modules(self, views: Views, at: Progress) -> list[tuple[str, Tensor]]:
        """What other modules of the method give while it computes its loss."""
        if not self.beside:
            return []
        # With gradients, because a loss may take one of its own.
        with (
            torch.enable_grad(),
            _read({name: self.method.get_submodule(name) for name in self.beside}) as seen,
        ):
            for turn in self.method.turns:
                self.method.loss(views, replace(at, turn=turn))
        return [(name, torch.cat(rows)) for name, rows in seen.items()]

    def _judge(self, found: Mapping[str, Numbers], at: Progress) -> dict[str, str]:
        """Tap → what is wrong with it, of those not yet named."""
        warnings: dict[str, str] = {}
        for reading, numbers in found.items():
            tap = reading.partition(" ")[0]
            sentence = self._fault(reading, numbers, at) if reading in self.best else ""
            if sentence and tap not in self.warned and tap not in warnings:
                warnings[tap] = sentence
        return warnings

    def _fault(self, reading: str, numbers: Numbers, at: Progress) -> str:
        best, c = self.best[reading], self.config
        where = f"after update {at.step + 1} the features at {reading!r} have collapsed"
        rank, width = numbers.get("effective_rank"), numbers.get("spread")
        if rank is not None and "effective_rank" in best and rank < c.rank * best["effective_rank"][0]:
            highest, when = best["effective_rank"]
            return f"{where}: their effective rank is {rank:.2g}, it was {highest:.2g} after update {when}"
        if width is not None and "spread" in best and width < c.spread:
            highest, when = best["spread"]
            if highest >= 4 * c.spread or 2 * (at.step + 1) >= at.steps:
                return (
                    f"{where}: their spread is {width:.2g} (1 for a sphere, 0 for a point), its highest was "
                    f"{highest:.2g} after update {when}"
                )
        return ""

    def _remember(self, found: Mapping[str, Numbers], done: int) -> None:
        for reading, numbers in found.items():
            best = self.best.setdefault(reading, {})
            for measure, value in numbers.items():
                if value is not None and value > best.get(measure, (-math.inf, 0))[0]:
                    best[measure] = value, done


def _layers(method: Method, taps: Iterable[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Layers inside of each role's network, and modules of the method beside the networks."""
    inside: dict[str, list[str]] = {role: [] for role in method.roles}
    children = dict(method.named_children())
    beside = [head for head in HEADS if head in children]
    for tap in taps:
        role, _, layer = tap.partition(".")
        if layer and role in inside and layer in dict(method.network(role).named_modules()):
            inside[role].append(layer)
        elif role not in inside and tap in dict(method.named_modules()):
            beside += [tap] if tap not in beside else []
        elif tap not in inside:
            known = [f"{r}.{name}" for r in inside for name in getattr(method.network(r), "taps", ())]
            raise unknown("tap", tap, [*inside, *known, *children])
    return inside, beside


def _undone(method: Method) -> tuple[str, ...]:
    """Names of the features of two partners in the frame they share."""
    return tuple(f"{role} undone" for role in method.roles[:2]) if len(method.roles) > 1 else ()


def _first(views: Views, role: str, *, alone: bool) -> View | None:
    """The view that a role's network takes; the first of all, if there is but one network."""
    return next((v for v in views if v.role == role), views[0] if alone else None)


@contextmanager
def _read(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, list[Tensor]]]:
    """What modules give in the block, call by call."""
    seen: dict[str, list[Tensor]] = {}

    def note(name: str, output: Any) -> None:
        if not isinstance(output, Tensor) or output.ndim not in (2, 3, 4):
            found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise InputError(f"monitor.taps: expected features (B, D, …) at {name!r}, found {found}")
        seen.setdefault(name, []).append(output.detach())

    hooks = [
        module.register_forward_hook(lambda _m, _i, output, name=name: note(name, output))
        for name, module in modules.items()
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _readings(name: str, z: Tensor, samples: int) -> list[tuple[str, Tensor]]:
    """Tables of rows: features as they are; maps and tokens by position, averaged, and as a whole.

    What has one channel says nothing but as a whole.
    """
    if z.ndim == 2:
        return [(name, z[:ROWS])]
    whole = [(f"{name} whole", z[:samples].flatten(1))]
    rows = by_position(z)
    if rows.shape[1] == 1:
        return whole
    every = math.ceil(len(rows) / ROWS)
    return [(f"{name} by position", rows[::every]), (f"{name} averaged", by_sample(z)[:ROWS]), *whole]


def _measured(z: Tensor) -> Numbers:
    finite = len(z) > 1 and bool(z.isfinite().all())
    return {measure.__name__: measure(z) if finite else None for measure in MEASURES}
