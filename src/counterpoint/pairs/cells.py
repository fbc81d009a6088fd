"""Pairs by cell: cells of the maps of two crops that lie in nearly the same spot of their sample."""

from __future__ import annotations

import torch
from torch import Tensor

from counterpoint.core.types import Pairs
from counterpoint.pairs.places import cell_places, same_place


def same_cells(
    a: Tensor, b: Tensor, cells: tuple[int, int], others: tuple[int, int], radius: float = 0.7
) -> Pairs:
    """Cells of a sample whose centers are within ``radius`` cell diagonals are positives, others negatives.

    Xie et al. 2021 (PixPro), arXiv:2011.10043, section 3.1. Centers, not places in the grid: crops of unlike
    boxes have unlike cells. Measured in the units of the boxes: in shares of the sample's sides, as in the
    authors' code, places in a sample that is not square count as if it were.

    Args:
        a: (B, 4) boxes left, top, right, bottom of one crop in its sample; left > right is mirrored.
        b: (B, 4) of another crop of the same samples.
        cells: (height, width) of the map of ``a``.
        others: The same of ``b``.
        radius: In diagonals of the larger of two cells, ≥ 0; with 0.7 and equal square boxes only the very
            same cell is near.

    Returns:
        Masks of (B, P, Q), P and Q cells row by row. Crops that do not overlap may have no positive.
    """
    reach = radius * torch.maximum(_diagonals(a, cells), _diagonals(b, others))
    return same_place(cell_places(a, *cells), cell_places(b, *others), reach[:, None, None])


def _diagonals(boxes: Tensor, cells: tuple[int, int]) -> Tensor:
    """(B,): diagonal of a cell of each box."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return torch.hypot(sides[:, 0] / cells[1], sides[:, 1] / cells[0])
