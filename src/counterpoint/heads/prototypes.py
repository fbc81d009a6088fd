"""Prototypes: directions that embeddings are compared with."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from counterpoint.core.errors import InputError


class Prototypes(nn.Module):
    """``count`` learned directions on the sphere; the scores of an embedding are its cosines with them.

    There are two ways to keep them on the sphere. By default the method calls ``normalize_()`` after each
    update (SwAV, Caron et al. 2020, arXiv:2006.09882): the gradient may then have a part along a direction.
    With ``in_graph`` they are normalized as they are read (DINO, Caron et al. 2021, arXiv:2104.14294: a
    weight-normalized layer whose gain is fixed at 1): the gradient is tangential, and ``normalize_()`` is
    not needed.

    Args:
        dim: Width of the embeddings.
        count: How many prototypes.
        in_graph: Whether the gradient goes through the normalization of the prototypes.

    Raises:
        InputError: ``dim`` or ``count`` is less than 1.
    """

    def __init__(self, dim: int, count: int, in_graph: bool = False) -> None:
        super().__init__()
        if min(dim, count) < 1:
            raise InputError(f"prototypes: expected a positive dim and count, found {dim} and {count}")
        self.in_graph = in_graph
        self.weight = nn.Parameter(torch.randn(count, dim))
        self.normalize_()

    def forward(self, z: Tensor, frozen: bool = False) -> Tensor:
        """(B, dim) → scores (B, count) in [−1, 1], float32 at least; ``z`` need not be on the sphere.

        ``frozen``: the prototypes get no gradient, as at the beginning of a training that holds them still.
        """
        weight = self.weight.detach() if frozen else self.weight
        weight = normalize(weight, dim=1) if self.in_graph else weight
        with torch.autocast(z.device.type, enabled=False):  # soft-max codes at 0.05 need the digits
            return linear(normalize(z.to(weight.dtype), dim=1), weight)

    @torch.no_grad()
    def normalize_(self) -> None:
        """Put the prototypes back on the sphere, outside the graph."""
        self.weight.copy_(normalize(self.weight, dim=1))
