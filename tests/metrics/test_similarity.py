from __future__ import annotations

import numpy as np
import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.metrics.similarity import compared, correlation, mse, ssim


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def slow_ssim(a: np.ndarray, b: np.ndarray, span: float) -> float:
    """The definition, window by window, where the window lies inside."""
    t = np.arange(11) - 5
    w = np.exp(-(t[:, None] ** 2 + t[None] ** 2) / (2 * 1.5**2))
    w /= w.sum()
    c1, c2, values = (0.01 * span) ** 2, (0.03 * span) ** 2, []
    for i in range(a.shape[0] - 10):
        for j in range(a.shape[1] - 10):
            p, q = a[i : i + 11, j : j + 11], b[i : i + 11, j : j + 11]
            m, n = (w * p).sum(), (w * q).sum()
            vp, vq, c = (w * p * p).sum() - m * m, (w * q * q).sum() - n * n, (w * p * q).sum() - m * n
            values.append((2 * m * n + c1) * (2 * c + c2) / ((m * m + n * n + c1) * (vp + vq + c2)))
    return float(np.mean(values))


def test_by_hand():
    x = torch.tensor([0.0, 1, 2, 3]).view(1, 1, 2, 2)
    assert mse(x, x + 2).tolist() == [4.0]
    assert correlation(x, 5 - 2 * x).tolist() == pytest.approx([-1])
    assert mse(x.expand(3, 2, 2, 2), torch.zeros(3, 2, 2, 2)).tolist() == [3.5] * 3


def test_correlation_is_that_of_numpy_pair_by_pair():
    x, y = normal(3, 2, 5, 4), normal(3, 2, 5, 4, seed=1)
    y[1] += 2 * x[1]
    slow = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(x.numpy(), y.numpy(), strict=True)]
    assert correlation(x, y).tolist() == pytest.approx(slow, abs=1e-6)
    assert correlation(x, torch.full_like(x, 0.1)).tolist() == [0, 0, 0]


def test_ssim_is_the_definition():
    x, y = normal(2, 2, 14, 15), normal(2, 2, 14, 15, seed=1)
    y[1] = 0.8 * x[1] + 0.3
    slow = []
    for a, b in zip(x.double().numpy(), y.double().numpy(), strict=True):
        span = max(a.max(), b.max()) - min(a.min(), b.min())
        slow.append(np.mean([slow_ssim(p, q, span) for p, q in zip(a, b, strict=True)]))
    assert ssim(x, y).tolist() == pytest.approx(slow, abs=1e-9)
    assert ssim(x, y, data_range=20.0)[0] > ssim(x, y)[0]
    assert ssim(x, x).tolist() == pytest.approx([1, 1])
    assert ssim(torch.ones(1, 1, 11, 11), torch.ones(1, 1, 11, 11)).tolist() == [1]


def test_the_three_means():
    x, y = normal(4, 1, 12, 12), normal(4, 1, 12, 12, seed=1)
    assert compared(x, y) == {
        "mse": float(mse(x, y).mean()),
        "ssim": float(ssim(x, y).mean()),
        "correlation": float(correlation(x, y).mean()),
    }


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match="of one shape"):
        mse(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4, 5))
    with pytest.raises(InputError, match="at least 11 pixels"):
        ssim(torch.ones(1, 1, 4, 40), torch.ones(1, 1, 4, 40))
    with pytest.raises(InputError, match="finite"):
        correlation(torch.full((1, 1, 2, 2), float("nan")), torch.ones(1, 1, 2, 2))
