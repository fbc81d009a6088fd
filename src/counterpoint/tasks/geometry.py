"""How the features lie: have they collapsed, do they fill their space? No labels needed."""

from __future__ import annotations

from dataclasses import dataclass

from counterpoint.core.data import Data
from counterpoint.core.task import Networks, Outcome, Task, TaskConfig
from counterpoint.metrics.geometry import alignment, alive, effective_rank, rankme, uniformity
from counterpoint.tasks.features import features


class Geometry(Task):
    """Effective rank, RankMe, share of dimensions alive and uniformity of the test features.

    Uniformity is lower the more evenly they lie. With a second role also the mean squared distance between
    the two roles' features of one sample ("alignment", lower is closer).
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(TaskConfig):
        """Settings of the diagnostics."""

        beside: str = ""
        """A second role, whose features should lie where the first one's do; empty for none."""

    needs = frozenset()
    headline = "rankme"

    def __call__(self, network: Networks, train: Data, test: Data, seed: int) -> Outcome:  # noqa: ARG002 -- learns nothing
        """The numbers of ``test``; ``train`` is not read."""
        c = self.config
        z = features(network(c.role), test, c.batch, key=c.role, tap=c.tap).z
        numbers = {
            "effective_rank": effective_rank(z),
            "rankme": rankme(z),
            "alive": alive(z),
            "uniformity": uniformity(z),
        }
        if c.beside:
            other = features(network(c.beside), test, c.batch, key=c.beside, tap=c.tap).z
            numbers["alignment"] = alignment(z, other)
        return numbers
