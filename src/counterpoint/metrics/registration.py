"""How far a registration is off, and how sure a rate or a median is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from counterpoint.core.errors import InputError
from counterpoint.core.rng import fold

Corners = Literal["centers", "edges", "protocol"]


def corner_error(
    estimated: np.ndarray, true: np.ndarray, width: int, height: int, corners: Corners = "centers"
) -> float:
    """Mean distance, in pixels of the moving image, of where two transforms send the four image corners.

    Both matrices are (3, 3), fixed → moving. ``corners`` says which four points of the fixed image are meant:

    * "centers": the centers of the outermost pixels, (0, 0) … (width−1, height−1);
    * "edges": (0, 0) … (width, height), as the protocol writes corners;
    * "protocol": the points that ``true`` sends to those "edges" corners in the *moving* image, i.e. exactly
      ε of MultiRegEval (Lu et al. 2022, PLOS ONE, "Is image-to-image translation the panacea…"). For two
      rigid transforms it differs little from "edges".

    Raises:
        InputError: a matrix that is not (3, 3) or not finite, or an unknown kind of corners.
    """
    estimated, true = _matrix(estimated, "estimated"), _matrix(true, "true")
    if corners not in ("centers", "edges", "protocol"):
        raise InputError(f"corners: expected centers, edges or protocol, found {corners!r}")
    w, h = (width - 1, height - 1) if corners == "centers" else (width, height)
    frame = np.array([(0, 0), (w, 0), (w, h), (0, h)], float)
    at = _apply(np.linalg.inv(true), frame) if corners == "protocol" else frame
    return float(_distances(_apply(estimated, at), _apply(true, at)).mean())


def landmark_error(
    matrix: np.ndarray, fixed_points: np.ndarray, moving_points: np.ndarray
) -> tuple[float, float, float]:
    """(mean, median, maximum) distance, in moving pixels, of mapped fixed landmarks from their partners.

    ``matrix`` is (3, 3), fixed → moving; the points are (N, 2), (x, y), N ≥ 1.

    Raises:
        InputError: shapes that do not fit, no points, or values that are not finite.
    """
    fixed, moving = np.asarray(fixed_points, float), np.asarray(moving_points, float)
    if fixed.ndim != 2 or fixed.shape[1] != 2 or fixed.shape != moving.shape or len(fixed) == 0:
        raise InputError(
            "landmarks: expected two arrays of one shape (N, 2), N ≥ 1, "
            f"found {fixed.shape} and {moving.shape}"
        )
    if not (np.isfinite(fixed).all() and np.isfinite(moving).all()):
        raise InputError("landmarks: expected finite coordinates, found others")
    d = _distances(_apply(_matrix(matrix, "matrix"), fixed), moving)
    return float(d.mean()), float(np.median(d)), float(d.max())


def wilson(success: int, of: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval (low, high) of a success rate, within [0, 1]; (0, 1) when nothing was tried.

    Source: Wilson 1927, without continuity correction.

    Raises:
        InputError: counts or a level that make no sense.
    """
    from scipy.stats import binomtest

    if not 0 <= success <= of or not 0 < level < 1:
        raise InputError(
            f"wilson: expected 0 ≤ success ≤ of and 0 < level < 1, found {success}, {of} and {level}"
        )
    if of == 0:
        return 0.0, 1.0
    interval = binomtest(int(success), int(of)).proportion_ci(confidence_level=level, method="wilson")
    return float(interval.low), float(interval.high)


def bootstrap_median(
    errors: Sequence[float] | np.ndarray, seed: int, level: float = 0.95, draws: int = 2000
) -> tuple[float, float]:
    """Percentile bootstrap interval (low, high) of the median; a missing result counts as ``inf``.

    ``errors`` holds N ≥ 1 numbers; the same seed gives the same interval. Source: Efron 1979.

    Raises:
        InputError: no errors, or NaN among them.
    """
    values = np.asarray(errors, float).ravel()
    if len(values) == 0 or np.isnan(values).any():
        raise InputError(
            "errors: expected at least one number and no NaN (a missing result is inf), found others"
        )
    rng = np.random.default_rng(fold(seed, "bootstrap"))
    medians = np.median(values[rng.integers(len(values), size=(draws, len(values)))], axis=1)
    # Nearest-rank quantiles: linear ones would compute inf − inf when results are missing.
    low, high = np.quantile(medians, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return float(low), float(high)


def _matrix(matrix: np.ndarray, name: str) -> np.ndarray:
    m = np.asarray(matrix, float)
    if m.shape != (3, 3) or not np.isfinite(m).all():
        raise InputError(f"{name}: expected a finite (3, 3) matrix, found shape {m.shape}")
    return m


def _apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    mapped = points @ matrix[:, :2].T + matrix[:, 2]
    return mapped[:, :2] / mapped[:, 2:]


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(a - b, axis=1)
