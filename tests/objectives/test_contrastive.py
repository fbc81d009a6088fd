from __future__ import annotations

import math

import pytest
import torch

from counterpoint.core.types import Pairs
from counterpoint.objectives.contrastive import cosine_logits, info_nce, l1_logits, mse_logits
from counterpoint.pairs.ids import same_sample

SLOW_CRITICS = {
    mse_logits: lambda x, y: -sum((p - q) ** 2 for p, q in zip(x, y, strict=True)) / len(x),
    l1_logits: lambda x, y: -sum(abs(p - q) for p, q in zip(x, y, strict=True)) / len(x),
    cosine_logits: lambda x, y: (
        sum(p * q for p, q in zip(x, y, strict=True)) / (math.hypot(*x) * math.hypot(*y))
    ),
}
CRITICS = pytest.mark.parametrize("critic", SLOW_CRITICS)


def rows(n: int, d: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def slow_info_nce(logits: torch.Tensor, pairs: Pairs) -> float:
    table = logits.tolist()
    losses = []
    for i, row in enumerate(table):
        positives = [j for j in range(len(row)) if pairs.positive[i, j]]
        counted = [j for j in range(len(row)) if pairs.positive[i, j] or pairs.negative[i, j]]
        if positives:
            bottom = sum(math.exp(row[j]) for j in counted)
            losses.append(-sum(math.log(math.exp(row[j]) / bottom) for j in positives) / len(positives))
    return sum(losses) / max(len(losses), 1)


@pytest.mark.parametrize("ids", [[0, 1, 2, 0, 1, 2], [0, 0, 0, 1, 1, 2], [0, 1, 2, 3, 3, 4]])
def test_info_nce_is_the_slow_double_loop(ids):
    pairs = same_sample(torch.tensor(ids))
    logits = rows(6, 6)
    assert info_nce(logits, pairs).item() == pytest.approx(slow_info_nce(logits, pairs), rel=1e-12)


def test_info_nce_by_hand():
    # anchor 0: positive ln 3 among {ln 3, 0}, −ln(3/4); anchor 1: positives 0 and ln 2, negative 0
    logits = torch.tensor([[math.log(3), 0.0, 9.0], [0.0, math.log(2), 0.0]])
    positive = torch.tensor([[True, False, False], [True, True, False]])
    negative = torch.tensor([[False, True, False], [False, False, True]])  # the 9.0 is in neither
    expected = (-math.log(3 / 4) + (-math.log(1 / 4) - math.log(2 / 4)) / 2) / 2
    assert info_nce(logits, Pairs(positive, negative)).item() == pytest.approx(expected, rel=1e-6)


def test_identical_samples_lose_the_log_of_how_many_there_are():
    maps = torch.ones(8, 5)
    for critic in SLOW_CRITICS:
        loss = info_nce(critic(maps, maps, 0.1), same_sample(torch.arange(4).repeat(2)))
        assert loss.item() == pytest.approx(math.log(7), rel=1e-6)


def test_one_sample_has_no_negative_and_loses_nothing():
    maps = rows(2, 5).requires_grad_()
    loss = info_nce(mse_logits(maps, maps, 0.1), same_sample(torch.tensor([4, 4])))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(maps.grad, torch.zeros(2, 5, dtype=torch.float64))


def test_anchors_without_a_positive_do_not_count():
    logits = rows(3, 3).requires_grad_()
    loss = info_nce(logits, same_sample(torch.tensor([0, 1, 2])))
    loss.backward()
    assert loss.item() == 0 and torch.equal(logits.grad, torch.zeros_like(logits))


def test_info_nce_does_not_depend_on_the_order_of_samples():
    maps, ids = rows(8, 6), torch.tensor([0, 1, 2, 3] * 2)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    one = info_nce(mse_logits(maps, maps, 0.5), same_sample(ids))
    other = info_nce(mse_logits(maps[order], maps[order], 0.5), same_sample(ids[order]))
    assert one.item() == pytest.approx(other.item(), rel=1e-12)


def test_huge_logits_stay_finite():
    logits = torch.tensor([[0.0, 1e30, -1e30], [1e30, 0.0, 1e30], [-1e30, 1e30, 0.0]], requires_grad=True)
    loss = info_nce(logits, same_sample(torch.tensor([0, 0, 0])))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_single(dtype):
    maps = (rows(8, 4096) * 0.01 + 3).to(dtype).requires_grad_()  # small differences on a large offset
    ids = torch.arange(4).repeat(2)
    for critic in SLOW_CRITICS:
        loss = info_nce(critic(maps, maps, 1e-4), same_sample(ids))
        exact = info_nce(critic(maps.double(), maps.double(), 1e-4), same_sample(ids))
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(exact.item(), rel=2e-2)
        (grad,) = torch.autograd.grad(loss, maps)
        assert grad.dtype == dtype and torch.isfinite(grad).all()


def test_autocast_does_not_reach_the_critics():
    maps = rows(8, 256, dtype=torch.float32) + 5
    for critic in SLOW_CRITICS:
        plain = critic(maps, maps, 0.1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(critic(maps, maps, 0.1), plain)


@CRITICS
def test_critics_are_the_slow_double_loop(critic):
    a, b = rows(3, 7, 1), rows(4, 7, 2)
    slow = [[SLOW_CRITICS[critic](x, y) / 0.3 for y in b.tolist()] for x in a.tolist()]
    torch.testing.assert_close(critic(a, b, 0.3), torch.tensor(slow, dtype=torch.float64))


def test_critics_by_hand():
    a, b = torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[2.0, 0.0]])
    torch.testing.assert_close(mse_logits(a, b, 0.5), torch.tensor([[-4.0], [-17.0]]))
    torch.testing.assert_close(l1_logits(a, b, 0.5), torch.tensor([[-2.0], [-5.0]]))
    torch.testing.assert_close(cosine_logits(a, b, 0.5), torch.tensor([[0.0], [1.2]]))


def test_mse_survives_a_large_common_offset():
    a = rows(4, 4096, dtype=torch.float32) * 0.01
    exact = mse_logits(a.double(), a.double(), 1e-4)
    far = mse_logits(
        a + 100, a + 100, 1e-4
    ).double()  # rounding of a + 100 itself: 4e-6 of differences of 1e-2
    torch.testing.assert_close(far, exact, rtol=2e-3, atol=1e-4)
    assert (far <= 0).all()


@CRITICS
def test_gradients(critic):
    a, b = rows(3, 4, 3).requires_grad_(), rows(5, 4, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: critic(x, y, 0.7), (a, b))
    pairs = same_sample(torch.tensor([0, 1, 0]))
    assert torch.autograd.gradcheck(lambda x: info_nce(critic(x, x, 0.7), pairs), (a,))


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"\(N, D\)"):
        mse_logits(torch.ones(2, 3), torch.ones(2, 4), 1)
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        info_nce(torch.ones(2, 3), same_sample(torch.tensor([0, 0])))
