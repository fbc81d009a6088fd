from __future__ import annotations

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.core.types import View
from counterpoint.views.image import Crops
from counterpoint.views.overlap import OverlappingCrops, SlotConCrops, box_of, cut, overlap, upright


def batch(count: int = 64) -> dict[str, torch.Tensor]:
    return {"image": torch.rand(count, 1, 12, 12, generator=generator(1)), "id": torch.arange(count)}


def test_overlaps_by_hand():
    a = torch.tensor([[0.0, 0.0, 0.5, 1.0], [0.5, 0.2, 0.1, 0.6], [0.0, 0.0, 0.2, 0.2]])
    b = torch.tensor([[0.25, 0.5, 0.75, 1.0], [0.3, 0.0, 0.7, 0.4], [0.5, 0.5, 1.0, 1.0]])
    box, share = overlap(a, b)
    torch.testing.assert_close(box[0], torch.tensor([0.25, 0.5, 0.5, 1.0]))
    torch.testing.assert_close(box[1], torch.tensor([0.3, 0.2, 0.5, 0.4]))  # of a mirrored crop
    torch.testing.assert_close(share, torch.tensor([0.5, 0.25, 0.0]))
    assert torch.equal(box[2], b[2])  # nothing shared: any box will do that is one
    assert torch.equal(upright(a)[1], torch.tensor([0.1, 0.2, 0.5, 0.6]))


def test_both_crops_show_the_same_on_what_they_share_mirrored_or_not():
    """Maps linear in the place of the sample are the same on the shared part, whichever crop they are of."""
    a = torch.tensor([[0.7, 0.1, 0.1, 0.9]])  # mirrored
    b = torch.tensor([[0.3, 0.2, 0.9, 1.0]])

    def places(box: torch.Tensor) -> torch.Tensor:
        at = (torch.arange(8) + 0.5) / 8
        x, y = (box[0, i] + (box[0, i + 2] - box[0, i]) * at for i in (0, 1))
        return torch.stack([x.expand(8, 8), y[:, None].expand(8, 8)])[None]

    part, _ = overlap(a, b)
    one, other = (cut(places(box), box, part)[..., 1:-1, 1:-1] for box in (a, b))
    torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    assert (one[0, 0].diff(dim=1) > 0).all()  # mirrored back
    torch.testing.assert_close(one, places(part)[..., 1:-1, 1:-1], atol=1e-5, rtol=0)


def test_the_second_crop_is_drawn_until_it_shares_enough():
    small = Crops(size=8, area=(0.08, 0.12))
    shares = []
    for least in (0.0, 0.01, 0.2):
        views = OverlappingCrops((small, small), least)(batch(), generator(0, "views"))
        shares.append(overlap(*map(box_of, views))[1])
    assert (shares[0] == 0).sum() > 16 and (shares[1] < 0.01).sum() < 8
    assert ((shares[2] >= 0.2).sum() > (shares[1] >= 0.2).sum()) and len(shares[2].unique()) > 32


def test_what_already_shares_enough_stays_as_it_was_drawn():
    wide = Crops(size=8, area=(0.6, 1.0))
    once, often = (OverlappingCrops((wide, wide), least)(batch(), generator(0)) for least in (0.0, 0.01))
    assert all(torch.equal(box_of(a), box_of(b)) for a, b in zip(once, often, strict=True))


def test_slotcons_crops_are_byols():
    viewer = SlotConCrops(size=8, flip=0.0).build()
    first, second = viewer.crops
    assert first.area == (0.08, 1.0) and first.interpolation == "bicubic" and second.solarize == 0.2
    views = viewer(batch(), generator(0))
    assert all(v.x.shape == (64, 1, 8, 8) for v in views)
    boxes = box_of(views[0])
    assert (boxes[:, 0] < boxes[:, 2]).all()


def test_what_is_no_crop_and_nonsense_are_refused():
    with pytest.raises(ValueError, match="'label': expected a crop"):
        box_of(View(torch.zeros(2), torch.arange(2), "label"))
    with pytest.raises(InputError, match=r"least: expected a share in \[0, 1\], found 1.5"):
        SlotConCrops(least=1.5).build()
