"""The handwritten digits that come with scikit-learn: real data without a download."""

from __future__ import annotations

from typing import Any

import torch

from counterpoint.data.arrays import PARTS, Arrays
from counterpoint.data.pixels import resized, with_channels
from counterpoint.data.split import of_part

CLASSES = tuple("0123456789")


def digits(part: str | None = None, *, size: int = 32, channels: int | None = None) -> Arrays:
    """1797 digits of 8×8 pixels, resized (Alpaydin and Kaynak 1998, UCI optdigits, its test set).

    Of every class each fifth one is of the test part, which is the same for all times: 355 of them.

    Args:
        part: "train" or "test"; both together if not given.
        size: Side in pixels.
        channels: 3 for color images that are gray.

    Raises:
        InputError: another part or number of channels.
    """
    from sklearn.datasets import load_digits

    found: Any = load_digits()
    label = torch.from_numpy(found.target)
    image = torch.from_numpy(found.images).float()[:, None] / 16
    at = torch.stack([(label == c).cumsum(0) for c in range(10)])[label, torch.arange(len(label))]
    part_of = torch.where(at % 5 == 0, PARTS.index("test"), PARTS.index("train"))
    image = with_channels(resized(image, size), channels, "digits")
    whole = Arrays(image, label, CLASSES, part=part_of, name="digits")
    return whole if part is None else of_part(whole, part)
