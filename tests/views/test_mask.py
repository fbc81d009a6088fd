from __future__ import annotations

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.views.mask import block_mask, random_mask, visible


@pytest.mark.parametrize(
    ("tokens", "ratio", "hidden"), [(16, 0.75, 12), (49, 0.75, 36), (100, 0.29, 29), (7, 0.0, 0), (7, 1.0, 7)]
)
def test_exactly_the_floor_of_the_share_is_hidden(tokens, ratio, hidden):
    for seed in range(3):
        mask = random_mask(50, tokens, ratio, generator(seed))
        assert mask.shape == (50, tokens) and mask.dtype == torch.bool
        assert (mask.sum(1) == hidden).all()


def test_every_token_is_hidden_equally_often_and_rows_differ():
    mask = random_mask(4000, 12, 0.25, generator(0))
    assert (mask.float().mean(0) - 0.25).abs().max() < 0.03
    assert len(torch.unique(mask[:200], dim=0)) > 100
    assert torch.equal(mask, random_mask(4000, 12, 0.25, generator(0)))


def joined(mask: torch.Tensor) -> float:
    """Share of the neighbors of hidden tokens, right and below, that are hidden too."""
    pairs = torch.cat(
        [(mask[:, :, 1:] & mask[:, :, :-1]).flatten(1), (mask[:, 1:] & mask[:, :-1]).flatten(1)], 1
    )
    return float(pairs.sum() / mask.sum())


@pytest.mark.parametrize(("ratio", "hidden"), [(0.4, 32), (0.0, 0), (1.0, 80), (0.5, 40)])
def test_blocks_hide_exactly_the_share_and_lie_together(ratio, hidden):
    mask = block_mask(40, (8, 10), ratio, generator(0))
    assert mask.shape == (40, 80) and (mask.sum(1) == hidden).all()
    if 0 < ratio < 1:
        scattered = random_mask(40, 80, ratio, generator(0)).view(40, 8, 10)
        assert joined(mask.view(40, 8, 10)) > 1.4 * joined(scattered)
        assert mask.view(40, 8, 10).any(0).all() and len(torch.unique(mask, dim=0)) == 40
    assert torch.equal(mask, block_mask(40, (8, 10), ratio, generator(0)))


def test_a_block_fits_grids_of_any_shape():
    for grid in ((1, 1), (1, 9), (9, 1), (2, 2)):
        assert (block_mask(5, grid, 0.5, generator(0)).sum(1) == grid[0] * grid[1] // 2).all()


def test_visible_lists_what_is_left_in_order():
    mask = torch.tensor([[True, False, False, True], [False, True, True, False]])
    assert visible(mask).tolist() == [[1, 2], [0, 3]]
    assert visible(random_mask(3, 8, 1.0, generator(0))).shape == (3, 0)
    with pytest.raises(ValueError, match="equally many hidden"):
        visible(torch.tensor([[True, False], [False, False]]))


def test_wrong_shares_are_refused():
    with pytest.raises(InputError, match=r"ratio: expected a share in \[0, 1\], found 75"):
        random_mask(2, 8, 75, generator(0))
    with pytest.raises(InputError, match="aspect"):
        block_mask(2, (4, 4), 0.5, generator(0), aspect=(0.0, 1.0))
