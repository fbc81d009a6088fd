from __future__ import annotations

import inspect

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.views import presets
from counterpoint.views.presets import (
    BYOLCrops,
    CACRCrops,
    DINOCrops,
    ManyCrops,
    MoCoCrops,
    OBoWCrops,
    PlainCrop,
    Preset,
    SimCLRCrops,
    SwAVCrops,
)

BATCH = {"image": torch.rand(6, 3, 20, 20, generator=generator(1)), "id": torch.arange(6)}
ALL = [c for c in vars(presets).values() if inspect.isclass(c) and issubclass(c, Preset) and c is not Preset]


@pytest.mark.parametrize("preset", ALL, ids=lambda p: p.__name__)
def test_presets_are_at_hand_at_any_size(preset):
    views = preset(size=16).build()(BATCH, generator(0))
    assert views[0].x.shape == (6, 3, 16, 16) and len(views) in (1, 2, 4, 5, 8, 10)
    assert preset.from_dict(preset(flip=0.0).to_dict()) == preset(flip=0.0)


@pytest.mark.parametrize("preset", ALL, ids=lambda p: p.__name__)
def test_settings_reach_every_set(preset):
    for crops in preset(strength=0.25, flip=0.0).crops():
        assert crops.strength == 0.25 and crops.flip == 0.0


def test_presets_are_those_of_the_papers():
    first, second = BYOLCrops(blur=(1.0, 0.1)).crops()
    assert (first.blur, first.solarize, second.blur, second.solarize) == (1.0, 0.0, 0.1, 0.2)
    assert first.amounts == second.amounts == (0.4, 0.4, 0.2, 0.1)
    wide, small = SwAVCrops(local=12).crops()
    assert (wide.count, wide.area, small.count, small.area) == (2, (0.14, 1.0), 6, (0.05, 0.14))
    assert (wide.size, small.size, wide.role, small.role) == (32, 12, "global", "local")
    assert [c.role for c in DINOCrops().crops()] == ["global", "global", "local"]
    assert [c.area for c in DINOCrops().crops()] == [(0.4, 1.0), (0.4, 1.0), (0.05, 0.4)]
    assert [c.blur for c in DINOCrops(blur=(1.0, 0.1, 0.5)).crops()] == [1.0, 0.1, 0.5]
    assert len(DINOCrops(locals=0).build()(BATCH, generator(0))) == 2
    (simclr,), (moco,) = SimCLRCrops(blur=0.5).crops(), MoCoCrops().crops()
    assert (simclr.area, moco.area, simclr.count, moco.count) == ((0.08, 1.0), (0.2, 1.0), 2, 2)
    assert simclr.blur == 0.5 and simclr.amounts == (0.4, 0.4, 0.4, 0.1)
    (many,), (cacr,) = ManyCrops(count=3).crops(), CACRCrops().crops()
    assert (many.count, many.area, many.amounts) == (3, simclr.area, simclr.amounts)
    assert (cacr.count, cacr.area, cacr.jittered, cacr.amounts) == (5, (0.2, 1.0), 1.0, (0.4,) * 4)


def test_a_teacher_sees_the_image_itself_and_a_plain_crop_keeps_its_color():
    whole, *_, small = OBoWCrops(size=20, flip=0.0, locals=2).build()(BATCH, generator(0))
    assert torch.allclose(whole.x, BATCH["image"], atol=1e-6) and small.x.shape[-1] == 16
    roles = [c.role for c in OBoWCrops().crops() for _ in range(c.count)]
    assert roles == ["whole", *["crops"] * 2, *["patches"] * 5]
    tint = BATCH["image"][:, :1] * torch.tensor([0.2, 0.5, 1.0]).view(3, 1, 1)
    (crop,) = PlainCrop(size=16).build()({"image": tint, "id": BATCH["id"]}, generator(0))
    assert torch.allclose(crop.x[:, 1], 0.5 * crop.x[:, 2], atol=1e-5)


def test_a_wrong_setting_is_refused_in_a_sentence():
    with pytest.raises(InputError, match=r"crops.flip: expected a share in \[0, 1\], found 2"):
        SimCLRCrops(flip=2.0).build()
