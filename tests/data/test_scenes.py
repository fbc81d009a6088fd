from __future__ import annotations

import pytest
import torch

from counterpoint.core.rng import generator
from counterpoint.data.scenes import (
    COVERS,
    GROUNDS,
    KINDS,
    LABELS,
    LEVELS,
    cellular,
    noise,
    scenes,
)


def test_a_scene_follows_from_its_generator():
    photo = [torch.rand(3, 128, 128, generator=generator(0, "photo"))]
    one, again, other = (scenes(24, 32, photo, generator(0, "scene", i)) for i in (0, 0, 1))
    assert torch.equal(one.level, again.level) and not torch.equal(one.level, other.level)
    assert one.level.shape == (24, 2, 32, 32) and one.smooth.any() and not one.smooth.all()
    assert one.level.min() >= 0 and one.level.max() <= LEVELS - 1
    labels = one.level[~one.smooth]
    assert torch.equal(labels, labels.round()) and torch.equal(labels[:, 0], labels[:, 1])
    assert not scenes(24, 32, [], generator(0, "scene")).smooth.any()


@pytest.mark.parametrize("ground", GROUNDS)
def test_grounds_have_several_labels(ground):
    level = GROUNDS[ground](12, 48, generator(0, ground))
    counts = [len(x.unique()) for x in level]
    assert level.shape == (12, 48, 48) and level.min() >= 0 and level.max() < LABELS
    assert sum(c > 1 for c in counts) >= 10 and len(KINDS) == len(GROUNDS) + 2


def test_covers_leave_ground_and_use_their_own_labels():
    for cover, share in COVERS:
        label = cover(16, 48, generator(0, "cover"))
        drawn = label[label > 0]
        assert 0 < share < 1 and len(drawn) and drawn.min() >= LABELS and drawn.max() < LEVELS
        assert (label == 0).float().mean() > 0.3


def test_noise_has_the_scale_it_is_asked_for():
    sigma = torch.tensor([1.5, 6.0])
    x = noise(2, 96, sigma, torch.zeros(2), generator(0, "noise"))
    assert x.std((1, 2)).tolist() == pytest.approx([1, 1], abs=1e-3)
    # White noise blurred by σ has the correlation exp(-d² / 4σ²) at a distance d.
    for field, s in zip(x, sigma.tolist(), strict=True):
        d = round(2 * s)
        found = float((field * field.roll(d, 0)).mean())
        assert found == pytest.approx(float(torch.tensor(-(d**2) / (4 * s * s)).exp()), abs=0.15)


def test_cells_have_the_size_they_are_asked_for():
    first, second, number = cellular(3, 96, torch.tensor([8.0, 16.0, 32.0]), generator(0, "cells"))
    assert (first <= second).all() and first.min() >= 0
    counts = [len(n.unique()) for n in number]
    assert counts[0] > counts[1] > counts[2] > 4
    assert counts[0] == pytest.approx((96 / 8) ** 2, rel=0.35)
