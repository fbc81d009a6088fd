"""Claim: what a paper says, as an experiment of minutes that can fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from counterpoint.core.errors import InputError

Arms = Mapping[str, Mapping[str, float]]
"""Arm → metric → number, of one seed."""
Verdict = Literal["holds", "fails", "open"]


@dataclass(frozen=True, kw_only=True)
class Paper:
    """Where the claim was made."""

    authors: str
    title: str
    venue: str
    year: int
    arxiv: str = ""
    """Number, e.g. "2002.05709"; empty if there is none."""
    where: str = ""
    """Table, figure or section that says so."""

    def __str__(self) -> str:
        arxiv = f" arXiv:{self.arxiv}" if self.arxiv else ""
        return f"{self.authors}. {self.title}. {self.venue} {self.year}.{arxiv}"


@dataclass(frozen=True, kw_only=True)
class Expect:
    """One arm is better than another by more than a margin, in the mean over the seeds."""

    arm: str
    than: str
    metric: str
    margin: float = 0.0
    """In units of the metric; a negative one says "not worse than, by more than this"."""
    better: Literal["higher", "lower"] = "higher"

    def gain(self, arms: Arms) -> float:
        """By how much ``arm`` is better than ``than``, of one seed."""
        gain = arms[self.arm][self.metric] - arms[self.than][self.metric]
        return gain if self.better == "higher" else -gain

    def __str__(self) -> str:
        if self.margin < 0:
            return f"{self.arm} not worse than {self.than} by more than {-self.margin:g} in {self.metric}"
        by = f" by more than {self.margin:g}" if self.margin else ""
        return f"{self.arm} better than {self.than}{by} in {self.metric}"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What ``claims/<field>/<method>.py`` exports as ``CLAIM``.

    The arms are the paper's idea and its rivals: without the idea, the untrained network, the simpler method
    that could explain the gain away. The judge is a task. Parts are imported by name, never looked up by
    kind, so that the evidence knows on which code it rests.
    """

    paper: Paper
    says: str
    """One sentence of ours: what should be seen."""
    arms: Callable[[int], Arms]
    """Runs all arms for one seed, on one core in about a minute."""
    expect: tuple[Expect, ...]
    """What must hold; all of it."""
    seeds: int = 5
    """How many seeds, from 0; at least 3."""
    differs: str = ""
    """What is smaller than, or other than, in the paper."""

    def __post_init__(self) -> None:
        if self.seeds < 3 or not self.expect:
            raise InputError("claim: expected at least 3 seeds and one expectation, found fewer")
