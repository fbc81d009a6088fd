"""Which layer to take: a linear classifier on every layer of a frozen network."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from counterpoint.core.data import Data
from counterpoint.core.task import Networks, Outcome, Task, TaskConfig
from counterpoint.tasks.budget import chosen, held_out
from counterpoint.tasks.features import Embedded, coded, features
from counterpoint.tasks.linear_probe import LinearProbe


class Layers(Task):
    """Accuracy of a ridge classifier at every layer, and of the layer that is best on held-out labels.

    Xue et al. 2024, arXiv:2403.11391: what a task needs may be gone from the last layer and not from those
    before, and which is best depends on the task.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(TaskConfig):
        """Settings of the search."""

        taps: tuple[str, ...] = ()
        """The layers; if none are given those the network says it has. ``tap``, or what the network returns,
        comes after them."""
        labels: str = "all"
        """Labels that may be used: all, a share such as 1%, or so many of each class such as 5/class."""

    needs = frozenset({"label"})
    headline = "accuracy"

    def __call__(self, network: Networks, train: Data, test: Data, seed: int) -> Outcome:
        """Accuracy on ``test`` "at" each layer, and "accuracy" and place from 0 of the "layer" chosen.

        Of equally good ones the last is chosen.
        """
        c, of, probe = self.config, network(self.config.role), LinearProbe(LinearProbe.Config())
        asked = list(dict.fromkeys((*(c.taps or getattr(of, "taps", ())), c.tap)))
        found: dict[str, float] = {}
        held: dict[str, float] = {}
        for tap in asked:
            a, b = (features(of, data, c.batch, key=c.role, tap=tap) for data in (train, test))
            known, held[tap] = self._tried(a, seed)
            found[tap] = probe.judge(known, b, seed)["accuracy"]
        best = max(reversed(asked), key=held.__getitem__)
        each = {f"at {tap or 'output'}": value for tap, value in found.items()}
        return {"accuracy": found[best], "layer": float(asked.index(best)), **each}

    def _tried(self, train: Embedded, seed: int) -> tuple[Embedded, float]:
        """What may be used, and the accuracy on a fifth of it of a classifier from the rest."""
        code, _, _ = coded(train, train)
        known = _rows(train, chosen(code, self.config.labels, seed))
        assert known.label is not None
        keep, held = held_out(known.label, seed)
        if not len(held):  # one label each: nothing to choose by
            return known, 0.0
        probe = LinearProbe(LinearProbe.Config())
        return known, probe.judge(_rows(known, keep), _rows(known, held), seed)["accuracy"]


def _rows(data: Embedded, index: Tensor) -> Embedded:
    label = None if data.label is None else data.label[index]
    return Embedded(data.z[index], data.id[index], label)
