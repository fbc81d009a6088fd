"""Method: a published way to learn, put together from parts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from counterpoint.core.config import Config, Configured
from counterpoint.core.types import Progress, Terms, Viewer, Views


@dataclass(frozen=True, kw_only=True)
class MethodConfig(Config):
    """Settings of a method."""

    room: ClassVar[str] = "counterpoint.methods"

    def build(self) -> Method:
        """The method, its networks freshly initialized from torch's global generator."""
        return super().build()


class Method(Configured, nn.Module, ABC):
    """``loss`` reads state and never writes it; ``after_step`` writes."""

    Config: ClassVar[type[MethodConfig]]
    config: MethodConfig
    needs: ClassVar[frozenset[str]]
    """Keys of a batch this method reads."""
    turns: ClassVar[tuple[str, ...]] = ("all",)
    """Players of a step; adversarial methods have two."""
    views: Viewer
    """Makes the views of a batch."""

    @abstractmethod
    def loss(self, views: Views, at: Progress) -> Terms:
        """The loss by name; reads state, never writes it."""

    @abstractmethod
    def network(self, role: str) -> nn.Module:
        """What one takes away after training, for one role."""

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles ``network`` knows."""
        return ("image",)

    def trained(self, turn: str) -> nn.Module:  # noqa: ARG002 -- a hook: methods with several turns override it
        """Whose weights this turn changes."""
        return self

    def before_epoch(self, at: Progress, embed_all: Callable[[str], Tensor]) -> None:
        """Hook before an epoch's first step; ``embed_all(role)``: features of one pass, in order of id."""

    def after_step(self, at: Progress, kept: Mapping[str, Tensor]) -> None:
        """Hook after an update: the only place where memories are written."""

    def forward(self, views: Views, at: Progress) -> Terms:
        """``loss``, so that wrappers for several processes work."""
        return self.loss(views, at)
