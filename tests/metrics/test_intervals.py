from __future__ import annotations

import numpy as np
import pytest

from counterpoint.core.errors import InputError
from counterpoint.metrics.intervals import bootstrap_mean


def test_it_holds_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    samples = rng.normal(size=(400, 8))
    hits = sum(low <= 0 <= high for low, high in (bootstrap_mean(s, draws=2000) for s in samples))
    assert 0.91 <= hits / 400 <= 0.97  # the plain percentile interval: 0.88


def test_large_samples_give_students_interval():
    from scipy.stats import t

    x = np.random.default_rng(0).normal(3, 2, size=200)
    half = t.ppf(0.975, 199) * x.std(ddof=1) / 200**0.5
    assert bootstrap_mean(x) == pytest.approx((x.mean() - half, x.mean() + half), abs=0.03)


def test_it_is_repeatable_moves_with_the_numbers_and_stays_among_them():
    x = [0.1, 0.5, 0.2, 0.9, 0.3]
    low, high = bootstrap_mean(x)
    assert bootstrap_mean(x) == (low, high)
    assert bootstrap_mean([v + 2 for v in x]) == pytest.approx((low + 2, high + 2))
    assert 0.1 <= low < np.mean(x) < high <= 0.9
    assert bootstrap_mean([2.0, 2.0, 2.0]) == (2, 2)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, float("nan")], [1.0, float("inf")]])
def test_too_little_is_refused(values):
    with pytest.raises(InputError, match="at least two finite numbers"):
        bootstrap_mean(values)
