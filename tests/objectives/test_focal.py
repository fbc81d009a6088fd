from __future__ import annotations

import math

import pytest
import torch

from counterpoint.core.types import Pairs
from counterpoint.objectives.contrastive import sup_con
from counterpoint.objectives.focal import focal
from counterpoint.pairs.labels import same_class

LABELS = torch.tensor([0, 1, 0, 2, 1, 0])


def logits() -> torch.Tensor:
    return 3 * torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("over", ["positives", "all"])
def test_it_is_the_slow_sum(over):
    table, total = logits().tolist(), []
    for i, row in enumerate(table):
        whole = sum(math.exp(s) for k, s in enumerate(row) if k != i)
        shares = [math.exp(row[k]) / whole for k in range(6) if k != i and LABELS[k] == LABELS[i]]
        if shares:
            by = len(shares) if over == "positives" else 6
            total.append(sum(-(1 - p) * math.log(p) for p in shares) / by)
    assert len(total) == 5  # who has no positive does not count
    found = focal(logits(), same_class(LABELS), over)
    assert found.item() == pytest.approx(sum(total) / 5, rel=1e-9)


def test_the_gradient_goes_through_the_weights_too():
    pairs = same_class(LABELS)
    assert torch.autograd.gradcheck(lambda x: focal(x, pairs), (logits().requires_grad_(),))


def test_with_many_candidates_all_alike_it_is_nearly_supcon():
    pairs = same_class(torch.arange(400) // 2)
    flat = torch.zeros(400, 400)
    assert focal(flat, pairs).item() == pytest.approx((1 - 1 / 399) * sup_con(flat, pairs).item(), rel=1e-5)


def test_extremes_are_finite():
    near = torch.tensor([[False, True, False], [True, False, False], [False, False, False]])
    pairs = Pairs(near, ~near & ~torch.eye(3, dtype=torch.bool))
    for scale in (1e4, -1e4):
        x = (scale * near.float()).requires_grad_()
        loss = focal(x, pairs)
        loss.backward()
        assert loss.isfinite() and x.grad is not None and x.grad.isfinite().all()
    assert focal(1e4 * near.float(), pairs) == 0
    nobody = Pairs(torch.zeros(3, 3, dtype=torch.bool), ~torch.eye(3, dtype=torch.bool))
    assert focal(torch.zeros(3, 3), nobody) == 0
