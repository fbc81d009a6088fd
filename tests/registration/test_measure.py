"""Measures: each finds a turned picture by itself, on levels of the size asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from counterpoint.core.errors import InputError
from counterpoint.core.grid import Grid
from counterpoint.data.image import Image
from counterpoint.encoders.unet import UNet
from counterpoint.registration import prepare as prepare_room
from counterpoint.registration.measure import classical, raw, trained
from counterpoint.registration.prepare import prepare

GRID = Grid((72, 60), (0.5, 0.5), (3, -4))
TURNED = Grid((60, 72), (0.5, 0.5), (3, -4))


def picture(shape=(60, 72), seed=0):
    rng = np.random.default_rng(seed)
    a = sum((ndimage.gaussian_filter(rng.normal(size=shape), s) * s for s in (1.5, 4)), np.zeros(shape))
    return (a - a.min()) / np.ptp(a)


def truth():
    """What np.rot90 does: pixel (x, y) → (y, 71 - x), in physical space."""
    pixels = np.array([[0, 1, 0], [-1, 0, 71], [0, 0, 1]])
    return TURNED.matrix @ pixels @ np.linalg.inv(GRID.matrix)


def pair(change):
    fixed, moving = Image(picture(), GRID), Image(change(np.rot90(picture())), TURNED)
    return prepare(fixed, None, "fixed"), prepare(moving, None, "moving")


@pytest.mark.parametrize("number", range(6))
def test_each_finds_a_turned_picture(number):
    measures = [*classical(*pair(lambda a: np.abs(a - 0.4))), raw(*pair(lambda a: 2 * a + 3))]
    assert len({m.name for m in measures}) == len(measures) == 6
    measure = measures[number]
    turns = [
        np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) for a in np.radians(range(0, 360, 30))
    ]
    best = measure.search(1.0, turns, overlap=0.5)[0]
    corners = np.c_[GRID.corners, np.ones(4)] @ GRID.matrix.T
    assert np.abs(corners @ (best.matrix - truth()).T).max() < 1.0  # a pixel of the search
    for at in (measure.fixed, measure.moving):
        level = at(1.0)
        assert level is at(1.0)
        assert np.allclose(np.linalg.norm(level.matrix[:2, :2], axis=0), 1.0)


def networks(channels=1):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return {
            r: UNet.Config(channels=channels, out=2, widths=(4, 4)).build().eval()
            for r in ("fixed", "moving")
        }


def test_maps_of_a_large_image_are_made_at_full_size_and_lie_where_it_does(monkeypatch):
    monkeypatch.setattr(prepare_room, "MOST", 24)
    prepared = prepare(Image(picture(), GRID), None, "fixed")
    assert prepared.factor == 3
    measure = trained(prepared, prepared, networks())
    level = measure.fixed(1.5)
    assert level.maps.shape == (2, 20, 24) and np.array_equal(level.matrix, prepared.matrix)
    monkeypatch.setattr(prepare_room, "MOST", 2048)
    whole = prepare(Image(picture(), GRID), None, "fixed")
    maps = trained(whole, whole, networks()).fixed(0.5).maps
    expected = maps.reshape(2, 20, 3, 24, 3).mean((2, 4))
    assert torch.allclose(level.maps, expected, atol=0.02 * float(maps.std()) + 1e-4)


def test_a_model_that_does_not_fit_is_refused():
    prepared = pair(lambda a: a)
    with pytest.raises(InputError, match="expected a network for the moving image, found fixed"):
        trained(*prepared, {"fixed": networks()["fixed"]})
    with pytest.raises(InputError, match="trained on images of 3 channels, but image has 1"):
        trained(*prepared, networks(3))
