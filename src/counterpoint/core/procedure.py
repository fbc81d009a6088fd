"""Procedure: a published way to a result that trains nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from counterpoint.core.config import Config, Configured


@dataclass(frozen=True, kw_only=True)
class ProcedureConfig(Config):
    """Settings of a procedure."""

    room: ClassVar[str] = "counterpoint.procedures"

    def build(self) -> Procedure:
        """The procedure, ready to be called."""
        return super().build()


class Procedure(Configured, ABC):
    """Something one calls; what it takes and returns is said by the folder of its field.

    Those in ``registration`` are called as ``(fixed, moving, transform="rigid") -> matrix``: the images are
    (H, W[, C]) arrays, ``transform`` is "rigid", "similarity" or "affine", and ``matrix`` is (3, 3) float64,
    fixed → moving in pixels.

    All others are called as ``(data) -> data``: a set of images, as ``data.open.open_data`` gives it, goes
    in, and another one, smaller or made anew, comes out. ``counterpoint apply`` calls them.
    """

    Config: ClassVar[type[ProcedureConfig]]
    config: Any
    """Its ``Config``."""

    def __init__(self, config: Any) -> None:
        self.config = config

    @abstractmethod
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The result; raises ``WorkError`` with the reason when there is none."""
