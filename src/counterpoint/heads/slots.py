"""Slots: the places of a map are shared out among prototypes, and each prototype's share has one mean."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from counterpoint.core.errors import InputError
from counterpoint.heads.dense import under_masks
from counterpoint.heads.maps import EveryPlace
from counterpoint.heads.prototypes import Prototypes


class Slots(nn.Module):
    """Scores of every place on K prototypes, and K slots: means of the map weighted by shares of places.

    ``A_kp = softmax_k(cos(C_k, u_p) / τ) + 10⁻⁶`` and ``S_k = Σ_p A_kp u_p / Σ_p A_kp``, u of any length. Wen
    et al. 2022 (SlotCon), arXiv:2205.15288, section 3.2. A slot that is nobody's first choice is nearly a
    mean of the whole map: see ``occupied``.

    Args:
        dim: Channels D of the map.
        count: How many prototypes K.
        temperature: τ > 0.

    Raises:
        InputError: ``temperature`` is not positive, or a width is not.
    """

    def __init__(self, dim: int, count: int, temperature: float = 0.07) -> None:
        super().__init__()
        if temperature <= 0:
            raise InputError(f"slots: expected a positive temperature, found {temperature}")
        self.temperature = temperature
        self.prototypes = Prototypes(dim, count, in_graph=True)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D, H, W) → slots (B, K, D) and scores (B, K, H, W), cosines."""
        scores = EveryPlace(self.prototypes)(maps)
        return under_masks(maps.to(scores), (scores / self.temperature).softmax(1) + 1e-6), scores


def occupied(scores: Tensor) -> Tensor:
    """(B, K, H, W) scores → (B, K) bool: prototypes that are the first choice of at least one place."""
    first = scores.argmax(1).flatten(1)
    there = torch.zeros(scores.shape[:2], dtype=torch.bool, device=scores.device)
    return there.scatter(1, first, True)
