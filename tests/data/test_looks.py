from __future__ import annotations

import pytest
import torch

from counterpoint.core.rng import generator
from counterpoint.data.looks import _blurred, _looked_up, _ranged, _tables, rendered
from counterpoint.data.scenes import LABELS, LEVELS, Scenes, scenes


def halves(count: int, side: int = 48) -> Scenes:
    """The left half is level 0, the right half level 5."""
    level = torch.zeros(count, 2, side, side)
    level[..., side // 2 :] = 5
    return Scenes(level, torch.zeros(count, dtype=torch.bool))


def test_two_instruments_share_the_geometry_and_nothing_else():
    x = rendered(halves(96), generator(0, "looks"))
    assert x.shape == (96, 2, 48, 48) and x.isfinite().all() and x.min() >= 0 and x.max() <= 1
    left, right = x[..., 4:20].mean((2, 3)), x[..., 28:44].mean((2, 3))
    step = right - left
    assert (step.abs() > 0.05).float().mean() > 0.5  # the edge is seen
    same_sign = (step[:, 0] * step[:, 1] > 0).float().mean()
    assert 0.3 < same_sign < 0.7  # but not which side is the bright one
    assert torch.equal(x, rendered(halves(96), generator(0, "looks")))
    assert not torch.equal(x, rendered(halves(96), generator(1, "looks")))


def test_tables_are_read_between_their_entries():
    table = torch.arange(LEVELS).float()[None].repeat(2, 1) * torch.tensor([[1.0], [-2.0]])
    level = torch.tensor([0.0, 2.5, LEVELS - 1.0]).view(1, 1, 3).repeat(2, 1, 1)
    assert _looked_up(table, level).flatten().tolist() == [0, 2.5, 31, 0, -5, -62]


def test_photographs_get_a_smooth_tone_curve_and_labels_do_not():
    smooth = torch.tensor([True, False]).repeat(50)
    table = _tables(100, smooth, generator(0, "tables"))
    jump = table[..., :LABELS].diff(dim=2).abs().mean((1, 2))
    assert table.min() >= 0 and table.max() <= 1
    assert jump[smooth].mean() < 0.6 * jump[~smooth].mean()
    slopes = table[smooth][..., :LABELS].diff(dim=2)
    folded = ((slopes > 0).any(2) & (slopes < 0).any(2)).float().mean()
    assert 0.3 < folded < 0.95


def test_blur_has_its_width_and_ranges_are_whole():
    x = torch.zeros(2, 33, 33)
    x[:, 16, 16] = 1
    axis = torch.arange(33.0) - 16
    for blurred, sigma in zip(_blurred(x, torch.tensor([0.8, 2.0])), (0.8, 2.0), strict=True):
        assert float(blurred.sum()) == pytest.approx(1, rel=1e-4)
        assert float((blurred.sum(0) * axis.square()).sum()) == pytest.approx(sigma**2, rel=0.02)
    ranged = _ranged(torch.randn(2, 16, 16, generator=generator(0, "x")) * 5 + 3)
    assert ranged.amin((1, 2)).tolist() == [0, 0] and ranged.amax((1, 2)).tolist() == pytest.approx([1, 1])


def test_every_scene_can_be_rendered():
    for side in (16, 41):
        x = rendered(scenes(32, side, [], generator(0, "scenes")), generator(0, "looks"))
        assert x.isfinite().all() and (x.flatten(2).std(2) > 0).float().mean() > 0.85
