from __future__ import annotations

import math

import pytest
import torch

from counterpoint.pairs.hard import far_positives, harder, hardest, hardest_positive, ranked, semi_hard

NEGATIVE = torch.tensor([[0, 1, 1, 1], [1, 0, 1, 1], [0, 0, 1, 0], [0, 0, 0, 0]]).bool()


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_harder_is_its_formula(logits):
    found = harder(logits, NEGATIVE, 1.5)
    for i in range(4):
        there = [j for j in range(4) if NEGATIVE[i, j]]
        total = sum(math.exp(1.5 * logits[i, j].item()) for j in there)
        for j in range(4):
            weight = len(there) * math.exp(1.5 * logits[i, j].item()) / total if j in there else 0
            assert found[i, j].item() == pytest.approx(weight, rel=1e-12)
    assert torch.equal(harder(logits, NEGATIVE, 0), NEGATIVE.double())


def test_weights_have_no_gradient(logits):
    free = logits.requires_grad_()
    assert not harder(free, NEGATIVE, 1.0).requires_grad
    assert not far_positives(free.diagonal()).requires_grad


@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_hardest_are_the_largest_of_the_negatives(logits, count):
    found = hardest(logits, NEGATIVE, count)
    for i in range(4):
        there = sorted((j for j in range(4) if NEGATIVE[i, j]), key=lambda j, i=i: -logits[i, j].item())
        assert found[i].nonzero()[:, 0].tolist() == sorted(there[:count])


@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_ranked_names_the_hardest_first_and_only_negatives(logits, count):
    some = NEGATIVE.clone()
    some[2:] = torch.tensor([[1, 0, 1, 0], [0, 1, 1, 0]]).bool()
    found = ranked(logits, some, count)
    assert found.shape == (4, min(count, 2))  # rows 2 and 3 have but two
    for i in range(4):
        there = sorted((j for j in range(4) if some[i, j]), key=lambda j, i=i: -logits[i, j].item())
        assert found[i].tolist() == there[: found.shape[1]]
    assert ranked(logits, NEGATIVE, 3).shape == (4, 0)  # one row has none at all


def test_hardest_positive_is_the_least_alike(logits):
    positive = torch.tensor([[0, 1, 1, 0], [1, 0, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0]]).bool()
    found = hardest_positive(logits, positive)
    for i in range(4):
        there = [j for j in range(4) if positive[i, j]]
        least = [min(there, key=lambda j, i=i: logits[i, j].item())] if there else []
        assert found[i].nonzero()[:, 0].tolist() == least


def test_semi_hard_draws_from_the_pool_and_from_all_of_it():
    logits = torch.randn(3, 20, generator=torch.Generator().manual_seed(0))
    negative = torch.ones(3, 20, dtype=torch.bool)
    negative[:, 0] = False
    pool, rng = hardest(logits, negative, 6), torch.Generator().manual_seed(1)
    draws = torch.stack([semi_hard(logits, negative, 6, 2, rng) for _ in range(60)])
    assert (draws.sum(-1) == 2).all() and torch.equal(draws.any(0), pool)
    again = semi_hard(logits, negative, 6, 2, torch.Generator().manual_seed(1))
    assert torch.equal(again, draws[0])


def test_far_positives_by_hand_and_with_a_mean_of_one():
    cosines = torch.tensor([0.9, 0.1, -0.4, 0.5], dtype=torch.float64)
    bottom = sum(math.exp(c / 0.5) for c in cosines.tolist()) / 4
    found = far_positives(cosines)
    assert found.tolist() == pytest.approx(
        [2 - math.exp(c / 0.5) / bottom for c in cosines.tolist()], rel=1e-12
    )
    assert found.mean().item() == pytest.approx(1, rel=1e-12) and found.argmax() == cosines.argmin()
    assert far_positives(torch.tensor([0.3])).tolist() == [1] and far_positives(cosines, 1e6).tolist() == (
        pytest.approx([1] * 4, abs=1e-5)
    )
    assert far_positives(torch.tensor([1.0, -1.0], dtype=torch.float16), 1e-3).tolist() == [0, 2]
