from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from counterpoint.core.rng import generator
from counterpoint.core.types import Pairs
from counterpoint.objectives.unified import crosswise, hard_margins, margin_injected, unified

SCORES = torch.rand(3, 6, generator=generator(0), dtype=torch.float64)
PAIRS = Pairs(
    torch.tensor([[1, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0]]).bool(),
    torch.tensor([[0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 0, 0], [0, 0, 0, 1, 0, 0]]).bool(),
)


def slow(scores: Tensor, gamma: float, m: float, moved: bool, adaptive: bool) -> float:
    """Every positive with every negative."""
    total = 0.0
    for row, near, far in zip(scores.tolist(), PAIRS.positive, PAIRS.negative, strict=True):
        inside = 1.0
        for p in near.nonzero()[:, 0].tolist():
            for n in far.nonzero()[:, 0].tolist():
                a, b = row[p] - (1 - m) * moved, row[n] - m * moved
                if adaptive:
                    a, b = a * max(1 + m - row[p], 0), b * max(row[n] + m, 0)
                inside += math.exp(gamma * (b - a))
        total += math.log(inside)
    return 16 / gamma * total / len(scores)


@pytest.mark.parametrize("gamma", [1.0, 16.0])
@pytest.mark.parametrize(("margin", "adaptive"), [(None, False), (0.25, False), (0.1, True), (None, True)])
def test_it_is_the_log_of_the_sum_over_all_pairs(gamma, margin, adaptive):
    """Released: adaptive weights are set to 1, which here would be seen."""
    found = unified(SCORES, PAIRS, gamma, margin, adaptive).item()
    m = 0.25 if margin is None else margin
    moved = margin is not None or adaptive
    assert found == pytest.approx(slow(SCORES, gamma, m, moved, adaptive), rel=1e-8)
    if adaptive:
        assert found != pytest.approx(unified(SCORES, PAIRS, gamma, m).item(), rel=1e-3)


def test_by_hand():
    one = Pairs(torch.tensor([[True, False]]), torch.tensor([[False, True]]))
    assert unified(torch.tensor([[0.5, 0.5]]), one).item() == pytest.approx(math.log(2))
    assert unified(torch.tensor([[1.0, 0.0]]), one).item() == pytest.approx(math.exp(-16), rel=1e-3)
    assert unified(torch.tensor([[0.0, 1.0]]), one).item() == pytest.approx(16, rel=1e-6)
    assert unified(torch.tensor([[0.0, 1.0]]), one, 1e5).item() == pytest.approx(16, rel=1e-4)  # no overflow


def test_whoever_has_nobody_to_compare_with_has_no_loss():
    none = torch.zeros(2, 3, dtype=torch.bool)
    scores = torch.rand(2, 3, requires_grad=True)
    some = ~none
    for pairs in (Pairs(none, none), Pairs(some, none), Pairs(none, some)):
        loss = unified(scores, pairs)
        loss.backward()
        assert loss == 0 and scores.grad is not None and not scores.grad.any()


def test_gradients_are_right():
    scores = SCORES.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: unified(s, PAIRS, 4.0), scores)
    assert torch.autograd.gradgradcheck(lambda s: unified(s, PAIRS, 4.0), scores)
    assert torch.autograd.gradcheck(lambda s: unified(s, PAIRS, 4.0, 0.25), scores)


def test_anchors_meet_rows_of_all_other_parts():
    z, rows = (
        torch.nn.functional.normalize(torch.randn(*shape, 4, generator=generator(1)), dim=-1)
        for shape in ((3, 2), (3, 2, 5))
    )
    found = crosswise(z, rows)
    assert found.shape == (2, 3, 10)
    for i in range(2):
        for a in range(3):
            others = [v for v in range(3) if v != a]
            expected = [(1 + (z[a, i] @ rows[v, i, k]).item()) / 2 for v in others for k in range(5)]
            assert found[i, a].tolist() == pytest.approx(expected, abs=1e-6)


def test_bounds_are_the_least_positive_and_the_greatest_negative():
    scores = torch.tensor([[0.9, 0.4, 0.7, 0.2], [0.9, 0.8, 0.3, 0.2]], requires_grad=True)
    pairs = Pairs(torch.tensor([[1, 1, 0, 0]] * 2).bool(), torch.tensor([[0, 0, 1, 1]] * 2).bool())
    for size, near, far in (("large", [0.4, 0.3], [0.7, 0.8]), ("small", [0.7, 0.8], [0.4, 0.3])):
        found = hard_margins(scores, pairs, size)
        assert found[0].tolist() == pytest.approx(near) and found[1].tolist() == pytest.approx(far)
        assert not found[0].requires_grad
    mean = hard_margins(scores, pairs, "mean")
    assert mean[0].tolist() == mean[1].tolist() == pytest.approx([0.55, 0.55])


def test_made_features_are_asked_to_be_hard():
    """Positives down, negatives up; where they are so already nothing is asked."""
    pairs = Pairs(torch.tensor([[True, False]]), torch.tensor([[False, True]]))
    bounds = (torch.tensor([0.4]), torch.tensor([0.7]))
    easy = torch.tensor([[0.9, 0.1]], requires_grad=True)
    loss = margin_injected(easy, pairs, bounds, weight=0.1)
    assert loss.item() == pytest.approx(0.1 * 0.5 + 0.6)
    loss.backward()
    assert easy.grad is not None and easy.grad.tolist() == [[pytest.approx(0.1), -1.0]]
    assert margin_injected(torch.tensor([[0.3, 0.8]]), pairs, bounds) == 0
    none = Pairs(*(torch.zeros(1, 2, dtype=torch.bool) for _ in range(2)))
    assert margin_injected(easy, none, bounds) == 0
