from __future__ import annotations

import numpy as np
import pytest

from counterpoint.data.pseudocolor import unrolled


def hills(side: int = 96) -> np.ndarray:
    """A smooth quantity in [0, 1]."""
    y, x = np.mgrid[:side, :side] / side
    sum_ = np.exp(-((x - 0.3) ** 2 + (y - 0.4) ** 2) / 0.03) + 0.7 * np.exp(
        -((x - 0.7) ** 2 + (y - 0.6) ** 2) / 0.05
    )
    return (sum_ / sum_.max()).astype(np.float32)


def colored(quantity: np.ndarray, name: str) -> np.ndarray:
    from matplotlib import colormaps

    return colormaps[name](quantity)[..., :3].astype(np.float32)


def order(a: np.ndarray) -> np.ndarray:
    return a.ravel().argsort(kind="stable").argsort()


@pytest.mark.parametrize("name", ["jet", "inferno", "hot", "viridis", "turbo", "gnuplot2"])
def test_a_color_map_is_taken_back_to_its_quantity(name):
    quantity = hills()
    found = unrolled(colored(quantity, name))
    assert found is not None and found.shape == quantity.shape and found.dtype == np.float32
    assert found.min() >= 0 and found.max() <= 1
    assert abs(np.corrcoef(order(found), order(quantity))[0, 1]) > 0.995
    if name in ("inferno", "hot", "viridis", "gnuplot2"):  # the others are as dark at both ends
        assert np.corrcoef(order(found), order(quantity))[0, 1] > 0.995


def test_brightness_alone_would_not_do():
    """Why there is this file: along jet, brightness rises and falls again."""
    quantity = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    image = colored(quantity, "jet")
    brightness = image @ np.array([0.299, 0.587, 0.114])
    assert abs(np.corrcoef(order(brightness), order(quantity))[0, 1]) < 0.5


def test_eight_bits_and_interpolated_colors_do_not_hurt():
    from scipy.ndimage import rotate

    image = np.round(colored(hills(), "inferno") * 255) / 255
    turned = rotate(image, 30, reshape=False, order=1).clip(0, 1)
    found, expected = unrolled(turned), rotate(hills(), 30, reshape=False, order=1)
    inside = np.s_[20:-20, 20:-20]
    assert found is not None
    assert np.corrcoef(order(found[inside]), order(expected[inside]))[0, 1] > 0.99


def test_only_pixels_that_count_tell():
    image = colored(hills(), "jet")
    image[:40] = np.random.default_rng(0).random((40, 96, 3))
    counts = np.ones((96, 96), bool)
    counts[:40] = False
    assert unrolled(image) is None
    assert unrolled(image, counts) is not None


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea", "immunohistochemistry", "rocket"])
def test_pictures_of_things_are_left_alone(name):
    data = pytest.importorskip("skimage.data")
    try:
        image = getattr(data, name)()
    except (ModuleNotFoundError, OSError):
        pytest.skip("this picture is not in scikit-image's wheel, and would have to be downloaded")
    assert unrolled(image[..., :3].astype(np.float32) / 255) is None


@pytest.mark.parametrize("image", [
    np.repeat(hills()[..., None], 3, 2),
    np.zeros((32, 32, 3), np.float32),
    np.eye(3, dtype=np.float32)[np.arange(64).reshape(8, 8) % 3],
], ids=["gray", "constant", "three colors"])  # fmt: skip
def test_what_shows_no_map_is_left_alone(image):
    assert unrolled(image) is None
