"""Windows: two patches of one tile, the second turned by any angle, each at a place the other cannot know."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from counterpoint.core.errors import InputError
from counterpoint.core.types import Batch, View, Views
from counterpoint.views.patches import tile_side


class Windows:
    """Cuts, from tiles that show the same in two modalities, an upright window and a turned one.

    The first role's window is shifted by whole pixels and has the tile's own pixels; the second's is turned
    by any angle about the tile's center and, by a little more that ``View.undo`` does not know of, turned and
    zoomed: a search over a grid of angles and scales never hits them exactly.
    """

    def __init__(
        self,
        roles: tuple[str, str],
        size: int,
        *,
        turn: bool = True,
        tilt: float = 2.5,
        zoom: float = 0.05,
        spin: bool = False,
    ) -> None:
        """Say what is drawn.

        Args:
            roles: Keys of a batch: who stands upright, and who is turned; (B, C, T, T) float each.
            size: Side of the windows in pixels.
            turn: Turn the second by an angle uniform in ±180°.
            tilt: Largest turn in degrees that is not undone.
            zoom: Largest relative change of scale that is not undone.
            spin: Maps of an even number of channels are pairs (m cos 2φ, m sin 2φ) of a direction without a
                sign: ``undo`` turns the directions as well as their places.

        Raises:
            InputError: a size or a strength that cannot be.
        """
        if size < 1 or tilt < 0 or not 0 <= zoom < 1:
            raise InputError(f"size, tilt, zoom: expected ≥ 1, ≥ 0, [0, 1), found {size}, {tilt}, {zoom}")
        self.roles, self.size, self.turn, self.tilt, self.zoom = roles, size, turn, tilt, zoom
        self.spin = spin
        self.tile = tile_side(size, (1.0, 1.0 + zoom), turn or tilt > 0)
        """Side T of the tiles it needs, in pixels; larger ones are cut to it."""

    def __call__(self, batch: Batch, rng: torch.Generator) -> Views:
        """Two views (B, C, size, size); ``undo`` takes their maps into the tile's frame, NaN where unseen.

        Raises:
            ValueError: tiles are not square or too small.
        """
        upright, other = (self._middle(batch[role]) for role in self.roles)
        count, room = len(batch["id"]), self.tile - self.size
        corner = torch.randint(room + 1, (2, count), generator=rng).tolist()
        cut = [t[:, y : y + self.size, x : x + self.size] for t, y, x in zip(upright, *corner, strict=True)]
        angle = (2 * torch.rand(count, generator=rng) - 1) * (math.pi if self.turn else 0.0)
        tilt = (2 * torch.rand(count, generator=rng) - 1) * math.radians(self.tilt)
        scale = 1 + (2 * torch.rand(count, generator=rng) - 1) * self.zoom
        turned = resampled(other, angle + tilt, scale, self.size)
        back = partial(_turned_back, angle=angle, size=self.tile, spin=self.spin)
        place = partial(placed, top=corner[0], left=corner[1], size=self.tile)
        return (
            View(torch.stack(cut), batch["id"], self.roles[0], place),
            View(turned, batch["id"], self.roles[1], back),
        )

    def _middle(self, tiles: Tensor) -> Tensor:
        """The middle of tiles, T × T."""
        h, w = tiles.shape[-2:]
        if h != w or h < self.tile:
            raise ValueError(f"{self.roles}: expected square tiles of ≥ {self.tile}, found {(h, w)}")
        start = (h - self.tile) // 2
        return tiles[..., start : start + self.tile, start : start + self.tile]


def _turned_back(maps: Tensor, angle: Tensor, size: int, spin: bool) -> Tensor:
    scale = torch.ones_like(angle)
    out = resampled(maps, -angle, scale, size)
    seen = resampled(torch.ones_like(maps[:, :1]), -angle, scale, size) > 0.999
    out = torch.where(seen, out, torch.nan)
    return spun(out, angle) if spin and out.shape[1] % 2 == 0 else out


def spun(maps: Tensor, angle: Tensor) -> Tensor:
    """Pairs of double-angle channels (B, 2K, H, W) turned by twice the angle (B,), each pair for itself."""
    c, s = (f(2 * angle).to(maps)[:, None, None, None] for f in (torch.cos, torch.sin))
    x, y = maps[:, 0::2], maps[:, 1::2]
    return torch.stack((c * x - s * y, s * x + c * y), 2).flatten(1, 2)


def placed(maps: Tensor, top: list[int], left: list[int], size: int) -> Tensor:
    """(B, C, S, S) laid into (B, C, size, size), each at its own corner; around it is NaN."""
    side = maps.shape[-1]
    out = maps.new_full((*maps.shape[:2], size, size), torch.nan)
    for i, (y, x) in enumerate(zip(top, left, strict=True)):
        out[i, :, y : y + side, x : x + side] = maps[i]
    return out


def resampled(x: Tensor, angle: Tensor, scale: Tensor, size: int) -> Tensor:
    """(B, C, size, size) around the center of ``x``: pixel p shows what is at R(angle)·scale·p; else 0.

    ``angle`` in radians and ``scale`` (B,); bilinear.
    """
    side = x.shape[-1]
    axis = (torch.arange(size, device=x.device) - (size - 1) / 2).to(x.dtype)
    y0, x0 = torch.meshgrid(axis, axis, indexing="ij")
    c, s = ((scale * f(angle)).to(x)[:, None, None] for f in (torch.cos, torch.sin))
    at = torch.stack((c * x0 - s * y0, s * x0 + c * y0), -1) * (2 / side)
    return grid_sample(x, at, align_corners=False)
