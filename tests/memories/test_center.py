from __future__ import annotations

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.memories.center import Center


def test_it_is_dinos_running_mean_from_0():
    center, expected = Center(2, 0.75), torch.zeros(2, dtype=torch.float64)
    rng = torch.Generator().manual_seed(0)
    for count in (1, 3, 8):
        rows = torch.randn(count, 2, generator=rng)
        center.follow(rows)
        expected = 0.75 * expected + 0.25 * rows.double().mean(0)
        torch.testing.assert_close(center.read(), expected.float())


def test_the_mean_of_many_rows_in_half_precision_is_exact():
    center = Center(1, 0.0)
    center.follow(torch.full((4096, 1), 1.0078125, dtype=torch.bfloat16))
    assert center.read().item() == 1.0078125


def test_nonsense_is_refused():
    for wrong in ((0, 0.9), (2, 1.0), (2, -0.1)):
        with pytest.raises(InputError, match="center: expected"):
            Center(*wrong)
    for rows in (torch.rand(3, 1), torch.rand(2), torch.empty(0, 2)):
        with pytest.raises(ValueError, match="rows: expected"):
            Center(2).follow(rows)
