from __future__ import annotations

import math

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.views.windows import Windows, resampled

ROLES = ("fixed", "moving")


def smooth_tiles(count: int, side: int) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(side).float(), torch.arange(side).float(), indexing="ij")
    phase = torch.arange(count)[:, None, None]
    return (0.5 + 0.25 * (x / 5 + phase).sin() + 0.25 * (y / 7 - x / 11 + phase).cos())[:, None]


def test_both_windows_go_back_into_the_tile():
    windows = Windows(ROLES, 40, tilt=0.0, zoom=0.0)
    tiles = smooth_tiles(6, windows.tile + 4)  # larger ones are cut in the middle
    fixed, moving = windows({"fixed": tiles, "moving": tiles, "id": torch.arange(6)}, generator(0, "v"))
    assert fixed.x.shape == moving.x.shape == (6, 1, 40, 40)
    tile = tiles[..., 2:-2, 2:-2]
    for view, tolerance in ((fixed, 1e-6), (moving, 0.02)):
        seen = view.undo(view.x).isfinite()
        assert (view.undo(view.x) - tile)[seen].abs().max() <= tolerance
        start = (windows.tile - 20) // 2
        assert seen[..., start : start + 20, start : start + 20].all()
    assert int(fixed.undo(fixed.x).isfinite().sum()) == 6 * 40 * 40
    assert not torch.allclose(moving.x, fixed.x, atol=0.05)


def test_what_is_not_undone_is_as_small_as_asked():
    windows = Windows(ROLES, 40, turn=False, tilt=3.0, zoom=0.0)
    tiles = smooth_tiles(4, windows.tile)
    _, moving = windows({"fixed": tiles, "moving": tiles, "id": torch.arange(4)}, generator(0, "v"))
    off = moving.undo(moving.x) - tiles
    middle = windows.tile // 2
    at = [off[..., middle : middle + 2, middle - d : middle - d + 2].abs().mean() for d in (0, 15)]
    assert at[0] < 0.5 * at[1] and 0.005 < at[1] < 0.1


def test_resampling_turns_and_zooms():
    y, x = torch.meshgrid(*[torch.arange(21.0) - 10] * 2, indexing="ij")
    image = torch.stack((x, y))[None]
    angle, scale = torch.tensor([math.radians(30)]), torch.tensor([1.2])
    out = resampled(image, angle, scale, 9)[0]
    u, v = 3.0, -2.0
    c, s = 1.2 * math.cos(math.radians(30)), 1.2 * math.sin(math.radians(30))
    assert out[:, 2, 7].tolist() == pytest.approx([c * u - s * v, s * u + c * v], abs=1e-4)


def test_directions_turn_with_the_image():
    """Double-angle gradients of the turned window, undone, are those of the tile."""

    def directions(x: torch.Tensor) -> torch.Tensor:
        gy, gx = torch.gradient(x, dim=(2, 3))
        return torch.cat((gx.square() - gy.square(), 2 * gx * gy), 1)

    windows = Windows(ROLES, 48, tilt=0.0, zoom=0.0, spin=True)
    tiles = smooth_tiles(5, windows.tile)
    _, moving = windows({"fixed": tiles, "moving": tiles, "id": torch.arange(5)}, generator(0, "v"))
    start = windows.tile // 2 - 10
    middle = (..., slice(start, start + 20), slice(start, start + 20))
    true = directions(tiles)[middle]
    found = moving.undo(directions(moving.x))[middle]
    unspun = resampled(directions(moving.x), torch.zeros(5), torch.ones(5), 20)
    assert (found - true).abs().mean() < 0.1 * true.abs().mean()
    assert (unspun - true).abs().mean() > 0.3 * true.abs().mean()


def test_bad_settings_and_tiles_are_refused():
    with pytest.raises(InputError, match="size, tilt, zoom"):
        Windows(ROLES, 0)
    windows = Windows(ROLES, 16)
    small = torch.rand(2, 1, 16, 16)
    with pytest.raises(ValueError, match="expected square tiles of ≥"):
        windows({"fixed": small, "moving": small, "id": torch.arange(2)}, generator(0, "v"))
