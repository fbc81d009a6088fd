from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from counterpoint.core.errors import InputError
from counterpoint.data.pixels import resized, stack, unit_floats, with_channels


def test_every_layout_becomes_channels_first():
    gray, color = np.arange(24, dtype=np.uint8).reshape(2, 3, 4), np.zeros((2, 8, 9, 3), np.uint8)
    assert torch.equal(stack(gray, "x")[:, 0], torch.from_numpy(gray))
    color[..., 1] = 7
    for x in (color, color.transpose(0, 3, 1, 2), torch.from_numpy(color).permute(0, 3, 1, 2)):
        y = stack(x, "x")
        assert y.shape == (2, 3, 8, 9) and y.is_contiguous() and (y[:, 1] == 7).all()


def test_every_type_becomes_bytes_or_floats_from_0_to_1():
    values = np.array([[[0, 1]]])
    for dtype, one in ((np.uint16, 65535), (">u2", 65535), (bool, 1), (np.float64, 1), (">f4", 1)):
        y = stack((values * one).astype(dtype), "x")
        assert y.dtype == torch.float32 and y.flatten().tolist() == [0, 1]
    y = stack((values * 255).astype(np.uint8), "x")
    assert y.dtype == torch.uint8 and unit_floats(y).flatten().tolist() == [0, 1]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.zeros((2, 28, 28, 28), np.uint8), r"found \(2, 28, 28, 28\)"),
        (np.zeros((5, 5), np.uint8), r"found \(5, 5\)"),
        (np.zeros((0, 5, 5), np.uint8), r"found \(0, 1, 5, 5\)"),
        (np.full((1, 5, 5), 16), "expected uint8, uint16, bool or float.*found int64 from 16 to 16"),
        (np.full((1, 5, 5), 255.0), r"expected values in \[0, 1\], found 255 to 255: scale them first"),
        (np.full((1, 5, 5), np.nan), r"expected values in \[0, 1\], found nan"),
        (np.zeros((1, 5, 5), np.complex64), "found complex64"),
        (np.full((1, 5, 5), "a"), "found <U1"),
    ],
)
def test_what_are_no_images_is_refused(wrong, said):
    with pytest.raises(InputError, match="^some file: .*" + said):
        stack(wrong, "some file")


def test_gray_and_color_convert():
    color = torch.tensor([[200, 100, 50]], dtype=torch.uint8).view(1, 3, 1, 1)
    assert with_channels(color, 1, "x").flatten().tolist() == [round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)]
    assert with_channels(color[:, :1], 3, "x").flatten().tolist() == [200, 200, 200]
    assert with_channels(color, None, "x") is color and with_channels(color, 3, "x") is color
    with pytest.raises(InputError, match="x: expected images of 3 channels, found 2"):
        with_channels(color[:, :2], 3, "x")


def test_resizing_is_antialiased_and_cuts_the_middle_of_the_longer_side():
    x = torch.randint(0, 256, (2, 1, 20, 50), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    y = resized(x, 10)
    assert y.shape == (2, 1, 10, 10) and y.dtype == torch.uint8
    whole = Pillow.fromarray(x[0, 0].numpy()).resize((25, 10), Pillow.Resampling.BILINEAR)
    assert np.abs(np.asarray(whole)[:, 7:17].astype(int) - y[0, 0].numpy()).max() <= 1
    assert resized(x[..., :20], 20) is not None and resized(x, None) is x
    assert resized(torch.rand(1, 3, 8, 8), 32).shape == (1, 3, 32, 32)
