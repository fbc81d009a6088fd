from __future__ import annotations

import numpy as np
import pytest

from counterpoint.data import intensity
from counterpoint.data.intensity import gray, unit, valid


def test_percentiles_become_0_and_1():
    array = np.arange(201.0).reshape(3, 67)  # percentiles 0.5 and 99.5 of 0…200 are 1 and 199
    out = unit(array)
    assert out.shape == (3, 67, 1) and out.dtype == np.float32
    expected = np.clip((array - 1) / 198, 0, 1)
    assert np.allclose(out[..., 0], expected, atol=1e-6)


def test_color_is_stretched_together_and_other_channels_apart():
    base = np.arange(300).reshape(10, 30)
    color = np.stack([base, base * 2, base * 100], axis=-1)
    together = unit(color.astype(np.uint16))
    low, high = np.percentile(color, (0.5, 99.5))
    assert np.allclose(together, np.clip((color - low) / (high - low), 0, 1), atol=1e-6)
    for apart in (unit(color.astype(np.float32)), unit(color[..., :2].astype(np.uint16))):
        assert np.allclose(apart[..., 0], apart[..., 1], atol=1e-6) and apart.max() == 1


def test_rare_signal_falls_back_to_the_whole_range():
    array = np.zeros((100, 100), np.uint8)
    array[3, 4] = 50
    out = unit(array)[..., 0]
    assert out[3, 4] == 1 and out.sum() == 1


@pytest.mark.parametrize("array", [np.full((4, 5), 7), np.full((4, 5, 2), np.nan), np.zeros((4, 5), bool)])
def test_constant_is_zero(array):
    assert not unit(array).any()


def test_what_is_not_finite_or_masked_does_not_count():
    array = np.arange(201.0).reshape(3, 67)
    wide = np.vstack([array, np.full((1, 67), 1e9)])
    mask = np.ones(wide.shape, bool)
    mask[3] = False
    out = unit(wide, mask)
    assert np.allclose(out[:3], unit(array)) and (out[3] == 1).all()
    wide[3] = np.inf
    wide[3, 0] = np.nan
    out = unit(wide)
    assert np.allclose(out[:3], unit(array)) and (out[3] == 0).all()


def test_large_offsets_and_extremes_keep_their_detail():
    array = 2**31 + np.arange(201, dtype=np.uint32).reshape(3, 67)
    assert np.allclose(unit(array), unit(array - 2**31), atol=1e-6)
    extreme = np.array([[-3e38, 0, 3e38]], np.float32)
    assert np.allclose(unit(extreme)[0, :, 0], (0, 0.5, 1), atol=0.01)
    assert np.allclose(unit(np.array([[False, True]]))[0, :, 0], (0, 1))


def test_a_sample_is_enough_unless_the_mask_is_missed_by_it(monkeypatch):
    monkeypatch.setattr(intensity, "SAMPLED", 100)
    array = np.random.default_rng(0).normal(size=(200, 200))
    low, high = np.percentile(array[::20, ::20], (0.5, 99.5))
    assert np.allclose(unit(array)[..., 0], np.clip((array - low) / (high - low), 0, 1), atol=1e-6)
    mask = np.zeros((200, 200), bool)
    mask[1, 1:3] = True
    array[1, 1:3] = 4, 8
    array[1, 3] = 6
    assert unit(array, mask)[1, 1:4, 0] == pytest.approx((0, 1, 0.5))


def test_valid_needs_all_channels():
    array = np.zeros((2, 2, 3), np.float32)
    array[0, 1, 2], array[1, 0, 0] = np.nan, -np.inf
    assert valid(array).tolist() == [[True, False], [False, True]]
    assert valid(array[..., 0]).tolist() == [[True, True], [False, True]]
    assert valid(np.zeros((2, 2), np.uint8)).all()


def test_gray():
    color = np.array([[[10, 20, 30]]], np.uint8)
    assert gray(color) == pytest.approx(0.299 * 10 + 0.587 * 20 + 0.114 * 30)
    assert gray(color[..., :2]) == pytest.approx(15)
    assert gray(color[..., 0]) == 10
    assert gray(np.ones((2, 2, 3), bool)) == pytest.approx(1)
    for array in (color, color[..., :2], color[..., 0]):
        assert gray(array).dtype == np.float32 and gray(array).shape == (1, 1)
