"""Warp: the moving image on the fixed image's pixels, and what of it is to be seen there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy import ndimage

from counterpoint.core.errors import InputError, unknown
from counterpoint.core.grid import Grid
from counterpoint.data.image import Image
from counterpoint.registration.transform import Transform

Order = Literal["linear", "cubic"]
Block = tuple[slice, slice]
"""Rows and columns of the fixed image."""

_DRAWN = 1 << 22  # moving pixels that one block may draw on
STRIP = 512
"""Rows of the fixed image that can be warped by themselves."""
_SIDES = tuple(STRIP >> i for i in range(10))  # of a block; the largest that draws on no more than that
_REACH = {"nearest": 1, "linear": 1, "cubic": 16}  # of interpolation; splines fade by 0.27 a pixel
_EDGE = 1e-9  # rounding of coordinates must not cost an image its last row


def warp(
    moving: Image,
    transform: Transform,
    onto: Grid,
    *,
    labels: bool = False,
    order: Order = "linear",
    outside: float = 0,
) -> Image:
    """The moving image resampled onto the pixels of ``onto``, in the type, channels and unit it has.

    A pixel is a square around its center, and the image is the union of its pixels: up to half a pixel
    beyond the outermost centers it goes on as in ITK (linear: edge value; cubic: mirrored). Elsewhere the
    result is ``outside``, which may be NaN for floats. ``order`` is linear interpolation or the interpolating
    cubic B-spline; integers are rounded and clipped, not truncated as by ITK. ``labels`` and bool images are
    taken from the nearest pixel, so that no label is invented. Exact for integers up to 2⁵³ (float64).

    Where a step of one fixed pixel is more than 1.5 pixels long in x or y of the moving image, interpolation
    alone would skip pixels: the moving image is first blurred along that axis by a Gaussian of
    σ = ½·√(step² − 1) moving pixels (Lowe 2004, sec. 3.3: an image of blur ½ gets blur ½ on the new pixels).
    From a step of 8 on, averages over whole pixels do part of the blur, for speed. Labels and bool images are
    never blurred.

    A pixel that is NaN or infinite in a float image borrows the value of its nearest finite one, and a result
    is NaN where half or more of the weight lies on such pixels: holes neither grow nor spread.

    Worked off in square blocks, up to four at once; a block reads its rectangle of ``moving.array``, which
    may be memory-mapped. The memory held beside the result is bounded for any angle and size of image: at
    most some 4 million moving pixels per block (more only where a fixed pixel spans over 300 moving ones).

    Raises ``InputError`` on an unknown order, an array that does not fit its grid or holds no numbers, and an
    ``outside`` that the type cannot hold.
    """
    rows = slice(0, onto.size[1])
    out = warp_rows(moving, transform, onto, rows, labels=labels, order=order, outside=outside)
    return Image(out, onto, moving.calibrated, moving.unit, moving.channels)


def warp_rows(
    moving: Image,
    transform: Transform,
    onto: Grid,
    rows: slice,
    *,
    labels: bool = False,
    order: Order = "linear",
    outside: float = 0,
) -> np.ndarray:
    """Some of the rows, (h, W[, C]), that ``warp`` gives; to the same bits if they begin and end as below.

    ``rows`` begin at a multiple of ``STRIP`` and end at one, or with the image. Raises as ``warp`` does.
    """
    _check(moving, order, outside)
    array = moving.array
    sampler = _Sampler(
        array=array,
        matrix=transform.pixels(onto, moving.grid),
        order="nearest" if labels or array.dtype == bool else order,
    )
    out = np.full((rows.stop - rows.start, onto.size[0], *array.shape[2:]), outside, array.dtype)

    def fill(block: Block) -> None:
        found = sampler.draw(block)
        if found is not None:
            values, seen = found
            here = slice(block[0].start - rows.start, block[0].stop - rows.start), block[1]
            np.copyto(out[here], values, where=seen[..., None] if out.ndim == 3 else seen)

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for _ in pool.map(fill, sampler.blocks(onto.size[0], rows.stop, rows.start)):
            pass  # raises what a thread raised
    return out


def inside(transform: Transform, fixed: Grid, moving: Grid) -> np.ndarray:
    """(H, W) bool: which pixels of the fixed image have their center in the area of the moving image."""
    width, height = fixed.size
    matrix = transform.pixels(fixed, moving)
    out = np.empty((height, width), bool)
    rows = max(1, (1 << 20) // max(width, 1))
    for start in range(0, height, rows):
        block = slice(start, min(start + rows, height)), slice(0, width)
        out[block] = _within(*_coordinates(matrix, block), moving.size)
    return out


def overlap(transform: Transform, fixed: Grid, moving: Grid) -> float:
    """Share of the fixed image's area that the moving image covers, in [0, 1]; exact, by polygon clipping."""
    matrix = transform.pixels(fixed, moving)
    polygon = _area_corners(fixed.size) @ matrix[:2, :2].T + matrix[:2, 2]
    whole = _area(polygon)
    for axis in (0, 1):  # Sutherland & Hodgman 1974, "Reentrant polygon clipping"
        polygon = _clip(polygon, axis, -0.5, 1.0)
        polygon = _clip(polygon, axis, moving.size[axis] - 0.5, -1.0)
    return float(np.clip(_area(polygon) / whole, 0, 1))


@dataclass(frozen=True, slots=True)
class _Sampler:
    """Draws blocks of fixed pixels from the moving array."""

    array: np.ndarray
    """(h, w) or (h, w, C)."""
    matrix: np.ndarray
    """(3, 3) fixed pixel → moving pixel."""
    order: Literal["nearest", "linear", "cubic"]

    @property
    def step(self) -> np.ndarray:
        """(2,) how far a fixed pixel reaches along x and y of the moving image; 1 if nothing is blurred."""
        step = np.hypot(self.matrix[:2, 0], self.matrix[:2, 1])
        return np.where((step > 1.5) & (self.order != "nearest"), step, 1.0)

    @property
    def pooled(self) -> np.ndarray:
        """(2,) how many moving pixels along x and y are averaged into one before the Gaussian."""
        return np.maximum(self.step // 4, 1).astype(int)

    @property
    def sigma(self) -> np.ndarray:
        """(2,) width of the Gaussian along x and y, in pooled pixels; 0 for none."""
        return 0.5 * np.sqrt(self.step**2 - 1 - (self.pooled**2 - 1) / 3) / self.pooled

    @property
    def margin(self) -> np.ndarray:
        """(2,) moving pixels, along x and y, that are drawn on around a block."""
        reach = _REACH[self.order]
        reach = np.where(self.pooled > 1, min(reach, 6), reach)  # of splines over what is smooth already
        return (reach + np.ceil(4 * self.sigma + 0.5).astype(int)) * self.pooled

    def blocks(self, width: int, bottom: int, top: int = 0) -> Iterator[Block]:
        """Squares that cover rows of the fixed image, small enough for what each one draws on."""
        spread = np.abs(self.matrix[:2, :2]).sum(1)
        fits = (n for n in _SIDES if np.prod(n * spread + 2 * self.margin) <= _DRAWN)
        side = next(fits, _SIDES[-1])
        for y in range(top, bottom, side):
            for x in range(0, width, side):
                yield slice(y, min(y + side, bottom)), slice(x, min(x + side, width))

    def draw(self, block: Block) -> tuple[np.ndarray, np.ndarray] | None:
        """Values (h, w[, C]) in the array's type, and where they are seen (h, w) bool; None if nowhere."""
        size = self.array.shape[1], self.array.shape[0]
        rows, columns = block
        ends = np.array(
            [(x, y, 1) for x in (columns.start, columns.stop - 1) for y in (rows.start, rows.stop - 1)]
        )
        corners = ends @ self.matrix[:2].T
        low, high = corners.min(0), corners.max(0)
        if (high < -0.5 - _EDGE).any() or (low > np.array(size) - 0.5 + _EDGE).any():
            return None
        first = np.clip(np.floor(low) - self.margin, 0, size).astype(int) // self.pooled * self.pooled
        last = np.clip(np.ceil(high) + self.margin + self.pooled, 0, size).astype(int)
        crop = self.array[first[1] : last[1], first[0] : last[0]]
        shift = np.eye(3)
        shift[:2, 2] = -first
        matrix = shift @ self.matrix
        seen = np.ones((rows.stop - rows.start, columns.stop - columns.start), bool)
        if not _within(corners[:, 0], corners[:, 1], size).all():
            seen = _within(*_coordinates(self.matrix, block), size)
        if self.order == "nearest":
            x, y = _coordinates(matrix, block)
            column = np.clip(np.floor(x + 0.5), 0, crop.shape[1] - 1).astype(np.intp)
            row = np.clip(np.floor(y + 0.5), 0, crop.shape[0] - 1).astype(np.intp)
            return crop[row, column], seen
        if self.array.ndim == 2:
            return self._interpolate(crop, matrix, block), seen
        channels = range(self.array.shape[2])
        return np.stack([self._interpolate(crop[..., c], matrix, block) for c in channels], -1), seen

    def _interpolate(self, crop: np.ndarray, matrix: np.ndarray, block: Block) -> np.ndarray:
        """(h, w) in the array's type: one channel; ``matrix`` maps fixed pixels to pixels of ``crop``."""
        kind = crop.dtype
        if kind.kind == "f":
            work = np.float32 if kind.itemsize <= 4 else np.float64
            crop = crop.astype(work, copy=False)
            finite = np.isfinite(crop)
            if finite.all():
                return self._sample(crop, matrix, block, work).astype(kind, copy=False)
            if not finite.any():
                return np.full([s.stop - s.start for s in block], np.nan, kind)
            row, column = np.asarray(
                ndimage.distance_transform_edt(~finite, return_distances=False, return_indices=True)
            )
            values = self._sample(crop[row, column], matrix, block, work)
            values[self._sample((~finite).astype(work), matrix, block, work, spline=False) >= 0.5] = np.nan
            return values.astype(kind, copy=False)
        work = np.float32 if kind.itemsize <= 2 else np.float64
        limits = np.iinfo(kind)
        top = work(limits.max)
        if int(top) > limits.max:  # float64 has no 2⁶³ − 1
            top = np.nextafter(top, work(0))
        values = self._sample(crop, matrix, block, work)
        return np.clip(np.rint(values, out=values), limits.min, top, out=values).astype(kind)

    def _sample(
        self, crop: np.ndarray, matrix: np.ndarray, block: Block, work: type[np.floating], spline: bool = True
    ) -> np.ndarray:
        """(h, w) of type ``work``: ``crop`` blurred where that is due, then interpolated."""
        cubic = spline and self.order == "cubic"
        if (self.pooled > 1).any():
            crop, shrink = _pool(crop, self.pooled, work)
            matrix = shrink @ matrix
        if self.sigma.any():
            crop = ndimage.gaussian_filter(crop, self.sigma[::-1], output=work, mode="nearest", truncate=4.0)
        if cubic:
            crop = ndimage.spline_filter(crop, 3, output=np.float64, mode="mirror")
        rows, columns = block
        return ndimage.affine_transform(
            crop,
            matrix[1::-1, 1::-1],  # SciPy counts rows first
            tuple(matrix @ (columns.start, rows.start, 1))[1::-1],  # pyright: ignore[reportArgumentType]
            (rows.stop - rows.start, columns.stop - columns.start),
            output=work,
            order=3 if cubic else 1,
            mode="mirror" if cubic else "nearest",
            prefilter=False,
        )


def _pool(array: np.ndarray, sizes: np.ndarray, work: type[np.floating]) -> tuple[np.ndarray, np.ndarray]:
    """Means over ``sizes`` (x, y) pixels, fewer at the far ends, and the (3, 3) map pixel → pooled pixel."""
    for axis, n in enumerate(sizes[::-1]):
        starts = np.arange(0, array.shape[axis], n)
        counts = np.diff(starts, append=array.shape[axis]).astype(work)
        sums = np.add.reduceat(array, starts, axis=axis, dtype=work)
        array = sums / (counts[:, None] if axis == 0 else counts)
    matrix = np.diag((*(1 / sizes), 1.0))
    matrix[:2, 2] = (1 / sizes - 1) / 2  # the center of the first pool is its pixel number (n − 1)/2
    return array, matrix


def _check(moving: Image, order: str, outside: float) -> None:
    """Raise ``InputError`` on what ``warp`` cannot work with."""
    array, size = moving.array, moving.grid.size
    if order not in get_args(Order):
        raise unknown("order of interpolation", str(order), get_args(Order))
    if array.ndim not in (2, 3) or array.shape[1::-1] != tuple(size) or 0 in array.shape:
        raise InputError(
            f"{moving.name}: expected {size[1]}×{size[0]} pixels as its grid has, found {array.shape}"
        )
    if array.dtype.kind not in "biuf":
        raise InputError(f"{moving.name}: expected bool, integer or float pixels, found {array.dtype}")
    with np.errstate(all="ignore"):
        held = np.asarray(outside, float).astype(array.dtype)
    floats = array.dtype.kind == "f"
    fits = np.isfinite(held) == np.isfinite(outside) if floats else float(held) == outside
    if not fits:
        raise InputError(f"outside: expected a value that {array.dtype} can hold, found {outside}")


def _coordinates(matrix: np.ndarray, block: Block) -> tuple[np.ndarray, np.ndarray]:
    """Two (h, w) float64: x and y to which ``matrix`` maps each pixel of the block."""
    rows, columns = (np.arange(s.start, s.stop, dtype=float) for s in block)
    x, y = (np.add.outer(m[1] * rows, m[0] * columns + m[2]) for m in matrix[:2])
    return x, y


def _within(x: np.ndarray, y: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bool: whether pixel coordinates lie in the area of an image of (width, height)."""
    low, (right, bottom) = -0.5 - _EDGE, np.array(size) - 0.5 + _EDGE
    return (x >= low) & (x <= right) & (y >= low) & (y <= bottom)


def _area_corners(size: tuple[int, int]) -> np.ndarray:
    """(4, 2) corners of an image's area, half a pixel beyond its outermost centers."""
    w, h = size
    return np.array([(0, 0), (w, 0), (w, h), (0, h)], float) - 0.5


def _area(polygon: np.ndarray) -> float:
    """Area of a polygon (N, 2), by the shoelace formula about its first corner, which keeps digits."""
    if len(polygon) < 3:
        return 0.0
    x, y = (polygon - polygon[0]).T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _clip(polygon: np.ndarray, axis: int, bound: float, sign: float) -> np.ndarray:
    """The part of a convex polygon (N, 2) where ``sign`` · (coordinate − ``bound``) ≥ 0."""
    kept = []
    for here, there in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        a, b = sign * (here[axis] - bound), sign * (there[axis] - bound)
        if a >= 0:
            kept.append(here)
        if a * b < 0:
            kept.append(here + (there - here) * (a / (a - b)))
    return np.array(kept).reshape(-1, 2)
