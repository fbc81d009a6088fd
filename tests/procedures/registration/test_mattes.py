from __future__ import annotations

import numpy as np
import pytest

from counterpoint.core.errors import InputError, WorkError
from counterpoint.core.procedure import ProcedureConfig
from counterpoint.procedures.registration.mattes import Mattes


@pytest.mark.parametrize("transform", ["rigid", "similarity", "affine"])
def test_it_finds_a_known_transform_of_an_inverted_image(known, transform):
    fixed, moving, error = known(8, 5, -3, inverted=True)
    # The long steps that carry a rigid search far throw an affine one out of this small image now and then.
    found = Mattes.Config(rate=1.0 if transform == "affine" else 4.0).build()(fixed, moving, transform)
    assert found.shape == (3, 3) and found.dtype == np.float64
    assert error(np.eye(3)) > 10 and error(np.linalg.inv(found)) > 10
    assert error(found) < 0.6


def test_a_far_rotation_needs_many_starts_and_the_best_metric_wins(known):
    fixed, moving, error = known(130, 4, 2)
    quick = {"shrink": (4, 2), "smoothing": (4.0, 2.0)}
    assert error(Mattes.Config(**quick).build()(fixed, moving)) > 20
    assert error(Mattes.Config(**quick, starts=6).build()(fixed, moving)) < 1
    # The map fixed → moving turns back by the angle drawn.
    assert error(Mattes.Config(**quick, angles=(90.0, -125.0)).build()(fixed, moving)) < 1
    assert error(Mattes.Config(**quick, angles=(90.0, 125.0)).build()(fixed, moving)) > 20


@pytest.mark.parametrize("transform", ["rigid", "similarity", "affine"])
def test_a_start_turns_about_the_center_and_brings_the_centers_of_two_sizes_together(known, transform):
    fixed, moving, _ = known(0, 0, 0)
    still = Mattes.Config(angles=(90.0,), rate=1e-9).build()
    found = still(fixed[:120], moving[:, :100], transform)
    center, right = np.array([79.5, 59.5, 1]), np.array([89.5, 59.5, 1])
    assert found @ center == pytest.approx([49.5, 79.5, 1], abs=1e-3)
    assert found @ right == pytest.approx([49.5, 89.5, 1], abs=1e-3)


def test_two_runs_give_the_same_bits(known):
    fixed, moving, _ = known(5, 2, 1)
    for settings in (Mattes.Config(), Mattes.Config(sampling=0.2)):
        once, again = (settings.build()(fixed, moving, "rigid") for _ in range(2))
        assert (once == again).all()


def test_an_image_without_contrast_fails_with_a_reason(known):
    fixed, _, _ = known(0, 0, 0)
    with pytest.raises(WorkError, match=r"mattes: ITK found no transform: .+"):
        Mattes.Config(starts=2).build()(fixed, np.zeros((160, 160)), "rigid")


def test_wrong_settings_are_refused(known):
    with pytest.raises(InputError, match="transform"):
        Mattes.Config().build()(*known(0, 0, 0)[:2], "projective")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="starts"):
        Mattes.Config(starts=0).build()
    with pytest.raises(InputError, match="shrink"):
        Mattes.Config(shrink=(2, 1)).build()


def test_it_is_found_by_its_name():
    settings = ProcedureConfig.from_dict({"kind": "mattes", "starts": 12})
    assert settings == Mattes.Config(starts=12) and settings.to_dict()["kind"] == "mattes"
