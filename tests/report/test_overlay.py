from __future__ import annotations

import numpy as np
import pytest

from counterpoint.core.errors import InputError
from counterpoint.report.overlay import checkerboard, display, false_color, shrink


def test_gray_is_stretched_between_its_percentiles():
    ramp = np.arange(201, dtype=np.float32).reshape(1, 201)  # 0.5th and 99.5th percentile: 1 and 199
    shown = display(ramp)
    assert shown.shape == (1, 201, 3) and shown.dtype == np.uint8
    expected = [round(255 * (v - 1) / 198) for v in range(1, 200)]
    assert shown[0, :, 0].tolist() == [0, *expected, 255]
    assert (shown == shown[..., :1]).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float16, np.float64])
def test_every_type_of_number_gives_the_same_picture(dtype):
    two = np.array([[0, 100], [100, 0]], dtype)
    assert display(two)[..., 1].tolist() == [[0, 255], [255, 0]]


def test_masks_are_black_and_white_even_when_constant():
    assert (display(np.ones((2, 2), bool)) == 255).all()
    assert (display(np.zeros((2, 2), bool)) == 0).all()


def test_a_constant_is_gray_and_what_is_not_finite_is_black():
    image = np.array([[7.0, np.nan, np.inf, 7.0]])
    assert display(image)[0, :, 0].tolist() == [128, 0, 0, 128]
    assert (display(np.full((3, 3), np.nan)) == 0).all()


def test_a_few_bright_spots_on_even_ground_are_seen():
    image = np.zeros((100, 100))
    image[50, 50] = 3.0  # beyond both percentiles, which are 0
    assert display(image).max() == 255 and (display(image) > 0).sum() == 3


def test_rgb_keeps_one_scale_and_more_channels_have_their_own():
    rgb = np.zeros((1, 2, 3))
    rgb[0, 1] = [4, 2, 1]
    # sorted: 0 0 0 1 2 4, so the 99.5th percentile lies 0.975 of the way from 2 to 4
    assert display(rgb)[0, 1].tolist() == [255, round(255 * 2 / 3.95), round(255 / 3.95)]
    five = np.concatenate([rgb, rgb[..., :2]], axis=2)
    assert display(five)[0, 1].tolist() == [255, 255, 255]


def test_two_channels_are_magenta_and_green():
    two = np.array([[[0, 0], [1, 0], [0, 1]]], float)
    assert display(two)[0].tolist() == [[0, 0, 0], [255, 0, 255], [0, 255, 0]]


def test_false_color_by_hand():
    fixed = np.array([[0, 0, 9, 9]], np.uint8)
    moving = np.array([[1.0, 3.0, 1.0, 3.0]])
    expected = [[0, 0, 0], [0, 255, 0], [255, 0, 255], [255, 255, 255]]
    assert false_color(fixed, moving)[0].tolist() == expected
    color = np.stack([fixed] * 3, axis=2)
    assert false_color(color, moving)[0].tolist() == expected


def test_checkerboard_by_hand():
    board = checkerboard(np.ones((4, 6), bool), np.zeros((4, 6), bool), tiles=3)[..., 0] // 255
    assert board.tolist() == [[1, 1, 0, 0, 1, 1]] * 2 + [[0, 0, 1, 1, 0, 0]] * 2


def test_shrink_averages_areas():
    image = np.array([[0, 2, 4, 6], [2, 4, 6, 8]], float)
    assert shrink(image, 2).tolist() == [[2, 6]]
    # 3 → 2: each new pixel is one and a half old ones
    assert shrink(np.array([[3.0, 6.0, 12.0]]), 2).tolist() == [[(3 + 6 / 2) / 1.5, (6 / 2 + 12) / 1.5]]


def test_shrink_agrees_with_a_slow_reference():
    image = np.random.default_rng(0).random((7, 11))
    fine = image.repeat(3, axis=0).repeat(5, axis=1)  # 21 × 55, of which 3 × 5 blocks are whole numbers
    expected = fine.reshape(3, 7, 5, 11).mean(axis=(1, 3))
    assert shrink(image, 5) == pytest.approx(expected, abs=1e-12)


def test_shrink_leaves_small_images_and_types_alone():
    small = np.zeros((5, 3), np.uint8)
    assert shrink(small, 5) is small
    assert shrink(np.full((9, 9, 4), 200, np.uint8), 4).dtype == np.uint8
    assert (shrink(np.full((9, 9, 4), 200, np.uint8), 4) == 200).all()
    assert shrink(np.ones((8, 2), bool), 4).tolist() == [[True]] * 4
    assert shrink(np.zeros((1000, 3)), 10).shape == (10, 1)


def test_shrink_averages_over_what_is_known():
    image = np.array([[1.0, np.nan, np.nan, np.nan]])
    assert np.array_equal(shrink(image, 2), [[1.0, np.nan]], equal_nan=True)


@pytest.mark.parametrize(
    "bad",
    [np.zeros(3), np.zeros((0, 4)), np.zeros((2, 2), complex), np.array([["a"]]), np.zeros((1, 1, 1, 1))],
)
def test_what_is_no_image_is_refused(bad):
    with pytest.raises(InputError, match="expected"):
        display(bad)


def test_images_of_different_size_are_refused():
    for overlay in (false_color, checkerboard):
        with pytest.raises(InputError, match=r"\(2, 3\) and \(3, 2\)"):
            overlay(np.zeros((2, 3)), np.zeros((3, 2)))
    with pytest.raises(InputError, match="tiles"):
        checkerboard(np.zeros((2, 2)), np.zeros((2, 2)), tiles=0)
    with pytest.raises(InputError, match="longest"):
        shrink(np.zeros((2, 2)), 0)
