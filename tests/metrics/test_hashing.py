from __future__ import annotations

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.metrics.hashing import difference_hash, hamming


def test_bits_say_where_the_right_neighbor_is_brighter():
    """A picture of 9 columns and 8 rows is not resized: the hash can be read off it."""
    picture = torch.rand(1, 1, 8, 9, generator=generator(0))
    eighth = (picture * 255).round()[0, 0]
    expected = [bool(eighth[r, c + 1] > eighth[r, c]) for r in range(8) for c in range(8)]
    assert difference_hash(picture)[0].tolist() == expected


def test_rows_and_columns_are_not_swapped():
    ramp = torch.linspace(0, 1, 72).expand(64, 72)[None, None]
    both = torch.cat([ramp.flip(3), ramp])
    assert difference_hash(both).sum(1).tolist() == [0, 64]
    assert difference_hash(ramp.mT).sum() == 0  # from top to bottom there is no bit: all ties


def test_a_constant_shift_leaves_the_hash_unchanged():
    picture = 0.2 + 0.5 * torch.rand(3, 1, 40, 52, generator=generator(1))
    assert torch.equal(difference_hash(picture), difference_hash(picture + 51 / 255))


def test_a_fine_pattern_is_averaged_and_not_sampled():
    """Resized without antialiasing, every ninth column of the stripes would decide."""
    stripes = ((torch.arange(90) // 2) % 2).float().expand(80, 90)
    ramp = torch.linspace(0, 1, 90).expand(80, 90)
    assert difference_hash((0.4 * stripes + 0.6 * ramp)[None, None]).all()


def test_even_pictures_hash_alike():
    assert not difference_hash(torch.stack([torch.zeros(1, 20, 20), torch.ones(1, 20, 20)])).any()


def test_hamming_counts():
    a = torch.tensor([True, False, True])
    b = torch.tensor([[True, False, True], [False, True, False]])
    assert hamming(a, b).tolist() == [0, 3]


@pytest.mark.parametrize("x", [torch.zeros(2, 3, 9, 9), torch.full((1, 1, 9, 9), 2.0)])
def test_what_is_no_gray_picture_is_refused(x):
    with pytest.raises(InputError, match="difference_hash: expected"):
        difference_hash(x)
