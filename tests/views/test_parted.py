from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.views.parts import parted

IMAGE = torch.rand(2, 3, 8, 9, generator=generator(0))


def test_bands_are_coarse_and_fine_and_together_the_image():
    coarse, fine, whole = parted(IMAGE, "bands")
    assert torch.equal(whole, IMAGE) and fine.min() >= 0 and fine.max() <= 1
    assert torch.allclose(coarse + 2 * fine - 1, IMAGE, atol=1e-6)
    assert coarse[0, 1, 3, 4].item() == pytest.approx(IMAGE[0, 1, 1:6, 2:7].mean().item(), abs=1e-6)
    assert coarse[0, 1, 0, 0].item() == pytest.approx(IMAGE[0, 1, :3, :3].mean().item(), abs=1e-6)


def test_lab_divides_light_and_color():
    light, color, whole = parted(IMAGE, "lab")
    expected = rgb2lab(IMAGE.permute(0, 2, 3, 1).numpy())
    found = torch.cat([100 * light[:, :1], 255 * color[:, 1:] - 128], 1).permute(0, 2, 3, 1).numpy()
    assert np.abs(found - expected).max() < 0.05 and torch.equal(whole, IMAGE)
    assert not light[:, 1:].any() and not color[:, :1].any()


def test_images_without_color_are_refused():
    with pytest.raises(InputError, match="split: lab expects images of 3 channels, found 1; bands takes any"):
        parted(IMAGE[:, :1], "lab")
    assert parted(IMAGE[:, :1], "bands")[0].shape == (2, 1, 8, 9)
