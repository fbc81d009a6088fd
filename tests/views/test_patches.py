from __future__ import annotations

import math

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.core.types import Views
from counterpoint.views.patches import TurnedPatches, tile_side, turned

ROLES = ("fixed", "moving")
STILL = {"rotate": False, "flip": False, "turn": False}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(count: int, side: int, seed: int = 0) -> dict[str, torch.Tensor]:
    x = torch.rand(count, 3, side, side, generator=rng(seed))
    return {"fixed": x[:, :1], "moving": x[:, 1:], "id": torch.arange(count)}


def same(a: Views, b: Views) -> bool:
    return all(torch.equal(x.x, y.x) and torch.equal(x.ids, y.ids) for x, y in zip(a, b, strict=True))


def test_undo_takes_the_turn_back_exactly_at_any_resolution():
    x, k = torch.rand(9, 2, 6, 6), torch.tensor([0, 1, 2, 3, 3, 2, 1, 0, 1])
    y = turned(x, k)
    for i in range(9):
        assert torch.equal(y[i], torch.rot90(x[i], int(k[i]), (-2, -1)))
    assert torch.equal(turned(y, -k), x)
    data = batch(9, tile_side(8))
    with_turn = TurnedPatches(ROLES, 8)(data, rng())
    for view in with_turn:
        marked = torch.rand(9, 5, 3, 3)  # a coarse map, as a bottleneck has it
        there = view.undo(marked)
        assert any(not torch.equal(there[i], marked[i]) for i in range(9))
        again = there
        for _ in range(3):
            again = view.undo(again)
        assert torch.equal(again, marked)  # four times the same turn is none


def test_turns_differ_between_modalities_and_samples():
    data = {role: torch.arange(16.0).view(1, 1, 4, 4).expand(200, 1, 4, 4) for role in ROLES}
    views = TurnedPatches(ROLES, 4, rotate=False, flip=False)({**data, "id": torch.arange(200)}, rng())
    turns = []
    for view in views:
        torch.testing.assert_close(view.undo(view.x), data["fixed"], rtol=0, atol=1e-4)
        kinds = [torch.rot90(data["fixed"][0], k, (-2, -1)) for k in range(4)]
        turns.append([next(k for k in range(4) if (x - kinds[k]).abs().max() < 0.1) for x in view.x])
        assert all(turns[-1].count(k) > 25 for k in range(4))
    agree = sum(a == b for a, b in zip(*turns, strict=True))
    assert 25 < agree < 80  # a quarter of 200 by chance


def test_the_generator_decides_everything():
    views = TurnedPatches(ROLES, 8, scale=(0.8, 1.25), blur=1.0, jitter=0.2, noise=0.1)
    data = batch(4, views.tile)
    assert same(views(data, rng(3)), views(data, rng(3)))
    assert not same(views(data, rng(3)), views(data, rng(4)))


def test_positions_stay_aligned_whatever_is_drawn():
    views = TurnedPatches(ROLES, 16, scale=(0.7, 1.4))
    x = torch.rand(6, 1, views.tile, views.tile, generator=rng())
    fixed, moving = views({"fixed": x, "moving": x.clone(), "id": torch.arange(6)}, rng(1))
    torch.testing.assert_close(fixed.undo(fixed.x), moving.undo(moving.x), rtol=0, atol=0)


@pytest.mark.parametrize(("size", "side"), [(8, 11), (9, 13), (9, 20)])
def test_an_unrotated_patch_is_the_center_of_the_tile(size, side):
    side += (side - size) % 2
    data = batch(2, side)
    edge = (side - size) // 2
    for view in TurnedPatches(ROLES, size, **STILL)(data, rng()):
        expected = data[view.role][..., edge : edge + size, edge : edge + size]
        torch.testing.assert_close(view.x, expected, rtol=0, atol=1e-5)
    for view in TurnedPatches(ROLES, size, **{**STILL, "flip": True})(data, rng()):
        kinds = data[view.role][..., edge : edge + size, edge : edge + size]
        kinds = torch.stack([kinds, kinds.flip(-1)])
        assert (view.x - kinds).abs().amax((2, 3, 4)).min(0).values.max() < 1e-5


def test_corners_show_the_scene_and_nothing_mirrored():
    # a ramp x + 1000·y tells where a pixel came from; linear interpolation keeps a ramp exact
    views = TurnedPatches(ROLES, 16, scale=(0.8, 1.5), turn=False)
    line = torch.arange(views.tile, dtype=torch.float64)
    tiles = torch.stack([line.expand(views.tile, -1), line[:, None].expand(-1, views.tile)]).expand(
        64, 2, -1, -1
    )
    (view, _) = views({"fixed": tiles, "moving": tiles, "id": torch.arange(64)}, rng())
    x, y = view.x[:, 0], view.x[:, 1]
    step = torch.stack([x[:, 0, 1] - x[:, 0, 0], y[:, 0, 1] - y[:, 0, 0]], 1)
    down = torch.stack([x[:, 1, 0] - x[:, 0, 0], y[:, 1, 0] - y[:, 0, 0]], 1)
    torch.testing.assert_close(step.norm(dim=1), down.norm(dim=1), rtol=1e-4, atol=0)
    assert (step * down).sum(1).abs().max() < 1e-3
    far = torch.stack([x[:, -1, -1] - x[:, 0, 0], y[:, -1, -1] - y[:, 0, 0]], 1)
    torch.testing.assert_close(
        far, 15 * (step + down), rtol=1e-4, atol=1e-3
    )  # straight from corner to corner
    middle = torch.stack([x.mean((1, 2)), y.mean((1, 2))], 1)
    torch.testing.assert_close(middle, torch.full_like(middle, (views.tile - 1) / 2), rtol=0, atol=1e-3)
    scale, angle = step.norm(dim=1), torch.atan2(step[:, 1], step[:, 0])
    assert 0.8 - 1e-6 <= scale.min() < 0.9 and 1.4 < scale.max() <= 1.5 + 1e-6
    assert angle.min() < -2.5 and angle.max() > 2.5
    flipped = (step[:, 0] * down[:, 1] - step[:, 1] * down[:, 0]) < 0
    assert 20 < flipped.sum() < 44


def test_tile_side_is_the_smallest_of_its_parity():
    for size in (1, 7, 64):
        for scale in ((1.0, 1.0), (0.5, 1.3)):
            side = tile_side(size, scale)
            needed = (size - 1) * math.sqrt(2) * scale[1] + 1
            assert needed - 1e-6 <= side < needed + 2 and (side - size) % 2 == 0
    assert tile_side(64, rotate=False) == 64
    assert tile_side(64) == 92


def test_appearance_is_off_by_default_and_each_modality_draws_its_own():
    x = torch.rand(50, 1, 8, 8, generator=rng())
    data = {"fixed": x, "moving": x, "id": torch.arange(50)}
    for change in ({"blur": 2.0}, {"jitter": 0.3}, {"noise": 0.2}):
        views = TurnedPatches(ROLES, 8, **STILL, **change)
        fixed, moving = views(data, rng())
        moved = [(v.x - x).abs().amax((1, 2, 3)) for v in (fixed, moving)]
        share = [(m > 1e-4).double().mean() for m in moved]
        assert all((0.25 < s < 0.75) if "blur" in change else s > 0.9 for s in share)
        assert not torch.equal(moved[0], moved[1])


def test_noise_and_blur_have_the_strength_that_was_asked_for():
    flat = {role: torch.full((400, 1, 8, 8), 0.5) for role in ROLES}
    (view, _) = TurnedPatches(ROLES, 8, **STILL, noise=0.2)({**flat, "id": torch.arange(400)}, rng())
    sigma = (view.x - 0.5).std((1, 2, 3))
    assert sigma.mean() == pytest.approx(0.1, rel=0.1) and 0.17 < sigma.max() < 0.25
    dot = torch.zeros(400, 1, 31, 31)
    dot[:, :, 15, 15] = 1
    (view, _) = TurnedPatches(ROLES, 31, **STILL, blur=2.0)(
        {"fixed": dot, "moving": dot, "id": torch.arange(400)}, rng()
    )
    at = torch.arange(31) - 15.0
    variance = (view.x * at.square()).sum((1, 2, 3))
    assert view.x.sum((1, 2, 3)) == pytest.approx(1, abs=1e-3)
    assert 3.0 < variance.max() < 4.05 and (variance < 1e-6).double().mean() == pytest.approx(0.5, abs=0.1)


def test_jitter_is_the_formula_and_keeps_the_mean_within_its_bounds():
    x = torch.rand(100, 2, 8, 8, generator=rng())
    (view, _) = TurnedPatches(ROLES, 8, **STILL, jitter=0.1)(
        {"fixed": x, "moving": x, "id": torch.arange(100)}, rng()
    )
    shift = view.x.mean((1, 2, 3)) - x.mean((1, 2, 3))
    assert 0.05 < shift.abs().max() < 0.1 + 0.05  # brightness ±0.1, and a little from gamma
    order = x[0].flatten().argsort()
    assert (view.x[0].flatten()[order].diff() >= -1e-6).all()  # a rising curve of intensity


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match="scale"):
        TurnedPatches(ROLES, 8, scale=(1.2, 1.0))
    with pytest.raises(InputError, match="blur"):
        TurnedPatches(ROLES, 8, noise=-1)
    with pytest.raises(InputError, match="size"):
        TurnedPatches(ROLES, 0)
    with pytest.raises(ValueError, match="square tiles of ≥ 12"):
        TurnedPatches(ROLES, 8)(batch(2, 11), rng())
    with pytest.raises(ValueError, match="square maps"):
        turned(torch.rand(1, 1, 2, 3), torch.tensor([1]))
