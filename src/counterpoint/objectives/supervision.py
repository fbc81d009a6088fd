"""Supervision: a contrastive term at a layer of a dense encoder, and the part of the training it acts in.

Terms at intermediate layers are the subject of Wetzer, Lindblad, Sladoje (IbPRIA 2023, arXiv:2303.00403),
after Kaku, Upadhya, Razavian (2021, arXiv:2110.14805).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from counterpoint.core.config import Config
from counterpoint.core.errors import InputError, unknown
from counterpoint.core.types import Pairs, Progress
from counterpoint.objectives.contrastive import cosine_logits, info_nce, l1_logits, mse_logits

Critic = Literal["mse", "cosine", "l1"]
CRITICS: dict[Critic, Callable[..., Tensor]] = {
    "mse": mse_logits,
    "cosine": cosine_logits,
    "l1": l1_logits,
}


@dataclass(frozen=True, kw_only=True)
class Schedule(Config):
    """At which updates a term acts."""

    when: Literal["constant", "alternate", "until", "from"] = "constant"
    """Always; at one of every ``period`` updates; before, or from, the share ``switch`` of the training."""
    period: int = 2
    """Length of a round of alternation in updates."""
    phase: int = 0
    """Which update of a round it is, from 0."""
    switch: float = 0.5
    """Share of all updates, in [0, 1]."""

    def __post_init__(self) -> None:
        if self.period < 1 or not 0 <= self.phase < self.period:
            raise InputError(
                f"schedule: expected 0 ≤ phase < period, found phase {self.phase} of {self.period}"
            )
        if not 0 <= self.switch <= 1:
            raise InputError(f"schedule.switch: expected a share in [0, 1], found {self.switch}")

    def active(self, at: Progress) -> bool:
        """Whether the term acts in this update."""
        match self.when:
            case "alternate":
                return at.step % self.period == self.phase
            case "until":
                return at.fraction < self.switch
            case "from":
                return at.fraction >= self.switch
            case _:
                return True

    def updates(self, steps: int) -> int:
        """How many of ``steps`` updates the term acts in."""
        return sum(self.active(Progress(step, steps, 0, 1)) for step in range(steps))


@dataclass(frozen=True, kw_only=True)
class Supervision(Config):
    """One term: where it reads, what it compares by, how much it counts, and when."""

    tap: str = "bottleneck"
    """The layer of every network, as ``Encoder.taps`` names it."""
    critic: Critic = "mse"
    """How alike two maps are: −mean squared difference, cosine, −mean absolute difference."""
    temperature: float = 0.1
    """What the critic is divided by, > 0."""
    weight: float = 1.0
    """What the term is multiplied by, ≥ 0."""
    projector: int = 0
    """Channels of a 1×1 convolution between layer and critic, one for each network; 0 for none."""
    constant: str = ""
    """Role whose maps are constants in this term: no gradient flows into its network; "" for none."""
    schedule: Schedule = Schedule()
    """At which updates it acts."""

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise InputError(f"{self.tap}.temperature: expected a positive number, found {self.temperature}")
        if self.weight < 0 or self.projector < 0:
            raise InputError(
                f"{self.tap}: expected weight ≥ 0 and projector ≥ 0, found {self.weight}, {self.projector}"
            )

    @property
    def name(self) -> str:
        """What it is logged as."""
        return f"{self.tap} {self.critic}"


class Supervised(nn.Module):
    """All terms at intermediate layers of a method's networks, with the projectors they ask for."""

    def __init__(self, terms: Sequence[Supervision], taps: Mapping[str, Mapping[str, int]]) -> None:
        """Say which terms, and for every role the taps of its network with their widths.

        Raises:
            InputError: a layer that a network has not, an unknown role, or two terms of one tap and critic.
        """
        super().__init__()
        self.terms = {term.name: term for term in terms}
        if len(self.terms) < len(terms):
            raise InputError("intermediate: expected one term for each tap and critic, found two of a kind")
        self.projectors = nn.ModuleList()
        for term in terms:
            for known in taps.values():
                if term.tap not in known:
                    raise unknown("tap", term.tap, known)
            if term.constant and term.constant not in taps:
                raise unknown("role", term.constant, taps)
            wide = {role: nn.Conv2d(known[term.tap], term.projector, 1) for role, known in taps.items()
                    if term.projector}  # fmt: skip
            self.projectors.append(nn.ModuleDict(wide))

    def taps(self, at: Progress) -> list[str]:
        """The layers that are read in this update."""
        return [term.tap for term in self.terms.values() if term.schedule.active(at)]

    def forward(
        self, read: Sequence[tuple[str, Mapping[str, Tensor]]], pairs: Pairs, at: Progress
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """The terms that act now and their weights, by name.

        Args:
            read: For every view its role and, by tap, maps (B, D, h, w) in the sample's own frame: what was
                turned is turned back.
            pairs: (V·B, V·B) who is compared with whom, view after view.
            at: The update.
        """
        parts: dict[str, Tensor] = {}
        for (name, term), projectors in zip(self.terms.items(), self.projectors, strict=True):
            if not term.schedule.active(at):
                continue
            assert isinstance(projectors, nn.ModuleDict)
            rows = []
            for role, maps in read:
                z = projectors[role](maps[term.tap]) if role in projectors else maps[term.tap]
                rows.append((z.detach() if role == term.constant else z).flatten(1))
            z = torch.cat(rows)
            parts[name] = info_nce(critic(term.critic, term.temperature)(z, z), pairs)
        return parts, {name: self.terms[name].weight for name in parts}


def critic(name: Critic, temperature: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The critic of a name, (N, D) and (M, D) → (N, M), divided by the temperature.

    Raises:
        InputError: a temperature that is not positive.
    """
    if temperature <= 0:
        raise InputError(f"temperature: expected a positive number, found {temperature}")
    return partial(CRITICS[name], temperature=temperature)
