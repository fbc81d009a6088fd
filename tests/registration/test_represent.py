"""Representations: what they do not depend on, and networks whose tiles leave no seam."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from counterpoint.encoders.unet import UNet
from counterpoint.registration.levels import Level
from counterpoint.registration.represent import categories, intensity, learned, normalized_gradient, smooth


def scene(shape=(40, 50), channels=1, seed=0):
    rng = np.random.default_rng(seed)
    planes = [ndimage.gaussian_filter(rng.normal(size=shape), 2) * 4 for _ in range(channels)]
    return torch.from_numpy(np.stack(planes)).float()


def level(maps, mask=None):
    maps = torch.as_tensor(maps, dtype=torch.float32)
    mask = torch.ones(maps.shape[1:]) if mask is None else torch.as_tensor(mask, dtype=torch.float32)
    return Level(maps * (mask > 0), mask, np.eye(3))


def hole(shape=(40, 50)):
    mask = np.ones(shape)
    mask[10:25, 12:30] = 0
    mask[:, -6:] = 0
    return mask


@pytest.mark.parametrize("sigma", [0.4, 1.0, 6.0])
def test_smooth_is_the_gaussian_of_scipy(sigma):
    x = scene(channels=2)
    radius = max(1, int(3 * sigma + 0.5))
    expected = [ndimage.gaussian_filter(p, sigma, mode="nearest", radius=radius) for p in x.numpy()]
    assert np.allclose(smooth(x, sigma), expected, atol=1e-5)


def test_gradients_do_not_care_for_contrast():
    x = scene(channels=2)
    plain = normalized_gradient(level(x, hole()))
    for other in (3.0 - 2.5 * x, 0.04 * x, torch.stack((x[0], -x[1])), x.flip(0)):
        assert torch.allclose(normalized_gradient(level(other, hole())).maps, plain.maps, atol=2e-4)
    assert plain.maps.abs().max() > 0.5  # of at most 1


def test_gradients_are_the_double_angle_of_the_slope():
    y, x = np.mgrid[:60, :60].astype(float)
    for slope, expected in (((1, 0), (1, 0)), ((0, -1), (-1, 0)), ((1, 1), (0, 1)), ((-2, 2), (0, -1))):
        maps = normalized_gradient(level((slope[0] * x + slope[1] * y)[None])).maps
        # a constant slope is its own mean: e / (e + e / 2 + e / 50)
        assert np.allclose(maps[:, 24:-24, 24:-24], np.array(expected)[:, None, None] / 1.52, atol=1e-2)


def test_gradients_equal_a_slow_structure_tensor():
    x = scene(channels=3, seed=3).double().numpy()
    j = np.zeros((2, 2, 40, 50))
    for plane in x:
        g = np.gradient(ndimage.gaussian_filter(plane, 1.0, mode="nearest", radius=3))[::-1]
        for a in (0, 1):
            for b in (0, 1):
                j[a, b] += g[a] * g[b]
    trace = j[0, 0] + j[1, 1]
    local = ndimage.gaussian_filter(trace, 6.0, mode="nearest", radius=18)
    expected = np.stack((j[0, 0] - j[1, 1], 2 * j[0, 1])) / (trace + 0.5 * local + 0.02 * trace.mean())
    assert np.allclose(normalized_gradient(level(x)).maps, expected, atol=1e-4)


def test_what_is_masked_leaves_no_trace_in_gradients():
    mask = hole()
    x = scene() + 5
    wild = torch.where(torch.from_numpy(mask) > 0, x, -50.0)
    found = normalized_gradient(level(x, mask))
    assert torch.equal(
        normalized_gradient(Level(wild, torch.from_numpy(mask).float(), np.eye(3))).maps, found.maps
    )
    assert torch.equal(found.maps.any(0), found.mask > 0)
    assert torch.equal(
        found.mask > 0, torch.from_numpy(ndimage.binary_erosion(mask, np.ones((5, 5)), border_value=1))
    )
    free = normalized_gradient(level(x))
    inner = torch.from_numpy(ndimage.binary_erosion(mask, np.ones((9, 9)), border_value=1))
    near = (found.maps - free.maps)[:, inner].abs()
    assert near.mean() < 0.02  # only the mean energy about the place differs
    flat = torch.full((1, 40, 50), 0.7) + 1e-3 * scene()
    assert normalized_gradient(level(flat, mask)).maps.abs().mean() < 1.2 * free.maps.abs().mean()


def test_gradients_of_nothing_are_nothing():
    for mask in (np.zeros((20, 20)), np.ones((20, 20))):
        found = normalized_gradient(level(np.full((1, 20, 20), 0.3), mask))
        assert not found.maps.any() and torch.isfinite(found.maps).all()


def test_intensity_is_luminance_from_zero_to_one_where_the_mask_is():
    rgb = np.zeros((3, 20, 20))
    rgb[:, 0, :4] = np.array([(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)]).T
    mask = np.ones((20, 20))
    mask[5:] = 0
    rgb[:, 9] = 40  # masked
    found = intensity(level(rgb, mask))
    assert np.allclose(found.maps[0, 0, :5], (0.299, 0.587, 0.114, 1, 0))
    assert not found.maps[:, 5:].any() and np.array_equal(found.mask, mask)
    two = intensity(level(np.stack((np.full((20, 20), 2.0), np.arange(400).reshape(20, 20)))))
    assert np.allclose(two.maps[0].flatten(), np.arange(400) / 399)


def test_intensity_where_hardly_anything_counts_stays_between_zero_and_one():
    faint = torch.full((20, 20), 0.1)
    faint[3, 3:6] = 0.9
    found = intensity(level(5 * scene((20, 20)), faint))
    assert found.maps.min() >= 0 and found.maps.max() <= 1
    assert not intensity(level(scene((20, 20)), torch.zeros(20, 20))).maps.any()


def test_categories_are_the_colors_there_are():
    names = np.random.default_rng(0).integers(0, 3, (20, 30))
    colors = np.array([(0.1, 0.9, 0), (0.8, 0.2, 0.5), (0, 0, 1)])
    mask = np.ones((20, 30))
    mask[:, 25:] = 0
    found = categories(level(colors[names].transpose(2, 0, 1), mask), count=6)  # fewer: no warning
    assert found.maps.shape == (6, 20, 30)
    assert np.array_equal(found.maps.sum(0), mask)
    which = found.maps.argmax(0).numpy()
    assert len({(a, b) for a, b in zip(which[:, :25].flat, names[:, :25].flat, strict=True)}) == 3
    again = categories(level(colors[names].transpose(2, 0, 1), mask), count=6)
    assert torch.equal(found.maps, again.maps)
    assert not categories(level(scene((20, 20)), np.zeros((20, 20)))).maps.any()


@pytest.fixture(scope="module")
def network():
    """A small random network with batch statistics of its own; it looks about 24 pixels far."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = UNet.Config(channels=2, out=3, widths=(4, 6, 8), upsampling="bilinear").build()
        for part in net.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.momentum = 1.0
        net(torch.rand(2, 2, 64, 64))
    return net.eval()


def image(shape, seed=0):
    return np.random.default_rng(seed).random((*shape, 2), dtype=np.float32)


def whole(network, array, around=64):
    """The network on all of the image at once, reflected at its border."""
    h, w = array.shape[:2]
    padded = np.pad(array, ((around, around + -h % 4), (around, around + -w % 4), (0, 0)), mode="reflect")
    with torch.no_grad():
        return network(torch.from_numpy(padded.transpose(2, 0, 1))[None])[0, :, around:, around:][:, :h, :w]


@pytest.mark.parametrize("shape", [(70, 101), (64, 64), (11, 7)])
def test_tiles_leave_no_seam(network, shape):
    array = image(shape)
    expected = whole(network, array)
    assert expected.std((1, 2)).min() > 0.05
    for tile in (32, 50, 768):
        found = learned(network, array, tile=tile, margin=40)
        assert found.shape == (3, *shape)
        assert (found - expected).abs().max() < 1e-5


def test_maps_are_averaged_down_by_whole_factors(network):
    array = image((75, 100))
    maps = whole(network, array)[:, :75, :99]
    expected = maps.reshape(3, 25, 3, 33, 3).mean((2, 4))
    for tile in (32, 768):
        assert (learned(network, array, factor=3, tile=tile, margin=40) - expected).abs().max() < 1e-5


def test_tiles_are_stretched_one_by_one(network):
    array = (image((40, 50)) * 200).astype(np.uint8)
    expected = whole(network, array.astype(np.float32) / 255)
    found = learned(network, array, stretch=lambda a: a.astype(np.float32) / 255, tile=32, margin=40)
    assert (found - expected).abs().max() < 1e-5


def test_a_network_in_training_mode_is_evaluated_and_not_touched(network):
    array = image((20, 24))
    expected = learned(network, array)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    try:
        assert torch.equal(learned(network, array), expected)
        assert network.training
    finally:
        network.eval()
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
