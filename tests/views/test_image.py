from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch

from counterpoint.core.config import Config
from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.views.image import AsIs, Crops, MultiCrop
from counterpoint.views.presets import DINOCrops, SwAVCrops

PLAIN = Crops(size=16, strength=0.0, gray=0.0)


def batch(count: int = 6, side: int = 20, channels: int = 3) -> dict[str, torch.Tensor]:
    x = torch.rand(count, channels, side, side, generator=generator(1))
    return {"image": x, "id": torch.arange(10, 10 + count)}


def test_one_view_a_crop_in_the_order_of_the_sets():
    views = MultiCrop((Crops(count=2, size=16), Crops(count=3, size=8, role="local")))(batch(), generator(0))
    assert [v.role for v in views] == ["global"] * 2 + ["local"] * 3
    assert [tuple(v.x.shape) for v in views] == [(6, 3, 16, 16)] * 2 + [(6, 3, 8, 8)] * 3
    assert all(torch.equal(v.ids, torch.arange(10, 16)) for v in views)
    assert all(v.x.min() >= 0 and v.x.max() <= 1 for v in views)
    assert not torch.equal(views[0].x, views[1].x)


def test_a_crop_of_everything_is_the_sample():
    whole = replace(PLAIN, size=20, area=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0)
    (view,) = MultiCrop((whole,))(batch(), generator(0))
    torch.testing.assert_close(view.x, batch()["image"])
    torch.testing.assert_close(view.undo(view.x), batch()["image"])
    (mirrored,) = MultiCrop((replace(whole, flip=1.0),))(batch(), generator(0))
    torch.testing.assert_close(mirrored.x, batch()["image"].flip(-1))
    torch.testing.assert_close(mirrored.undo(mirrored.x), batch()["image"])


def test_the_geometry_is_the_same_whatever_happens_to_the_color():
    for crops in (replace(PLAIN, strength=1.0), replace(PLAIN, blur=1.0), replace(PLAIN, solarize=1.0)):
        (plain,), (changed,) = (MultiCrop((c,))(batch(), generator(0)) for c in (PLAIN, crops))
        assert torch.equal(plain.undo.box, changed.undo.box) and not torch.equal(plain.x, changed.x)


def test_strength_is_one_knob_for_the_jitter():
    apart = []
    for strength in (0.0, 0.25, 1.0):
        (view,) = MultiCrop((replace(PLAIN, strength=strength),))(batch(), generator(0))
        (plain,) = MultiCrop((PLAIN,))(batch(), generator(0))
        apart.append(float((view.x - plain.x).abs().mean()))
    assert apart[0] == 0 < 2 * apart[1] < apart[2]
    assert replace(PLAIN, strength=0.5).amounts == (0.4, 0.4, 0.4, 0.1)


def test_gray_and_other_images_have_views_too():
    for channels in (1, 2, 5):
        views = DINOCrops(size=16, local=8, locals=2).build()(batch(channels=channels), generator(0))
        assert [v.x.shape[:2] for v in views] == [(6, channels)] * 4
        assert all(v.x.isfinite().all() for v in views)


def test_crops_are_settings_of_a_method():
    @dataclass(frozen=True, kw_only=True)
    class Settings(Config):
        crops: tuple[Crops, ...] = SwAVCrops().crops()
        """Crops."""

    plain = Settings().to_dict()
    assert plain["crops"][1]["role"] == "local" and Settings.from_dict(plain) == Settings()
    plain["crops"][0]["area"] = [0.5, 2.0]
    with pytest.raises(
        InputError, match=r"crops.area: expected 0 < smallest ≤ largest ≤ 1, found \(0.5, 2.0\)"
    ):
        Settings.from_dict(plain)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"size": 0}, "size ≥ 1"),
        ({"count": -1}, "count ≥ 0"),
        ({"area": (0.0, 1.0)}, "area"),
        ({"ratio": (2.0, 1.0)}, "ratio"),
        ({"sigma": (0.0, 1.0)}, "sigma"),
        ({"blur": 1.5}, "share"),
        ({"strength": -1.0}, "no negative amount"),
        ({"strength": 3.0}, "hue of at most 0.5"),
    ],
)
def test_wrong_settings_are_refused_in_a_sentence(wrong, said):
    with pytest.raises(InputError, match=said):
        Crops(**wrong)


def test_wrong_input_is_refused():
    with pytest.raises(InputError, match="expected at least one crop, found none"):
        MultiCrop((Crops(count=0),))
    with pytest.raises(
        ValueError, match=r"expected \(B, C, H, W\) float, found \(6, 3, 20, 20\) torch.uint8"
    ):
        MultiCrop((PLAIN,))(batch() | {"image": torch.zeros(6, 3, 20, 20, dtype=torch.uint8)}, generator(0))


def test_as_is_hands_entries_on():
    data = batch() | {"other": torch.rand(6, 1, 4, 4)}
    views = AsIs(("image", "other"))(data, generator(0))
    assert [v.role for v in views] == ["image", "other"] and views[1].x is data["other"]
    assert views[0].undo(views[0].x) is data["image"]
