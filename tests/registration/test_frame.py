"""Frame: what surrounds a picture is told from the picture."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from counterpoint.registration.frame import unframed


def picture(shape=(80, 100), seed=0):
    a = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    return (0.2 + 0.6 * (a - a.min()) / np.ptp(a)).astype(np.float32)


def disk(shape=(80, 100), radius=36.0):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(y - 39.5, x - 49.5) < radius


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_surround_is_found_and_the_picture_kept(value):
    found = unframed(np.where(disk(), picture(), value))
    assert not found[~disk(radius=35.5)].any()  # all of the frame, and its rim, which is no content either
    assert found[disk(radius=31)].all()


def test_a_textured_border_is_part_of_the_picture():
    assert unframed(picture()).all() and unframed(picture(), loose=True).all()


def test_a_flat_region_inside_is_part_of_the_picture():
    a = picture()
    a[30:50, 30:60] = 0
    assert unframed(a).all()


def test_a_noisy_background_is_a_frame_only_when_looked_for_loosely():
    noise = np.random.default_rng(1).random((80, 100)) * 0.02
    a = np.where(disk(), picture(), noise).astype(np.float32)
    assert unframed(a).all()
    found = unframed(a, loose=True)
    assert found[disk(radius=30)].all() and found[~disk(radius=37)].mean() < 0.02


def test_a_middling_background_is_no_frame_however_flat():
    noise = 0.5 + np.random.default_rng(1).random((80, 100)) * 0.02
    assert unframed(np.where(disk(), picture(), noise).astype(np.float32), loose=True).all()


def test_where_all_would_be_frame_nothing_is():
    a = np.zeros((80, 100), np.float32)
    assert unframed(a).all()
    a[38:42, 40:60] = 1
    assert unframed(a).all()
    thin = picture()
    thin[0, :10] = 0  # a few dead pixels
    assert unframed(thin).all()


def test_gain_and_offset_change_nothing():
    a = np.where(disk(), picture(), 0)
    for loose in (False, True):
        assert np.array_equal(unframed(a, loose), unframed(4096 * a + 100, loose))
