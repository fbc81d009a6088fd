"""Study: a question put to several ways of training the same method, on data of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from counterpoint.core.claim import Expect, Paper
from counterpoint.core.errors import InputError
from counterpoint.core.method import MethodConfig


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to train."""

    method: MethodConfig
    longer: float = 1.0
    """Times as many updates as the study's usual number, where fairness asks for it."""
    about: str = ""
    """What it is there for, in a sentence."""
    updates: Callable[[int], int] = lambda steps: steps
    """Of that many updates, how many train what is taken away (decoder included)."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """What ``studies/<name>.py`` exports as ``STUDY``; data, not a script.

    The arms are trained with the same seeds, data and optimizer, and judged alike. All but ``arms`` is said
    before anything is run.
    """

    paper: Paper
    asks: str
    """The question, one sentence."""
    method: str
    """Whose settings the arms vary, by the name of its file; it also says what data are needed."""
    judge: str
    """What decides; so far "registration", for methods that learn from pairs."""
    arms: Callable[[Any], Mapping[str, Arm]]
    """Settings of the method → arms by name; the first is what the others are compared with."""
    expect: tuple[Expect, ...]
    """What the paper says, as comparisons of arms."""
    taps: tuple[str, ...] = ()
    """Layers whose features are examined for collapse, beside what the networks return."""
    differs: str = ""
    """What is other than in the paper."""

    def __post_init__(self) -> None:
        if not self.expect:
            raise InputError("study: expected at least one expectation, found none")
