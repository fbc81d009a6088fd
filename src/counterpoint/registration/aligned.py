"""Aligned: the moving image on the fixed one's pixels, in a file; by strips where that outgrows memory."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from counterpoint.core.cluster import DIED, Cluster
from counterpoint.core.errors import WorkError
from counterpoint.core.files import aside
from counterpoint.core.grid import Grid
from counterpoint.data.image import Image
from counterpoint.data.read import read_image
from counterpoint.data.write import write_image
from counterpoint.registration.transform import Transform
from counterpoint.registration.warp import STRIP, warp, warp_rows

LARGE = 2**30
"""Bytes of pixels from which they are made by strips, in a file beside the result, instead of in memory."""
_STRIPS = ".strips-"


def write_aligned(
    path: Path,
    moving: Image,
    transform: Transform,
    onto: Grid,
    *,
    labels: bool = False,
    cluster: Cluster | None = None,
) -> None:
    """Write the moving image as ``warp`` brings it onto the pixels of ``onto``, to the same bits at any size.

    From ``LARGE`` on the pixels are made by strips of ``STRIP`` rows. They need as much room on the disk, and
    are not all in memory: neither these nor, where the file of the moving image can be mapped, those of it.
    With a cluster its workers make the strips, if ``moving`` comes from a file.

    Raises:
        InputError: as ``write_image`` does, and ``warp``.
        WorkError: the workers at a strip died, or the cluster is gone.
    """
    shape = (onto.size[1], onto.size[0], *moving.array.shape[2:])
    if math.prod(shape) * moving.array.itemsize < LARGE:
        write_image(path, warp(moving, transform, onto, labels=labels))
        return
    strips = [
        Strip(moving.path, moving.grid, transform, onto, slice(top, min(top + STRIP, shape[0])), labels)
        for top in range(0, shape[0], STRIP)
    ]
    with tempfile.TemporaryFile(dir=path.parent) as scratch:
        pixels = _mapped(scratch, shape, moving.array.dtype)
        made = _at_once(strips, path.parent, cluster) if cluster and moving.path else _in_turn(strips, moving)
        for strip, values in made:
            pixels[strip.rows] = values
        write_image(path, Image(pixels, onto, moving.calibrated, moving.unit, moving.channels))


@dataclass(frozen=True)
class Strip:
    """Some rows of the aligned image, and what they are made of."""

    path: Path | None
    """The moving image."""
    grid: Grid
    """Where its pixels lie."""
    transform: Transform
    onto: Grid
    rows: slice
    labels: bool
    file: Path | None = None
    """Where a worker puts them."""


def _made(strip: Strip, moving: Image) -> np.ndarray:
    return warp_rows(moving, strip.transform, strip.onto, strip.rows, labels=strip.labels)


def _in_turn(strips: list[Strip], moving: Image) -> Iterator[tuple[Strip, np.ndarray]]:
    for strip in strips:
        yield strip, _made(strip, moving)


def _at_once(strips: list[Strip], folder: Path, cluster: Cluster) -> Iterator[tuple[Strip, np.ndarray]]:
    """Each strip comes by a file of its own: processes on several machines cannot map one file to write."""
    for left in folder.glob(f"{_STRIPS}*"):  # by a process that was killed
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(dir=folder, prefix=_STRIPS) as name:
        place = Path(name)
        jobs = [replace(strip, file=place / f"{strip.rows.start}.npy") for strip in strips]
        for which, file in cluster.each(_written, jobs, place):
            if file is None:
                raise WorkError(f"rows {jobs[which].rows.start} and on: {DIED}")
            yield jobs[which], np.load(file, mmap_mode="r", allow_pickle=False)
            file.unlink()


def _written(strip: Strip) -> Path:
    """The file of a strip, written in a worker."""
    assert strip.path and strip.file
    moving = _read(strip.path.absolute(), strip.path.stat().st_mtime_ns)
    with aside(strip.file) as temporary:
        np.save(temporary, _made(strip, replace(moving, grid=strip.grid)), allow_pickle=False)
    return strip.file


@lru_cache(maxsize=1)
def _read(path: Path, _changed: int) -> Image:
    """Once in a process, which makes many strips."""
    return read_image(path)


def _mapped(scratch: object, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """(H, W[, C]) in a file; planes of channels one after the other, as they are written, but for colors."""
    if len(shape) == 3 and shape[2] != 3:
        return np.moveaxis(np.memmap(scratch, dtype, "w+", shape=(shape[2], *shape[:2])), 0, 2)  # pyright: ignore
    return np.memmap(scratch, dtype, "w+", shape=shape)  # pyright: ignore
