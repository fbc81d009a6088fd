from __future__ import annotations

import math
import statistics

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.objectives.reconstruction import masked_mse, patches


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


MASK = torch.tensor([[True, False, True], [False, False, True]])


@pytest.mark.parametrize("standardize", [False, True])
def test_masked_mse_is_its_formula(standardize):
    prediction, target = rows(2, 3, 4), rows(2, 3, 4, seed=1) * 2 + 1
    errors = []
    for b in range(2):
        for n in range(3):
            if not MASK[b, n]:
                continue
            goal = target[b, n].tolist()
            if standardize:
                m, v = statistics.fmean(goal), statistics.variance(goal)
                goal = [(x - m) / math.sqrt(v + 1e-6) for x in goal]
            errors.append(
                statistics.fmean((p - g) ** 2 for p, g in zip(prediction[b, n].tolist(), goal, strict=True))
            )
    found = masked_mse(prediction, target, MASK, standardize=standardize)
    assert found.item() == pytest.approx(statistics.fmean(errors), rel=1e-12)


def test_visible_patches_have_no_gradient():
    prediction = rows(2, 3, 4).requires_grad_()
    masked_mse(prediction, rows(2, 3, 4, seed=1), MASK).backward()
    assert not prediction.grad[~MASK].any() and prediction.grad[MASK].all()


def test_flat_patches_single_values_and_empty_masks_are_finite():
    prediction = rows(2, 3, 4).requires_grad_()
    assert masked_mse(prediction, torch.ones(2, 3, 4), MASK).isfinite()
    assert masked_mse(rows(2, 3, 1), rows(2, 3, 1), MASK).isfinite()
    loss = masked_mse(prediction, rows(2, 3, 4), torch.zeros(2, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0 and not prediction.grad.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_single(dtype):
    prediction, target = (rows(2, 3, 4, seed=s).to(dtype) * 300 for s in (0, 1))
    found = masked_mse(prediction, target, MASK, standardize=False)
    exact = masked_mse(prediction.double(), target.double(), MASK, standardize=False)
    assert found.dtype == torch.float32 and found.item() == pytest.approx(exact.item(), rel=1e-5)


def test_patches_are_cut_row_by_row():
    images = torch.arange(2 * 2 * 4 * 6).view(2, 2, 4, 6).float()
    cut = patches(images, 2)
    assert cut.shape == (2, 6, 8)
    for b in range(2):
        for n in range(6):
            y, x = 2 * (n // 3), 2 * (n % 3)
            assert torch.equal(cut[b, n], images[b, :, y : y + 2, x : x + 2].flatten())


def test_bad_arguments_are_refused():
    with pytest.raises(InputError, match="divisor of the image's 4 × 6, found 4"):
        patches(torch.ones(1, 1, 4, 6), 4)
    with pytest.raises(ValueError, match=r"\(B, N, P\) twice and \(B, N\)"):
        masked_mse(torch.ones(2, 3, 4), torch.ones(2, 3, 4), torch.ones(3, 2).bool())
