"""All translations at once, by FFT, for every rotation, scale and mirror image of a coarse grid.

Masked normalized cross-correlation: Padfield, Masked object registration in the Fourier domain, TIP 2012.
Mutual information of categories: Öfverstedt, Lindblad, Sladoje, Fast computation of mutual information in the
frequency domain with applications to global multimodal image alignment (CMIF), 2022.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn import functional as F

from counterpoint.registration.levels import Level


@dataclass(frozen=True, slots=True, eq=False)
class Peak:
    """A place where the score of a search is high."""

    matrix: np.ndarray
    """(3, 3) float64: fixed physical → moving physical."""
    score: float
    overlap: float
    """Share of the smaller image that overlaps."""
    pose: int
    """Index of the linear part it was found with."""


def poses(
    angle_step: float,
    scales: Sequence[float] = (1.0,),
    mirror: bool = False,
    angles: tuple[float, float] = (-180.0, 180.0),
) -> list[np.ndarray]:
    """(2, 2) linear parts over a range of angles in degrees, scales and, if asked for, mirror images.

    A mirror image is y → -y before the turn. Neighbors are at most ``angle_step`` degrees apart.
    """
    low, width = angles[0], min(angles[1] - angles[0], 360.0)
    count = int(np.ceil(width / angle_step))
    # A full circle ends where it began; a range of no width is one angle.
    turns = np.radians(low + width * np.arange(count if width == 360 else count + 1) / max(count, 1))
    flips = (1.0, -1.0) if mirror else (1.0,)
    return [
        s * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) @ np.diag([1.0, f])
        for f, s, a in product(flips, scales, turns)
    ]


def spun(maps: Tensor, linear: Tensor) -> Tensor:
    """Double-angle channels (B, 2, …) of the moving image as they look in the fixed frame.

    ``linear`` (B, 2, 2) maps fixed pixels to moving pixels; its rotation (and mirror) turns the channels
    (m cos 2θ, m sin 2θ) by twice the angle.
    """
    flip = torch.sign(torch.linalg.det(linear))
    angle = torch.atan2(linear[:, 1, 0] - flip * linear[:, 0, 1], linear[:, 0, 0] + flip * linear[:, 1, 1])
    shape = (-1,) + (1,) * (maps.ndim - 2)
    c, s = torch.cos(2 * angle).view(shape), torch.sin(2 * angle).view(shape)
    x, y = maps[:, 0], maps[:, 1]
    return torch.stack((c * x + s * y, flip.view(shape) * (c * y - s * x)), 1)


class Search:
    """One search: a fixed and a moving level, and the scores of all shifts for one pose after another."""

    def __init__(self, fixed: Level, moving: Level, overlap: float = 0.3, spin: bool = False) -> None:
        """``overlap``: least share of the smaller image; ``spin``: the maps are double-angle channels."""
        self.fixed, self.moving, self.overlap, self.spin = fixed, moving, overlap, spin
        self.to_moving = np.linalg.inv(moving.matrix)

    def _area(self, pixel: np.ndarray) -> float:
        """Pixels of the smaller image, as the fixed level counts them; ``pixel``: (2, 2) fixed → moving."""
        return float(min(self.fixed.mask.sum(), self.moving.mask.sum() / abs(np.linalg.det(pixel))))

    def run(
        self, linear: Sequence[np.ndarray], score: str = "ncc", per_pose: int = 3, chunk: int = 8
    ) -> list[Peak]:
        """The best shifts of every pose, best first."""
        found = [peak for part in self._chunks(linear, score, chunk) for peak in self._peaks(*part, per_pose)]
        return sorted(found, key=lambda p: -p.score)

    def _chunks(
        self, linear: Sequence[np.ndarray], score: str, chunk: int
    ) -> Iterator[tuple[int, list[np.ndarray], Tensor, Tensor]]:
        pixel = [self.to_moving[:2, :2] @ a @ self.fixed.matrix[:2, :2] for a in linear]
        mh, mw = self.moving.mask.shape
        reach = np.max([np.abs(np.linalg.inv(b)) @ (mw, mh) for b in pixel], axis=0)
        canvas = (int(np.ceil(reach[1])) + 1, int(np.ceil(reach[0])) + 1)
        area = [self._area(b) for b in pixel]
        pad = self._pad(canvas, min(area))
        scorer = {"ncc": _NCC, "mi": _MutualInformation}[score](self.fixed, pad)
        for start in range(0, len(pixel), chunk):
            part = pixel[start : start + chunk]
            maps, mask = self._turned(part, canvas, nearest=score == "mi")
            value, count = scorer(maps, mask)
            whole = torch.tensor(area[start : start + chunk])[:, None, None]
            value = value.masked_fill(count < (self.overlap * whole).clamp_min(1.0), -torch.inf)
            yield start, [self._canvas_to_moving(b, canvas) for b in part], value, count / whole

    def _pad(self, canvas: tuple[int, int], area: float) -> list[int]:
        """Periods (rows, columns) of the circular correlation.

        Two shifts that fall onto each other overlap, together, by (fixed + canvas - period) rows or columns.
        The period leaves that too little for them to be accepted.
        """
        pairs = list(zip(self.fixed.mask.shape, canvas, strict=True))
        least = [self.overlap * area / min(pair) for pair in reversed(pairs)]
        return [_fast(max(a, b, a + b + 1 - int(np.ceil(n)))) for (a, b), n in zip(pairs, least, strict=True)]

    def _canvas_to_moving(self, b: np.ndarray, canvas: tuple[int, int]) -> np.ndarray:
        """(3, 3): canvas pixel → moving pixel, center on center."""
        mh, mw = self.moving.mask.shape
        m = np.eye(3)
        m[:2, :2] = b
        m[:2, 2] = np.array([(mw - 1) / 2, (mh - 1) / 2]) - b @ [(canvas[1] - 1) / 2, (canvas[0] - 1) / 2]
        return m

    def _turned(
        self, part: Sequence[np.ndarray], canvas: tuple[int, int], nearest: bool
    ) -> tuple[Tensor, Tensor]:
        """The moving maps and mask as each pose shows them, on the canvas: (B, C, h, w), (B, h, w)."""
        mh, mw = self.moving.mask.shape
        m = torch.from_numpy(np.stack([self._canvas_to_moving(b, canvas) for b in part])).float()
        y, x = torch.meshgrid(torch.arange(canvas[0]), torch.arange(canvas[1]), indexing="ij")
        at = torch.stack((x, y), -1).float() @ m[:, None, :2, :2].mT + m[:, None, None, :2, 2]
        at = (2 * at + 1) / torch.tensor([mw, mh]) - 1
        both = self.moving.weighted.expand(len(part), -1, -1, -1)
        out = F.grid_sample(both, at, mode="nearest" if nearest else "bilinear", align_corners=False)
        maps, mask = out[:, :-1] / out[:, -1:].clamp_min(1e-3), out[:, -1]
        return (spun(maps, m[:, :2, :2]) if self.spin else maps), mask

    def _peaks(
        self, start: int, back: list[np.ndarray], value: Tensor, share: Tensor, per_pose: int
    ) -> Iterator[Peak]:
        top = F.max_pool2d(value[:, None], 5, 1, 2)[:, 0]
        best, where = value.masked_fill(value < top, -torch.inf).flatten(1).topk(per_pose)
        rows, cols = value.shape[1:]
        for i, b in enumerate(back):
            for v, k in zip(best[i].tolist(), where[i].tolist(), strict=True):
                if not np.isfinite(v):
                    continue
                sy, sx = divmod(k, cols)
                # fixed pixel x lies on canvas pixel x + shift; shifts past the half are negative ones
                h, w = self.fixed.mask.shape
                shift = np.eye(3)
                shift[:2, 2] = (_signed(sx, cols, w), _signed(sy, rows, h))
                matrix = self.moving.matrix @ b @ shift @ np.linalg.inv(self.fixed.matrix)
                yield Peak(matrix, v, float(share[i, sy, sx]), start + i)


def _signed(k: int, period: int, fixed: int) -> int:
    """The shift that index ``k`` of a circular correlation stands for; least possible is -(fixed - 1)."""
    return k - period if k > period - fixed else k


class _NCC:
    """Masked normalized cross-correlation of multichannel maps over all shifts."""

    def __init__(self, fixed: Level, pad: list[int]) -> None:
        self.pad = pad
        self.channels = len(fixed.maps)
        f, m = fixed.maps * fixed.mask, fixed.mask
        self.f, self.m = self._to(f), self._to(m)
        self.ff = self._to((fixed.maps.square() * fixed.mask).sum(0))

    def _to(self, x: Tensor) -> Tensor:
        return torch.fft.rfft2(x, s=self.pad).conj()

    def _back(self, x: Tensor) -> Tensor:
        return torch.fft.irfft2(x, s=self.pad)

    def __call__(self, maps: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Score and overlap (pixels) for all shifts, (B, h, w) each."""
        g = torch.fft.rfft2(maps * mask[:, None], s=self.pad)
        w = torch.fft.rfft2(mask, s=self.pad)
        gg = torch.fft.rfft2((maps.square() * mask[:, None]).sum(1), s=self.pad)
        n = self._back(self.m * w)
        inside = 1 / n.clamp_min(1.0)
        num = self._back((self.f * g).sum(1))
        f2, g2 = self._back(self.ff * w), self._back(self.m * gg)
        for c in range(self.channels):
            a, b = self._back(self.f[c] * w), self._back(self.m * g[:, c])
            num -= a * b * inside
            f2 -= a * a * inside
            g2 -= b * b * inside
        floor = 1e-4 * f2.amax((1, 2), keepdim=True).clamp_min(1e-12)
        floor_g = 1e-4 * g2.amax((1, 2), keepdim=True).clamp_min(1e-12)
        return num / torch.sqrt(f2.clamp_min(floor) * g2.clamp_min(floor_g)), n


class _MutualInformation:
    """Mutual information of category maps (one-hot channels) over all shifts, in nats."""

    def __init__(self, fixed: Level, pad: list[int]) -> None:
        self.pad = pad
        one_hot = fixed.maps * (fixed.mask > 0.5)
        self.a = torch.fft.rfft2(torch.cat((one_hot, one_hot.sum(0, keepdim=True))), s=pad).conj()

    def __call__(self, maps: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Score and overlap (pixels) for all shifts, (B, h, w) each."""
        hot = maps * (mask > 0.5)[:, None]
        b = torch.fft.rfft2(torch.cat((hot, hot.sum(1, keepdim=True)), 1), s=self.pad)

        def counts(i: int, j: int) -> Tensor:
            return torch.fft.irfft2(self.a[i] * b[:, j], s=self.pad).round_().clamp_min_(0)

        rows, cols = len(self.a) - 1, b.shape[1] - 1
        n = counts(rows, cols)
        total = n.clamp_min(1.0)
        info = total.log()
        for i in range(rows):
            info -= _plogp(counts(i, cols), total)
            for j in range(cols):
                info += _plogp(counts(i, j), total)
        for j in range(cols):
            info -= _plogp(counts(rows, j), total)
        return info, n


def _plogp(count: Tensor, total: Tensor) -> Tensor:
    """(count / total) · log(count), 0 at 0."""
    return torch.xlogy(count, count) / total


def _fast(size: int) -> int:
    """The next length whose transform is quick."""
    found = next_fast_len(size, real=True)
    return size if found is None else int(found)
