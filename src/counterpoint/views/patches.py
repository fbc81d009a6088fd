"""Aligned patches of several modalities: one geometry, but an appearance and a quarter turn of their own."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from counterpoint.core.errors import InputError
from counterpoint.core.types import Batch, View, Views


def tile_side(size: int, scale: tuple[float, float] = (1.0, 1.0), rotate: bool = True) -> int:
    """Side in pixels of the tile that holds a patch at every rotation and scale, so that nothing is mirrored.

    It is odd where ``size`` is odd: patch and tile then share their center, and a patch that is neither
    rotated nor scaled consists of the tile's own pixels.

    Args:
        size: Side of the patch in pixels.
        scale: Smallest and largest number of tile pixels that a patch pixel spans.
        rotate: Whether the patch may lie askew.
    """
    reach = (size - 1) * max(scale) * (math.sqrt(2) if rotate else 1)
    side = max(math.ceil(reach - 1e-6) + 1, size)
    return side + (side - size) % 2


def turned(x: Tensor, quarters: Tensor) -> Tensor:
    """Each map of a batch turned counterclockwise by its own number of quarter turns; exact, differentiable.

    Args:
        x: (B, C, S, S).
        quarters: (B,) integers; negative ones turn back.

    Returns:
        (B, C, S, S).

    Raises:
        ValueError: the maps are not square.
    """
    if x.shape[-1] != x.shape[-2]:
        raise ValueError(f"x: expected square maps, found {tuple(x.shape)}")
    quarters = quarters.to(x.device) % 4
    order = quarters.argsort(stable=True)  # grouped by turn: four rotations, whatever the batch size
    groups = x[order].split(torch.bincount(quarters, minlength=4).tolist())
    return torch.cat([torch.rot90(g, k, (-2, -1)) for k, g in enumerate(groups)])[order.argsort()]


class TurnedPatches:
    """Cuts patches from larger tiles that show the same thing in several modalities.

    Geometry is drawn once a sample and is the same for all modalities: rotation, scale, flip, bilinear
    interpolation (CoMIR, arXiv:2006.06325). Appearance (off by default) and quarter turns are drawn for every
    sample and modality on its own; ``View.undo`` takes the turn back from a map of any resolution.
    All randomness comes from the generator of the call.
    """

    def __init__(
        self,
        roles: tuple[str, ...],
        size: int,
        *,
        rotate: bool = True,
        flip: bool = True,
        scale: tuple[float, float] = (1.0, 1.0),
        blur: float = 0.0,
        jitter: float = 0.0,
        noise: float = 0.0,
        turn: bool = True,
    ) -> None:
        """Say what is drawn.

        Args:
            roles: Keys of a batch, each (B, C, T, T) float; C may differ, T may not.
            size: Side of the patches in pixels.
            rotate: Rotate by an angle uniform in ±180°.
            flip: Mirror left and right, half of the samples.
            scale: Smallest and largest number of tile pixels that a patch pixel spans; log-uniform.
            blur: Largest σ in pixels of a Gaussian blur, given to half of the patches, uniform in [0, blur].
            jitter: Largest change of intensity: x → c·(x^γ − mean) + mean + b with log c, log γ and b
                uniform in ±jitter, for intensities in [0, 1].
            noise: Largest σ of additive Gaussian noise, uniform in [0, noise]; in units of intensity.
            turn: Turn every patch by 0, 1, 2 or 3 quarters, each modality for itself.

        Raises:
            InputError: a size or a strength that cannot be.
        """
        if size < 1:
            raise InputError(f"size: expected at least 1 pixel, found {size}")
        if not 0 < scale[0] <= scale[1]:
            raise InputError(f"scale: expected 0 < smallest ≤ largest, found {scale}")
        if min(blur, jitter, noise) < 0:
            raise InputError(
                f"blur, jitter, noise: expected no negative number, found {blur}, {jitter}, {noise}"
            )
        self.roles, self.size, self.rotate, self.flip, self.scale = roles, size, rotate, flip, scale
        self.blur, self.jitter, self.noise, self.turn = blur, jitter, noise, turn
        self.tile = tile_side(size, scale, rotate)
        """Side T of the tiles it needs, in pixels; larger ones will do."""

    def __call__(self, batch: Batch, rng: torch.Generator) -> Views:
        """One view a role, (B, C, size, size); raises ``ValueError`` if tiles are small or differ."""
        sides = {side for role in self.roles for side in batch[role].shape[-2:]}
        if len(sides) != 1 or min(sides) < self.tile:
            raise ValueError(
                f"{self.roles}: expected square tiles of ≥ {self.tile}, found sides {sorted(sides)}"
            )
        count, side = len(batch["id"]), sides.pop()
        unit = self.size / side  # affine_grid measures in halves: of the patch here, of the tile there
        theta = self._geometry(count, rng) * unit
        views = []
        for role in self.roles:
            tiles: Tensor = batch[role]
            where = affine_grid(theta.to(tiles), [count, 1, self.size, self.size], align_corners=False)
            x = grid_sample(tiles, where, mode="bilinear", padding_mode="reflection", align_corners=False)
            x = self._appearance(x, rng)
            if not self.turn:
                views.append(View(x, batch["id"], role))
                continue
            quarters = torch.randint(4, (count,), generator=rng).to(x.device)
            views.append(View(turned(x, quarters), batch["id"], role, partial(turned, quarters=-quarters)))
        return tuple(views)

    def _geometry(self, count: int, rng: torch.Generator) -> Tensor:
        """(count, 2, 3): offsets (x, y) from a patch's center → offsets from its tile's center, in pixels."""
        angle = (2 * torch.rand(count, generator=rng) - 1) * (math.pi if self.rotate else 0)
        low, high = (math.log(s) for s in self.scale)
        scale = (low + (high - low) * torch.rand(count, generator=rng)).exp()
        mirror = 1 - 2 * torch.randint(2, (count,), generator=rng) * int(self.flip)
        c, s, zero = scale * angle.cos(), scale * angle.sin(), torch.zeros(count)
        return torch.stack([c * mirror, -s, zero, s * mirror, c, zero], 1).view(count, 2, 3)

    def _appearance(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """``x`` (B, C, S, S) blurred, with other intensities, and with noise, as far as switched on."""

        def draw(low: float, high: float) -> Tensor:
            return (low + (high - low) * torch.rand(len(x), 1, 1, 1, generator=rng)).to(x)

        if self.blur:
            sigma = draw(0, self.blur) * (draw(0, 1) < 0.5)
            x = _blurred(x, sigma.view(-1, 1), 2 * math.ceil(3 * self.blur) + 1)
        if self.jitter:
            gamma, contrast = draw(-self.jitter, self.jitter).exp(), draw(-self.jitter, self.jitter).exp()
            x = x.clamp(min=0) ** gamma
            mean = x.mean((1, 2, 3), keepdim=True)
            x = contrast * (x - mean) + mean + draw(-self.jitter, self.jitter)
        if self.noise:
            x = x + draw(0, self.noise) * torch.randn(x.shape, generator=rng).to(x)
        return x


def _blurred(x: Tensor, sigma: Tensor, window: int) -> Tensor:
    """Gaussian blur of each sample with its own σ, (B, 1) in pixels; 0 leaves it as it is."""
    from kornia.filters import gaussian_blur2d

    # a σ of 0 would divide by 0; below 0.1 px the neighbors' weight is 0 in float32 anyway
    sigma = sigma.clamp(min=1e-2).expand(-1, 2)
    return gaussian_blur2d(x, (window, window), sigma, border_type="replicate")
