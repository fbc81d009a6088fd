from __future__ import annotations

import math

import pytest
import torch

from counterpoint.pairs.neighbors import nearest, neighbors


def rows(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))


def cosine(x: list[float], y: list[float]) -> float:
    return sum(a * b for a, b in zip(x, y, strict=True)) / math.hypot(*x) / math.hypot(*y)


def test_nearest_is_the_slow_search_whatever_the_lengths():
    z, bank = rows(5, 1), rows(9, 2) * torch.rand(9, 1)
    for i, found in enumerate(nearest(z, bank, 3).tolist()):
        likeness = [cosine(z[i].tolist(), row) for row in bank.tolist()]
        assert found == sorted(range(9), key=lambda j, x=likeness: -x[j])[:3]


def test_own_rows_are_not_found():
    z, ids, bank_ids = rows(4, 1), torch.arange(4), torch.tensor([0, 1, 2, 3, 0, 1])
    bank = torch.cat([z, rows(2, 2)])  # every embedding lies in the bank already
    own = ids[:, None] == bank_ids[None, :]
    assert nearest(z, bank)[:, 0].tolist() == [0, 1, 2, 3]
    found = nearest(z, bank, 2, own)
    assert not own.gather(1, found).any()
    pairs = neighbors(z, bank, 2, own)
    assert torch.equal(pairs.positive.nonzero()[:, 1].view(4, 2), found.sort(1).values)
    assert not (pairs.positive & pairs.negative).any()
    assert torch.equal(pairs.positive | pairs.negative, ~own)


def test_without_own_rows_all_others_are_negatives():
    pairs = neighbors(rows(4, 1), rows(6, 2), 2)
    assert torch.equal(pairs.negative, ~pairs.positive) and pairs.positive.sum(1).tolist() == [2] * 4


@pytest.mark.parametrize("k", [0, 4])
def test_more_neighbors_than_rows_are_refused(k):
    with pytest.raises(ValueError, match="k: expected 1 to 3"):
        nearest(rows(2, 1), rows(3, 2), k)
