from __future__ import annotations

import numpy as np
import pytest

from counterpoint.core.errors import InputError
from counterpoint.metrics.registration import bootstrap_median, corner_error, landmark_error, wilson


def shift(x: float, y: float) -> np.ndarray:
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


def test_a_shift_is_off_by_its_length_at_every_kind_of_corner():
    for corners in ("centers", "edges", "protocol"):
        assert corner_error(shift(3, 4), np.eye(3), 20, 10, corners) == pytest.approx(5)


def test_doubling_is_off_by_the_distance_of_each_corner_from_the_origin():
    double = np.diag([2.0, 2.0, 1.0])
    # Corners of a 4 × 5 image: (0,0), (3,0), (3,4), (0,4) by centers, (0,0), (4,0), (4,5), (0,5) by edges.
    assert corner_error(double, np.eye(3), 4, 5) == pytest.approx((0 + 3 + 5 + 4) / 4)
    assert corner_error(double, np.eye(3), 4, 5, "edges") == pytest.approx((0 + 4 + 41**0.5 + 5) / 4)


def test_protocol_corners_are_those_of_the_moving_image():
    # ε = ¼ Σ ‖Φ(X_i) − P_i‖ with X_i = T⁻¹(P_i), written out for T = a shift by (10, 0), Φ = a doubling.
    edges = np.array([(0, 0), (4, 0), (4, 5), (0, 5)], float)
    expected = np.mean([np.hypot(*(2 * (p - [10, 0]) - p)) for p in edges])
    assert corner_error(np.diag([2.0, 2, 1]), shift(10, 0), 4, 5, "protocol") == pytest.approx(expected)


def test_a_homography_is_divided_by_its_third_coordinate():
    assert corner_error(3 * shift(3, 4), np.eye(3), 20, 10) == pytest.approx(5)


def test_landmarks_give_mean_median_and_maximum():
    fixed = np.array([(0, 0), (1, 1), (2, 2)], float)
    moving = np.add(fixed, [(1, 0), (1, 2), (1, 10)])
    assert landmark_error(shift(1, 0), fixed, moving) == pytest.approx((4, 2, 10))


def test_wilson_is_the_formula_of_its_paper():
    z, n, k = 1.959963984540054, 20, 18
    center, half = (k / n + z**2 / 2 / n), z * np.sqrt(k / n * (1 - k / n) / n + z**2 / 4 / n**2)
    assert wilson(k, n) == pytest.approx(((center - half) / (1 + z**2 / n), (center + half) / (1 + z**2 / n)))
    assert wilson(0, 0) == (0, 1)
    assert wilson(5, 5)[1] == 1 and wilson(5, 5)[0] < 1


def test_bootstrap_holds_the_median_follows_its_seed_and_stands_missing_results():
    errors = np.random.default_rng(0).exponential(size=200)
    low, high = bootstrap_median(errors, seed=3)
    assert low < np.median(errors) < high and high - low < 0.5
    assert bootstrap_median(errors, seed=3) == (low, high) != bootstrap_median(errors, seed=4)
    # The median of an exponential sample of 200 has standard error 1/√200 = 0.07.
    assert high - low == pytest.approx(2 * 1.96 / 200**0.5, rel=0.4)
    low, high = bootstrap_median([1, 2, np.inf, np.inf], seed=0)
    assert low <= 2 and high == np.inf


@pytest.mark.parametrize(
    "call",
    [
        lambda: corner_error(np.eye(2), np.eye(3), 4, 4),
        lambda: corner_error(np.full((3, 3), np.nan), np.eye(3), 4, 4),
        lambda: corner_error(np.eye(3), np.eye(3), 4, 4, "corners"),  # pyright: ignore[reportArgumentType]
        lambda: landmark_error(np.eye(3), np.zeros((3, 2)), np.zeros((2, 2))),
        lambda: landmark_error(np.eye(3), np.zeros((0, 2)), np.zeros((0, 2))),
        lambda: landmark_error(np.eye(3), np.full((1, 2), np.nan), np.zeros((1, 2))),
        lambda: wilson(3, 2),
        lambda: bootstrap_median([], 0),
        lambda: bootstrap_median([np.nan], 0),
    ],
)
def test_what_makes_no_sense_is_refused(call):
    with pytest.raises(InputError, match="expected"):
        call()
