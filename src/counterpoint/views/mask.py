"""Masks over the tokens of a view: which are hidden. Every sample of a batch hides equally many."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from counterpoint.core.errors import InputError


def random_mask(batch: int, tokens: int, ratio: float, rng: torch.Generator) -> Tensor:
    """Tokens hidden at random (MAE, arXiv:2111.06377, 3).

    Args:
        batch: Samples B.
        tokens: Tokens N of a sample.
        ratio: Share that is hidden, in [0, 1].
        rng: Where all randomness comes from.

    Returns:
        (B, N) bool, true where hidden; exactly ⌊ratio·N⌋ in every row.

    Raises:
        InputError: a ratio outside of [0, 1].
    """
    hidden = _hidden(tokens, ratio)
    return torch.rand(batch, tokens, generator=rng).argsort(1).argsort(1) < hidden


def block_mask(
    batch: int,
    grid: tuple[int, int],
    ratio: float,
    rng: torch.Generator,
    *,
    smallest: int = 4,
    aspect: tuple[float, float] = (0.3, 1 / 0.3),
) -> Tensor:
    """Tokens hidden in rectangular blocks until the ratio is reached (BEiT, arXiv:2106.08254, algorithm 1).

    Where the last block would hide too many, some of its tokens, drawn at random, stay visible.

    Args:
        batch: Samples B.
        grid: (rows, columns) of the tokens, which are numbered row by row.
        ratio: Share that is hidden, in [0, 1].
        rng: Where all randomness comes from.
        smallest: Tokens that a block has at least, but for rounding.
        aspect: Smallest and largest height / width of a block, log-uniform.

    Returns:
        (B, N) bool with N = rows · columns, true where hidden; exactly ⌊ratio·N⌋ in every row.

    Raises:
        InputError: a ratio outside of [0, 1], or an aspect that cannot be.
    """
    if not 0 < aspect[0] <= aspect[1]:
        raise InputError(f"aspect: expected 0 < smallest ≤ largest, found {aspect}")
    hidden = _hidden(grid[0] * grid[1], ratio)
    mask = torch.zeros(batch, *grid, dtype=torch.bool)
    for sample in mask:
        while (left := hidden - int(sample.sum())) > 0:
            block = torch.zeros_like(sample)
            block[_block(grid, smallest, max(left, smallest), aspect, rng)] = True
            fresh = (block & ~sample).view(-1).nonzero()[:, 0]
            drawn = torch.randperm(len(fresh), generator=rng)[:left] if len(fresh) > left else slice(None)
            sample.view(-1)[fresh[drawn]] = True
    return mask.flatten(1)


def visible(mask: Tensor) -> Tensor:
    """(B, K) int64: the tokens that a mask (B, N), with equally many true in every row, leaves, in order.

    Raises:
        ValueError: rows that hide unequally many.
    """
    kept = (~mask).sum(1)
    if len(kept) and not bool((kept == kept[0]).all()):
        raise ValueError(
            f"mask: expected equally many hidden tokens in every row, found {kept.tolist()} kept"
        )
    return (~mask).nonzero()[:, 1].view(len(mask), -1)


def _hidden(tokens: int, ratio: float) -> int:
    if not 0 <= ratio <= 1:
        raise InputError(f"ratio: expected a share in [0, 1], found {ratio}")
    return math.floor(ratio * tokens + 1e-9)  # 0.29 · 100 is 28.999…96


def _block(
    grid: tuple[int, int], low: int, high: int, aspect: tuple[float, float], rng: torch.Generator
) -> tuple[slice, slice]:
    """A block of ``low`` to ``high`` tokens at a random place; cut down to the grid where it is larger."""
    size, shape, at_y, at_x = torch.rand(4, generator=rng).tolist()
    area = low + (high - low) * size
    tall = math.exp(math.log(aspect[0]) + shape * math.log(aspect[1] / aspect[0]))
    h = min(max(1, round(math.sqrt(area * tall))), grid[0])
    w = min(max(1, round(math.sqrt(area / tall))), grid[1])
    top, left = int(at_y * (grid[0] - h + 1)), int(at_x * (grid[1] - w + 1))
    return slice(top, top + h), slice(left, left + w)
