"""Prepare: images of any kind are checked, stretched, masked and averaged down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from counterpoint.core.errors import InputError
from counterpoint.core.grid import Grid
from counterpoint.data.image import Image
from counterpoint.registration import prepare as room
from counterpoint.registration.prepare import prepare

TURNED = ((0.6, -0.8), (0.8, 0.6))


def image(array, spacing=(1.0, 1.0), path=None):
    return Image(array, Grid((array.shape[1], array.shape[0]), spacing, (3, -4), TURNED), path=path)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).random(shape)


@pytest.fixture
def most(monkeypatch):
    """Images are averaged down to 40 pixels, so that small ones will do."""
    monkeypatch.setattr(room, "MOST", 40)


def test_a_small_image_keeps_its_pixels():
    a = 20 * noise(20, 30) - 7
    found = prepare(image(a), None, "fixed")
    assert found.factor == 1 and found.counts.all() and np.array_equal(found.matrix, found.image.grid.matrix)
    assert found.small.shape == (20, 30, 1) and found.small.dtype == np.float32
    low, high = np.percentile(a.astype(np.float32), (0.5, 99.5))
    assert np.allclose(found.small[..., 0], np.clip((a - low) / (high - low), 0, 1), atol=1e-5)
    for pyramid in (found.plain, found.strict, found.loose):
        assert np.array_equal(pyramid.base.maps[0], found.small[..., 0]) and pyramid.base.mask.all()


def test_what_is_not_finite_or_masked_does_not_count():
    a = np.stack((noise(20, 30), noise(20, 30, seed=1)), -1)
    a[3, 4, 1], a[5, 6, 0], a[7] = np.nan, np.inf, -1e9
    mask = np.ones((20, 30), int)
    mask[7] = 0
    found = prepare(image(a), mask, "fixed")
    expected = mask.astype(bool)
    expected[3, 4] = expected[5, 6] = False
    assert np.array_equal(found.counts, expected) and np.array_equal(found.plain.base.mask, expected)
    assert np.isfinite(found.small).all() and not found.plain.base.maps[:, ~expected].any()
    assert found.small[expected].std(0).min() > 0.25  # the wild row did not set the contrast


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64, bool])
def test_large_images_are_averaged_in_blocks_and_stay_in_place(most, dtype):
    a = (noise(75, 120) * 200).astype(dtype) if dtype is not bool else noise(75, 120) > 0.5
    found = prepare(image(a, (0.5, 0.7)), None, "fixed")
    assert found.factor == 3 and found.small.shape == (25, 40, 1)
    mean = a.astype(float).reshape(25, 3, 40, 3).mean((1, 3))
    low, high = np.percentile(mean, (0.5, 99.5))
    assert np.allclose(found.small[..., 0], np.clip((mean - low) / (high - low), 0, 1), atol=1e-5)
    # the first large pixel's center is that of its middle small one
    assert np.allclose(found.matrix @ (0, 0, 1), found.image.grid.matrix @ (1, 1, 1))
    assert np.allclose(found.matrix @ (39, 24, 1), found.image.grid.matrix @ (118, 73, 1))


def test_rows_and_columns_left_over_by_the_blocks_are_left_out(most):
    a = noise(77, 119)
    found = prepare(image(a), None, "fixed")
    same = prepare(image(a[:75, :117].copy()), None, "fixed")
    assert found.small.shape == (25, 39, 1) and np.array_equal(found.small, same.small)


def test_blocks_average_what_counts_alone(most):
    a, mask = noise(90, 120), noise(90, 120, seed=1) < 0.7
    a[~mask] = np.nan
    a[:6, :6] = np.nan
    found = prepare(image(a), None, "fixed")
    blocks = a.reshape(30, 3, 40, 3).transpose(0, 2, 1, 3).reshape(30, 40, 9)
    assert np.array_equal(found.counts, np.isfinite(blocks).sum(-1) > 4.5)
    values = [np.nanmean(b) for b in blocks[found.counts]]
    assert np.corrcoef(values, found.small[found.counts][:, 0])[0, 1] > 0.999


def test_a_strip_at_a_time_or_all_at_once_is_the_same(most, monkeypatch):
    a, mask = (noise(92, 120, 3) * 255).astype(np.uint8), noise(92, 120) < 0.9
    found = prepare(image(a), mask, "fixed")
    monkeypatch.setattr(room, "STRIP", 120 * 7)
    again = prepare(image(a), mask, "fixed")
    assert found.small.shape == (30, 40, 3) and np.array_equal(found.small, again.small)


def test_large_color_keeps_its_hues_as_small_color_does(most):
    a = np.zeros((80, 80, 3), np.uint8)
    a[..., 0], a[..., 1], a[..., 2] = 40 + 100 * (noise(80, 80) > 0.5), 40, 20
    small, large = prepare(image(a[:40, :40]), None, "fixed"), prepare(image(a), None, "fixed")
    for found in (small, large):
        assert found.small[..., 0].max() == 1 and found.small[..., 2].max() == 0
        assert 0.1 < found.small[..., 1].min() == found.small[..., 1].max() < 0.3


def test_an_image_on_disk_is_the_image(most, tmp_path):
    a = (noise(90, 120) * 60000).astype(np.uint16)
    np.save(tmp_path / "a.npy", a)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r", allow_pickle=False)
    assert np.array_equal(prepare(image(mapped), None, "fixed").small, prepare(image(a), None, "fixed").small)
    assert not np.shares_memory(prepare(image(a), None, "fixed").small, a)


def test_a_frame_is_left_out_unless_it_is_all_that_counts():
    a = np.zeros((80, 80))
    a[20:60, 20:60] = 0.2 + noise(40, 40)
    found = prepare(image(a), None, "fixed")
    assert found.plain.base.mask.all()
    assert not found.strict.base.mask[:20].any() and found.strict.base.mask[25:55, 25:55].all()
    mask = np.zeros((80, 80), bool)
    mask[:18] = True
    mask[40, 40] = True  # something to see, hardly
    found = prepare(image(a), mask, "fixed")
    assert np.array_equal(found.strict.base.mask, mask)


@pytest.mark.parametrize(
    ("array", "mask", "words"),
    [
        (noise(15, 40), None, "expected at least 16 × 16 pixels, found 40 × 15"),
        (
            noise(20, 40),
            np.ones((40, 20)),
            r"mask: expected the image's shape \(20, 40\), found \(40, 20\)",
        ),
        (noise(40, 40), np.zeros((40, 40)), "expected at least 256 finite pixels inside its mask, found 0"),
        (np.full((20, 20), np.nan), None, "expected at least 256 finite pixels inside its mask, found 0"),
        (np.full((20, 20), 7), None, "expected an image with contrast, found the same value"),
        (noise(16, 16 * 150), None, "expected sides of at most 1 to 128, found 2400 × 16 pixels"),
    ],
)
def test_what_cannot_be_registered_is_said_in_a_sentence(array, mask, words):
    with pytest.raises(InputError, match=f"^fixed (image: )?{words}"):
        prepare(image(array), mask, "fixed")


def test_contrast_under_the_mask_is_what_counts():
    a = noise(40, 40)
    a[:20] = 0.5
    mask = np.zeros((40, 40), bool)
    mask[:18] = True
    with pytest.raises(InputError, match=r"moving image slide\.tif: expected an image with contrast"):
        prepare(image(a, path=Path("slide.tif")), mask, "moving")


def test_a_scattered_mask_of_a_large_image_is_too_little(most):
    mask = np.zeros((120, 120), bool)
    mask[::3, ::3] = True  # 1600 pixels, none of which fills a block
    with pytest.raises(InputError, match="expected at least 2304 finite pixels inside its mask, found 0"):
        prepare(image(noise(120, 120)), mask, "fixed")


def test_a_color_map_is_searched_by_what_it_shows():
    """Rings of the map's brightness are no edges; a picture of things keeps its three channels."""
    from matplotlib import colormaps

    y, x = np.mgrid[:64, :64] / 64
    quantity = np.exp(-((x - 0.5) ** 2 + (y - 0.5) ** 2) / 0.05)
    image = (colormaps["jet"](quantity)[..., :3] * 255).round().astype(np.uint8)
    prepared = prepare(Image(image, Grid((64, 64))), None, "moving")
    assert prepared.small.shape == (64, 64, 3) and prepared.values.shape == (64, 64, 1)
    assert prepared.plain.at(1.0).maps.shape == (1, 64, 64)
    assert abs(np.corrcoef(prepared.values.ravel(), quantity.ravel())[0, 1]) > 0.97
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    assert prepare(Image(noise, Grid((64, 64))), None, "moving").values.shape == (64, 64, 3)
