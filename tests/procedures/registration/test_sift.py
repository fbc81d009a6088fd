from __future__ import annotations

import numpy as np
import pytest

from counterpoint.core.errors import InputError, WorkError
from counterpoint.procedures.registration.sift import Sift


@pytest.mark.parametrize(("transform", "angle"), [("rigid", 130), ("similarity", 8), ("affine", -40)])
def test_it_finds_a_known_transform_at_any_rotation(known, transform, angle):
    fixed, moving, error = known(angle, 5, -3)
    found = Sift.Config().build()(fixed, moving, transform)
    assert found.shape == (3, 3) and found.dtype == np.float64
    assert error(np.linalg.inv(found)) > 10
    assert error(found) < 1


def test_two_runs_give_the_same_bits(known):
    fixed, moving, _ = known(8, 5, -3)
    once, again = (Sift.Config().build()(fixed, moving, "rigid") for _ in range(2))
    assert (once == again).all()


def test_what_does_not_match_fails_with_a_reason(known):
    fixed, _, _ = known(0, 0, 0)
    noise = np.random.default_rng(0).random((160, 160))
    with pytest.raises(WorkError, match=r"sift: \d+ .*expected at least 9"):
        Sift.Config(inliers=9).build()(fixed, noise, "rigid")
    with pytest.raises(WorkError, match=r"sift: .+"):
        Sift.Config().build()(fixed, np.zeros((160, 160)), "rigid")


def test_an_unknown_transform_is_refused(known):
    with pytest.raises(InputError, match="transform"):
        Sift.Config().build()(*known(0, 0, 0)[:2], "projective")  # pyright: ignore[reportArgumentType]
