"""How sure a mean over a few repetitions is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from counterpoint.core.errors import InputError
from counterpoint.core.rng import fold


def bootstrap_mean(
    values: Sequence[float] | np.ndarray, seed: int = 0, level: float = 0.95, draws: int = 20_000
) -> tuple[float, float]:
    """Expanded percentile bootstrap interval (low, high) of the mean of N ≥ 2 numbers.

    The plain percentile interval is too narrow for a handful of numbers: of 5 normal ones it holds the true
    mean in 85 % of the cases. The expanded one takes more extreme quantiles and does so in 92 % (of 10: 89
    and 94 %); it never leaves the range of the numbers. Source: Efron 1979; Hesterberg 2015, "What teachers
    should know about the bootstrap".

    Raises:
        InputError: fewer than two numbers, or one that is not finite.
    """
    from scipy.stats import norm, t

    numbers = np.asarray(values, float).ravel()
    count = len(numbers)
    if count < 2 or not np.isfinite(numbers).all():
        raise InputError(f"bootstrap: expected at least two finite numbers, found {numbers.tolist()}")
    rng = np.random.default_rng(fold(seed, "bootstrap mean"))
    means = numbers[rng.integers(count, size=(draws, count))].mean(1)
    tail = norm.cdf((count / (count - 1)) ** 0.5 * t.ppf((1 - level) / 2, count - 1))
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
