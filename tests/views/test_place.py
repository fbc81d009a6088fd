from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from counterpoint.core.rng import generator
from counterpoint.views.place import Placed, drawn_boxes, resampled

WHOLE = torch.tensor([[0.0, 0.0, 1.0, 1.0]])


def waves(count: int, height: int, width: int) -> torch.Tensor:
    """(count, 2, height, width): smooth, the same function of the place in the frame at any size."""
    y, x = torch.meshgrid(
        (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij"
    )
    k = torch.arange(1, count + 1).view(-1, 1, 1)
    return torch.stack([(2 * k * x + y).sin(), (x - k * y).cos()], 1)


@pytest.mark.parametrize("cubic", [False, True])
@pytest.mark.parametrize("size", [(5, 7), (12, 9), (30, 40)])
def test_a_crop_is_what_pillow_makes_of_its_box(size, cubic):
    x, box = torch.rand(3, 2, 12, 16, generator=generator(0)), torch.tensor([
        [0.0, 0.0, 1.0, 1.0], [0.21, 0.33, 0.77, 0.9], [0.05, 0.5, 0.4, 0.55],
    ])  # fmt: skip
    ours = resampled(x, box, size, cubic=cubic)
    method = Pillow.Resampling.BICUBIC if cubic else Pillow.Resampling.BILINEAR
    for i in range(3):
        edges = tuple((box[i] * torch.tensor([16, 12, 16, 12])).tolist())
        for c in range(2):
            theirs = Pillow.fromarray(x[i, c].numpy()).resize(size[::-1], method, box=edges)
            np.testing.assert_allclose(ours[i, c], np.asarray(theirs), atol=2e-5)


def test_the_whole_sample_at_its_own_size_is_itself_and_a_turned_box_mirrors_it():
    x = torch.rand(2, 3, 6, 8, generator=generator(0))
    assert torch.equal(resampled(x, WHOLE.expand(2, -1), (6, 8)), x)
    mirrored = torch.tensor([[1.0, 0.0, 0.0, 1.0]]).expand(2, -1)
    torch.testing.assert_close(resampled(x, mirrored, (6, 8)), x.flip(-1), rtol=0, atol=1e-6)


def test_boxes_follow_their_law():
    boxes = drawn_boxes(4000, (20, 30), (0.2, 0.5), (0.5, 2.0), 0.25, generator(0))
    assert boxes.shape == (4000, 4) and boxes.min() >= 0 and boxes.max() <= 1 + 1e-6
    w, h = (boxes[:, 2] - boxes[:, 0]).abs(), boxes[:, 3] - boxes[:, 1]
    assert ((boxes[:, 2] < boxes[:, 0]).float().mean() - 0.25).abs() < 0.03
    area, ratio = w * h, (w * 30) / (h * 20)
    assert 0.2 - 1e-5 <= area.min() < 0.21 and 0.49 < area.max() <= 0.5 + 1e-5
    assert 0.5 - 1e-5 <= ratio.min() < 0.52 and 1.95 < ratio.max() <= 2 + 1e-5
    assert ratio.log().mean().abs() < 0.1  # as often wide as tall, as far as the frame has room
    assert boxes[:, [0, 2]].amin(1).min() < 0.01 and boxes[:, [0, 2]].amax(1).max() > 0.99


def test_where_no_box_fits_the_largest_of_the_allowed_shape_is_taken():
    boxes = drawn_boxes(50, (10, 40), (1.0, 1.0), (0.5, 2.0), 0.0, generator(0))
    sides = boxes[:, 2:] - boxes[:, :2]
    torch.testing.assert_close(sides, torch.tensor([[0.5, 1.0]]).expand(50, -1))  # 20 × 10 pixels


def test_half_of_an_image_put_back_lies_on_its_half():
    x = torch.arange(8.0).expand(1, 1, 4, 8)
    placed = Placed(torch.tensor([[0.5, 0.0, 1.0, 1.0]]), (4, 8), (4, 4))
    crop = resampled(x, placed.box, (4, 4))
    torch.testing.assert_close(crop[0, 0, 0], torch.tensor([4.0, 5, 6, 7]))
    back = placed(crop)
    assert back.shape == x.shape and back[..., :4].isnan().all()
    torch.testing.assert_close(back[..., 4:], x[..., 4:])


def test_crops_put_back_are_their_samples_where_they_saw_them():
    x = waves(40, 32, 48)[:8]
    for size in (24, 40):
        box = drawn_boxes(8, (32, 48), (0.3, 0.8), (0.7, 1.4), 0.5, generator(size))
        placed = Placed(box, (32, 48), (size, size))
        back = placed(resampled(x, box, (size, size)))
        seen = back.isfinite()
        area = ((box[:, 2] - box[:, 0]).abs() * (box[:, 3] - box[:, 1])).mean()
        assert back.shape == x.shape and seen.float().mean() == pytest.approx(float(area), abs=0.05)
        assert (back - x)[seen].abs().max() < 0.15 and (back - x)[seen].abs().mean() < 0.01


def test_maps_of_one_stride_are_put_on_one_grid_whatever_the_crop():
    box = drawn_boxes(3, (32, 48), (0.3, 0.8), (0.7, 1.4), 0.5, generator(0))
    assert Placed(box, (32, 48), (32, 32))(torch.rand(3, 5, 8, 8)).shape == (3, 5, 8, 12)
    assert Placed(box, (32, 48), (16, 16))(torch.rand(3, 5, 4, 4)).shape == (3, 5, 8, 12)


def test_gradients_reach_the_map_and_none_is_nan():
    box = drawn_boxes(2, (9, 9), (0.2, 0.4), (0.7, 1.4), 0.5, generator(0))
    maps = torch.rand(2, 3, 5, 5, requires_grad=True)
    Placed(box, (9, 9), (9, 9))(maps).nansum().backward()
    assert maps.grad is not None and maps.grad.isfinite().all() and maps.grad.abs().sum() > 0


def test_half_precision_is_computed_in_single():
    x = torch.rand(1, 1, 9, 9, generator=generator(0))
    box = torch.tensor([[0.1, 0.2, 0.7, 0.9]])
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(resampled(x, box, (7, 7)), resampled(x, box.double(), (7, 7)))
    half = resampled(x.bfloat16(), box, (7, 7))
    assert half.dtype == torch.float32 and math.isfinite(half.sum())
