from __future__ import annotations

import math

import pytest
import torch

from counterpoint.objectives.regression import cosine_regression, negative_cosine


def rows(seed: int) -> torch.Tensor:
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_byol_and_simsiam_are_their_formulas():
    p, z = rows(1), rows(2)
    cosines = [
        sum(a * b for a, b in zip(x, y, strict=True)) / (math.hypot(*x) * math.hypot(*y))
        for x, y in zip(p.tolist(), z.tolist(), strict=True)
    ]
    assert negative_cosine(p, z).item() == pytest.approx(-sum(cosines) / 4, rel=1e-12)
    assert cosine_regression(p, z).item() == pytest.approx(sum(2 - 2 * c for c in cosines) / 4, rel=1e-12)
    units = [[[v / math.hypot(*x) for v in x] for x in rows_.tolist()] for rows_ in (p, z)]
    squared = (
        sum(sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) for x, y in zip(*units, strict=True)) / 4
    )
    assert cosine_regression(p, z).item() == pytest.approx(squared, rel=1e-12)


def test_by_hand():
    p, z = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[5.0, 0.0], [0.0, -3.0]])
    assert negative_cosine(p, z).item() == 0
    assert cosine_regression(p[:1], z[:1]).item() == 0 and cosine_regression(p[1:], z[1:]).item() == 4


def test_maps_are_rows_too():
    p, z = rows(1), rows(2)
    assert cosine_regression(p.view(2, 2, 3), z.view(2, 2, 3)).item() == pytest.approx(
        cosine_regression(p, z).item(), rel=1e-12
    )


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"\(2, 3\), found \(1, 3\)"):
        negative_cosine(torch.ones(2, 3), torch.ones(1, 3))
