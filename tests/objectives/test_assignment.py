from __future__ import annotations

import math

import pytest
import torch

from counterpoint.objectives.assignment import centered, centered_cross_entropy, sinkhorn, swapped


def rows(n: int, k: int, seed: int) -> torch.Tensor:
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_sinkhorn(scores: torch.Tensor, eps: float, rounds: int) -> list[list[float]]:
    """As the authors write it: Q is (K, B), of sums, not of logarithms."""
    samples, prototypes = scores.shape
    q = [[math.exp(s / eps) for s in column] for column in scores.T.tolist()]
    total = sum(map(sum, q))
    q = [[v / total for v in row] for row in q]
    for _ in range(rounds):
        q = [[v / sum(row) / prototypes for v in row] for row in q]
        sums = [sum(row[b] for row in q) for b in range(samples)]
        q = [[v / sums[b] / samples for b, v in enumerate(row)] for row in q]
    return [[q[k][b] * samples for k in range(prototypes)] for b in range(samples)]


def slow_cross_entropy(scores, codes, tau):
    total = 0.0
    for row, code in zip(scores.tolist(), codes.tolist(), strict=True):
        bottom = sum(math.exp(s / tau) for s in row)
        total -= sum(q * math.log(math.exp(s / tau) / bottom) for s, q in zip(row, code, strict=True))
    return total / len(scores)


@pytest.mark.parametrize("rounds", [1, 3])
@pytest.mark.parametrize("shape", [(6, 3), (3, 5)])
def test_sinkhorn_is_the_loop_of_the_authors(rounds, shape):
    scores = rows(*shape, 1).clamp(-1, 1)
    found = sinkhorn(scores, 0.2, rounds)
    torch.testing.assert_close(found, torch.tensor(slow_sinkhorn(scores, 0.2, rounds), dtype=torch.float64))


def test_sinkhorn_balances_and_does_not_mind_a_constant():
    scores = rows(40, 5, 2)
    codes = sinkhorn(scores, 0.5, 50)
    torch.testing.assert_close(codes.sum(1), torch.ones(40, dtype=torch.float64))
    torch.testing.assert_close(codes.sum(0), torch.full((5,), 8.0, dtype=torch.float64), rtol=1e-3, atol=0)
    torch.testing.assert_close(sinkhorn(scores + 100, 0.5), sinkhorn(scores, 0.5))


def test_sinkhorn_of_a_permutation_is_the_permutation():
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(sinkhorn(torch.eye(4)[order], 1e-3), torch.eye(4)[order])


def test_sinkhorn_breaks_a_collapse_that_softmax_keeps():
    scores = torch.tensor([[5.0, 1.0, 0.0], [5.0, 0.0, 1.0], [5.0, 0.0, 0.0]])
    assert sinkhorn(scores, 0.05).argmax(1).unique().numel() == 3
    assert scores.softmax(1).argmax(1).unique().numel() == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sinkhorn_survives_half_precision_and_tiny_sharpness(dtype):
    scores = rows(8, 4, 3).to(dtype)
    codes = sinkhorn(scores, 1e-4)
    assert codes.dtype == torch.float32 and codes.isfinite().all()
    torch.testing.assert_close(codes.sum(1), torch.ones(8))


def test_codes_have_no_gradient():
    scores = rows(4, 3, 1).requires_grad_()
    assert not sinkhorn(scores).requires_grad and not centered(scores, scores.mean(0)).requires_grad
    other = rows(4, 3, 2).requires_grad_()
    swapped(other, scores.softmax(1)).backward()
    assert scores.grad is None and other.grad.abs().sum() > 0


def test_swapped_is_its_formula():
    scores, codes = rows(5, 4, 1), rows(5, 4, 2).softmax(1)
    assert swapped(scores, codes, 0.3).item() == pytest.approx(
        slow_cross_entropy(scores, codes, 0.3), rel=1e-12
    )


def test_dino_is_its_formula():
    student, teacher, center = rows(5, 4, 1), rows(5, 4, 2), rows(1, 4, 3)[0]
    codes = []
    for row in teacher.tolist():
        top = [math.exp((h - c) / 0.2) for h, c in zip(row, center.tolist(), strict=True)]
        codes.append([t / sum(top) for t in top])
    codes = torch.tensor(codes, dtype=torch.float64)
    torch.testing.assert_close(centered(teacher, center, 0.2), codes)
    found = centered_cross_entropy(student, teacher, center, 0.4, 0.2)
    assert found.item() == pytest.approx(slow_cross_entropy(student, codes, 0.4), rel=1e-12)


def test_bad_arguments_are_refused():
    for bad in ({"rounds": 0}, {"sharpness": 0.0}):
        with pytest.raises(ValueError, match="rounds, sharpness"):
            sinkhorn(torch.ones(2, 2), **bad)
    with pytest.raises(ValueError, match=r"\(2, 3\), found \(2, 2\)"):
        swapped(torch.ones(2, 3), torch.ones(2, 2))
