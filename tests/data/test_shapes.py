from __future__ import annotations

import math

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.data.shapes import CLASSES, _outline, shapes


def test_a_picture_follows_from_seed_part_and_index_alone():
    short, long = shapes("train", count=8, size=16), shapes("train", count=20, size=16)
    assert torch.equal(short.image, long.image[:8]) and short.image.shape == (8, 3, 16, 16)
    for other in (shapes("train", count=8, size=16, seed=1), shapes("test", count=8, size=16)):
        assert not torch.equal(other.image, short.image) and torch.equal(other.label, short.label)
    both = shapes(count=8, size=16)
    assert torch.equal(both.image[:8], short.image) and both.part.tolist() == [0] * 8 + [2] * 8
    assert shapes("train", count=2, size=16, channels=1).image.shape == (2, 1, 16, 16)
    with pytest.raises(InputError, match="expected a part 'val', found train, test"):
        shapes("val")


def test_every_class_is_drawn_and_looks_like_itself():
    data = shapes("train", count=240, size=32)
    assert data.label.bincount().tolist() == [40] * len(CLASSES) and data.classes == CLASSES
    assert data.image.min() >= 0 and data.image.max() <= 1 and data.image.std() > 0.1
    # How far apart the extremes of a picture are: every one shows something on its ground.
    assert (data.image.amax((1, 2, 3)) - data.image.amin((1, 2, 3))).min() > 0.15


def test_outlines_enclose_the_area_of_their_shape():
    axis = torch.linspace(-1.5, 1.5, 601)
    b, a = torch.meshgrid(axis, axis, indexing="ij")
    inside = _outline(torch.arange(6), a.expand(6, -1, -1), b.expand(6, -1, -1)) < 0
    area = dict(zip(CLASSES, (inside.float().mean((1, 2)) * 3.005**2).tolist(), strict=True))
    exact = {
        "disk": math.pi * 0.9**2,
        "ring": math.pi * (0.95**2 - 0.55**2),
        "square": 1.6**2,
        "triangle": 3 * math.sqrt(3) * 0.5**2,
        "cross": 2 * 1.9 * 0.5 - 0.5**2,
        "bar": 2 * 0.5,
    }
    assert area == pytest.approx(exact, rel=0.03)
