"""Levels: where the pixels of a pyramid lie, and what they average."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from counterpoint.core.grid import Grid
from counterpoint.registration.levels import Level, Pyramid, resized

PLACE = Grid((72, 108), (0.5, 0.5), (3, -4), ((0.6, -0.8), (0.8, 0.6))).matrix


def physical(matrix, shape):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.stack((x, y, np.ones_like(x)), -1) @ matrix[:2].T


def ramp(matrix, shape):
    """An image whose value is a linear function of the physical position."""
    return torch.from_numpy(physical(matrix, shape) @ (0.3, -0.2) + 5).float()[None]


def triangle(n, m):
    """(m, n) weights of n pixels in m larger ones: a triangle as wide as two of the larger ones."""
    f = n / m
    weights = np.array([[max(0.0, 1 - abs(j + 0.5 - (i + 0.5) * f) / f) for j in range(n)] for i in range(m)])
    return weights / weights.sum(1, keepdims=True)


def test_a_ramp_keeps_its_physical_place_exactly_at_whole_factors():
    level = resized(Level(ramp(PLACE, (108, 72)), torch.ones(108, 72), PLACE), (36, 24))
    expected = ramp(level.matrix, (36, 24))
    assert torch.allclose(level.maps[:, 2:-2, 2:-2], expected[:, 2:-2, 2:-2], atol=1e-5)
    assert level.mask.min() == 1


@pytest.mark.parametrize(("n", "m"), [(160, 96), (96, 60), (1000, 666)])
def test_a_ramp_keeps_its_place_on_average_at_any_factor(n, m):
    level = resized(Level(torch.arange(n).float().expand(1, 9, n), torch.ones(9, n), np.eye(3)), (9, m))
    off = (level.maps[0, 4] - torch.from_numpy(physical(level.matrix, (1, m))[0, :, 0]))[3:-3]
    assert abs(off.mean()) < 1e-3 and off.abs().max() < 0.1


def test_the_area_of_all_pixels_together_stays_in_place():
    level = resized(Level(torch.ones(1, 108, 72), torch.ones(108, 72), PLACE), (41, 29))
    for large, small in (((-0.5, -0.5), (-0.5, -0.5)), ((71.5, 107.5), (28.5, 40.5))):
        assert np.allclose(level.matrix @ (*small, 1), PLACE @ (*large, 1))


def test_averages_are_weighted_by_a_fractional_mask():
    rng = np.random.default_rng(0)
    values, mask = rng.random((2, 20, 30)), rng.random((20, 30)) * (rng.random((20, 30)) < 0.6)
    pyramid = Pyramid(torch.from_numpy(values).float(), torch.from_numpy(mask).float(), np.eye(3))
    level = pyramid.at(2.5)
    down, across = triangle(20, 8), triangle(30, 12)
    weight = down @ mask @ across.T
    assert level.mask.shape == (8, 12) and weight.min() > 0.05
    assert np.allclose(level.mask, weight, atol=1e-5)
    assert np.allclose(level.maps, down @ (values * mask) @ across.T / weight, atol=1e-5)


def test_masked_pixels_take_no_part_and_leave_zeros():
    mask = torch.ones(40, 40)
    mask[:, 15:] = 0
    maps = torch.where(mask > 0, 0.7, 1e4)[None]
    level = Pyramid(maps, mask, np.eye(3)).at(4)
    assert torch.allclose(level.maps[level.maps != 0], torch.tensor(0.7), atol=1e-4)
    assert torch.equal(level.maps[0] != 0, level.mask > 0)
    assert not level.maps[:, :, 5:].any() and level.mask[:, :3].min() == 1


def test_where_next_to_nothing_counts_nothing_counts():
    mask = torch.zeros(80, 80)
    mask[4, 4] = 1
    level = Pyramid(torch.ones(1, 80, 80), mask, np.eye(3)).at(10)
    assert not level.mask.any() and not level.maps.any()


def test_levels_are_made_once_and_never_finer_than_the_base():
    pyramid = Pyramid(ramp(PLACE, (108, 72)), torch.ones(108, 72), PLACE)
    assert pyramid.at(0.01) is pyramid.at(0.5) is pyramid.base
    assert pyramid.at(2) is pyramid.at(2.0001) and pyramid.at(2) is not pyramid.at(3)
    assert pyramid.at(2).mask.shape == (27, 18) and pyramid.at(1e6).mask.shape == (8, 8)


def test_pixels_of_a_level_are_square_even_where_those_of_the_image_are_not():
    pyramid = Pyramid(torch.ones(1, 60, 90), torch.ones(60, 90), Grid((90, 60), (0.5, 1.5)).matrix)
    for spacing in (0.1, 1.5, 3.0):
        size = np.linalg.norm(pyramid.at(spacing).matrix[:2, :2], axis=0)
        assert np.allclose(size, max(spacing, 1.5), rtol=0.02)
