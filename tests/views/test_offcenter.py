from __future__ import annotations

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.views.image import Crops
from counterpoint.views.offcenter import off_center
from counterpoint.views.place import drawn_boxes
from counterpoint.views.presets import UnlikeCrops

COUNT = 4000


def boxes(area=(0.04, 1.0), flip=0.5) -> torch.Tensor:
    return drawn_boxes(COUNT, (20, 30), area, (0.75, 4 / 3), flip, generator(0, "boxes"))


def test_sides_and_mirroring_stay_and_no_box_leaves_the_sample():
    before = boxes()
    after = off_center(before, 0.1, generator(1))
    assert torch.allclose(after[:, 2:] - after[:, :2], before[:, 2:] - before[:, :2], atol=1e-6)
    assert after.min() > -1e-6 and after.max() < 1 + 1e-6
    assert torch.equal(after, off_center(before, 0.1, generator(1)))


@pytest.mark.parametrize(
    ("law", "spread"), [(0.1, 0.5 / 1.2**0.5), (0.6, 0.5 / 2.2**0.5), (1.0, 0.5 / 3**0.5)]
)
def test_centers_follow_the_law_within_the_middle_half(law, spread):
    """Beta(a, a) has a deviation of 1 / (2√(2a + 1)); a small box's center may go from 1/4 to 3/4."""
    after = off_center(boxes(area=(0.04, 0.1), flip=0.0), law, generator(1))
    center = (after[:, :2] + after[:, 2:]) / 2
    assert center.min() >= 0.25 - 1e-6 and center.max() <= 0.75 + 1e-6
    assert center.mean().item() == pytest.approx(0.5, abs=0.01)
    assert 2 * center.std().item() == pytest.approx(spread, rel=0.03)


def test_large_boxes_go_as_far_as_the_sample_has_room():
    """The center of a box of three quarters is at 3/8 to 5/8; of the whole, in the middle."""
    box = torch.tensor([[0.0, 0.0, 0.75, 1.0]]).repeat(COUNT, 1)
    start = off_center(box, 0.1, generator(1))[:, :2]
    assert start[:, 0].min() < 0.001 and start[:, 0].max() > 0.249 and (start[:, 1] == 0).all()


def test_the_first_of_unlike_crops_avoids_the_middle():
    first, second = UnlikeCrops(off_center=0.3).crops()
    assert (first.off_center, second.off_center, first.count, second.count) == (0.3, 0.0, 1, 1)
    with pytest.raises(InputError, match=r"crops\.off_center: expected a number ≥ 0, found -1"):
        Crops(off_center=-1)
