"""Task: a question asked of trained networks and data, answered in numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from counterpoint.core.config import Config, Configured
from counterpoint.core.data import Data

Networks = Callable[[str], nn.Module]
"""Role → network, as ``Method.network`` is."""
Outcome = Mapping[str, float]
"""Metric → number."""


@dataclass(frozen=True, kw_only=True)
class TaskConfig(Config):
    """Settings that every task has."""

    room: ClassVar[str] = "counterpoint.tasks"

    role: str = "image"
    """The network that is asked, and the entry of a batch it takes."""
    tap: str = ""
    """The layer whose output are the features; empty for the network's own output."""
    batch: int = 256
    """Samples at a time."""

    def build(self) -> Task:
        """The task, ready to be called."""
        return super().build()


class Task(Configured, ABC):
    """Knows networks by role and data, never a method. Leaves the networks as they were."""

    Config: ClassVar[type[TaskConfig]]
    config: Any
    """Its ``Config``."""
    needs: ClassVar[frozenset[str]]
    """Keys of a batch it reads besides the entries of its roles, e.g. "label"."""
    headline: ClassVar[str]
    """The metric by which networks are compared; higher is better."""

    def __init__(self, config: Any) -> None:
        self.config = config

    @abstractmethod
    def __call__(self, network: Networks, train: Data, test: Data, seed: int) -> Outcome:
        """The numbers; all randomness follows from ``seed``. Raises ``InputError`` if the data do not fit."""
