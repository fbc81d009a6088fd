"""Stacks of images as tensors: their layout, their number of channels, their size, their values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from counterpoint.core.errors import InputError
from counterpoint.data.intensity import LUMINANCE, unit

CHANNELS = 4
"""Most channels that an axis of an array is taken for."""


def stack(images: np.ndarray | Tensor, name: str) -> Tensor:
    """Images as (N, C, H, W), uint8 as they are and all others float32 in [0, 1].

    Args:
        images: Tensor (N, C, H, W), or array (N, H, W), (N, H, W, C) or (N, C, H, W) with C ≤ 4; uint8,
            uint16 (65535 becomes 1), bool, or float in [0, 1].
        name: What messages call it.

    Raises:
        InputError: no images, another layout, another type, or float values outside of [0, 1].
    """
    if isinstance(images, np.ndarray):
        images = _from_array(images, name)
    if images.ndim != 4 or 0 in images.shape:
        raise InputError(f"{name}: expected images (N, C, H, W), found {tuple(images.shape)}")
    if images.dtype == torch.uint8:
        return images.contiguous()
    if images.dtype == torch.uint16:
        return images.float() / 65535
    if images.dtype == torch.bool:
        return images.float()
    if not images.is_floating_point():
        raise InputError(
            f"{name}: expected uint8, uint16, bool or float in [0, 1], found {str(images.dtype)[6:]} "
            f"from {images.min()} to {images.max()}"
        )
    low, high = (float(v) for v in images.aminmax())
    if not (low >= -1e-6 and high <= 1 + 1e-6):  # false for NaN
        raise InputError(
            f"{name}: expected values in [0, 1], found {low:.4g} to {high:.4g}: scale them first"
        )
    return images.float().clamp(0, 1)


def one(array: np.ndarray, size: int | None, channels: int | None, name: str) -> Tensor:
    """One image (H, W[, C]) as (C, H, W): uint8 as it is, others stretched to float32 in [0, 1] by ``unit``.

    ``size`` as ``resized`` takes it, ``channels`` and ``name`` as ``with_channels``, whose ``InputError``
    comes.
    """
    if array.dtype != np.uint8:
        array = unit(array)
    array = array[..., None] if array.ndim == 2 else array
    x = torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))[None]
    return with_channels(resized(x, size), channels, name)[0].contiguous()


def said(shape: Sequence[int]) -> str:
    """A shape (C, H, W) in words."""
    return f"{shape[2]} × {shape[1]} pixels of {shape[0]} channel{'s' * (shape[0] > 1)}"


def unit_floats(x: Tensor) -> Tensor:
    """float32 in [0, 1]: uint8 divided by 255, float as it is."""
    return x.float() / 255 if x.dtype == torch.uint8 else x


def with_channels(x: Tensor, channels: int | None, name: str) -> Tensor:
    """(N, C, H, W) with 1 channel (luminance) or 3 (gray repeated); None leaves it as it is.

    Raises:
        InputError: a number of channels that cannot be had from those there are.
    """
    if channels is None or x.shape[1] == channels:
        return x
    if (x.shape[1], channels) == (1, 3):
        return x.expand(-1, 3, -1, -1)
    if (x.shape[1], channels) == (3, 1):
        gray = (x * torch.tensor(LUMINANCE).view(1, 3, 1, 1)).sum(1, keepdim=True)
        return gray.round().to(torch.uint8) if x.dtype == torch.uint8 else gray
    raise InputError(
        f"{name}: expected images of {channels} channels, found {x.shape[1]}; only gray and color convert"
    )


def resized(x: Tensor, size: int | None) -> Tensor:
    """(N, C, size, size): the shorter side brought to ``size``, antialiased, and the middle cut out.

    None leaves it as it is. Values stay in the range of their type.
    """
    height, width = x.shape[-2:]
    if size is None or (height, width) == (size, size):
        return x
    shape = [max(size, round(side * size / min(height, width))) for side in (height, width)]
    top, left = (shape[0] - size) // 2, (shape[1] - size) // 2
    done = []
    for part in x.split(4096):  # uint8 images need four times their memory while they are resized
        y = interpolate(part.float(), shape, mode="bilinear", antialias=True)
        y = y[..., top : top + size, left : left + size]
        done.append(y.round().clamp(0, 255).to(torch.uint8) if x.dtype == torch.uint8 else y.clamp(0, 1))
    return torch.cat(done)


def _from_array(array: np.ndarray, name: str) -> Tensor:
    """(N, C, H, W) in the array's own type."""
    if array.dtype.kind not in "buif" or array.dtype.itemsize > 8:
        raise InputError(f"{name}: expected uint8, uint16, bool or float pixels, found {array.dtype}")
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[-1] <= CHANNELS:
        array = array.transpose(0, 3, 1, 2)
    elif array.ndim != 4 or array.shape[1] > CHANNELS:
        raise InputError(
            f"{name}: expected images (N, H, W), (N, H, W, C) or (N, C, H, W) of at most {CHANNELS} "
            f"channels, found {array.shape}"
        )
    array = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))
    return torch.from_numpy(array if array.flags.writeable else array.copy())  # torch knows no read-only
