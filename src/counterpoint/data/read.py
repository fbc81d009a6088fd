"""Reading one image from a file of any of our kinds."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from counterpoint.core.errors import InputError
from counterpoint.core.grid import Grid, Pair
from counterpoint.data.image import Image
from counterpoint.data.itk import read_itk
from counterpoint.data.kinds import content, kind_of
from counterpoint.data.quiet import quiet
from counterpoint.data.raster import read_jpeg, read_png
from counterpoint.data.tiff import read_tiff


def read_image(path: Path | str, *, channel: int | str | None = None, spacing: Pair | None = None) -> Image:
    """Read a 2-D image: PNG, JPEG, TIFF (OME, ImageJ, Big), NIfTI, NRRD or MetaImage.

    The array is (H, W) or (H, W, C) in the type it was stored in (float16 as float32); alpha is no channel.
    Spacing is calibrated where the file states one: in µm from TIFF, in mm from the others; the pHYs of a PNG
    and a TIFF resolution per inch are print habits and ignored. An Exif orientation is ignored.

    Args:
        path: The file; its suffix and its content must agree.
        channel: One channel, by index from 0 or by name; the array is then (H, W).
        spacing: Size of a pixel (x, y) that overrides the file's, in the file's unit, or µm if it has none.

    Raises:
        InputError: missing, unreadable, empty, truncated or damaged file; a kind that is not supported or not
            what the suffix says; more than one plane; no pixels, too many, complex ones, or none that is
            finite; a channel that is not there; a spacing that is not positive.
    """
    path = Path(path)
    image = _whole(path, kind_of(path))
    if channel is not None:
        image = _pick(image, channel)
    _check_finite(image)
    return image if spacing is None else _respaced(image, spacing)


def decode_image(data: bytes, name: Path | str) -> Image:
    """The 2-D image that a PNG, JPEG or TIFF holds in memory, as ``read_image`` has it from a file.

    Args:
        data: The whole file; its content says what kind it is, and no other file is opened.
        name: What messages call it; never used as a path.

    Raises:
        InputError: another kind, or what ``read_image`` refuses.
    """
    kind = content(data[:4096]) if data else "nothing (0 bytes)"
    if kind not in ("PNG", "JPEG", "TIFF"):
        raise InputError(f"{name}: expected a PNG, JPEG or TIFF image, found {kind}")
    image = _whole(Path(name), kind, data)
    _check_finite(image)
    return image


def _whole(path: Path, kind: str, data: bytes | None = None) -> Image:
    """The image in a plain type; whatever a decoder raises becomes an ``InputError``."""
    try:
        with quiet():
            image = _read(path, kind, data)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # decoders meet hostile bytes with every kind of exception there is
        raise InputError(
            f"{path}: expected a whole {kind} image, found one that cannot be decoded, as if truncated or "
            f"damaged: {_reason(error)}"
        ) from error
    return _with_plain_type(image)


def _check_finite(image: Image) -> None:
    if image.array.dtype.kind == "f" and not any(np.isfinite(row).any() for row in image.array):
        raise InputError(f"{image.name}: expected an image with finite pixels, found none")


def _read(path: Path, kind: str, data: bytes | None) -> Image:
    if kind == "PNG":
        return read_png(path, data)
    if kind == "JPEG":
        return read_jpeg(path, data)
    return read_tiff(path, data) if kind == "TIFF" else read_itk(path, kind)


def _reason(error: Exception) -> str:
    """What a library said, in one short line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    line = next((line for line in lines if "ERROR: " in line), lines[-1]).rpartition("ERROR: ")[2]
    return re.sub(r"^\w+\(0x\w+\): ", "", line).strip()[:120]


def _with_plain_type(image: Image) -> Image:
    """bool, integer or float in native byte order; float16 as float32."""
    dtype = image.array.dtype
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise InputError(f"{image.name}: expected bool, integer or float pixels, found {dtype}")
    plain = np.dtype(np.float32) if dtype == np.float16 else dtype.newbyteorder("=")
    return image if dtype == plain else replace(image, array=image.array.astype(plain))


def _pick(image: Image, channel: int | str) -> Image:
    """The image of one channel."""
    array = image.array if image.array.ndim == 3 else image.array[..., None]
    count, names = array.shape[2], image.channels
    index = _index(channel, count, names)
    if index is None:
        there = f"0 to {count - 1}" if count > 1 else "only 0"
        named = f" ({', '.join(names)})" if names else ""
        raise InputError(f"{image.name}: expected a channel that is there, {there}{named}, found {channel!r}")
    return replace(image, array=array[..., index], channels=names[index : index + 1])


def _index(channel: int | str, count: int, names: tuple[str, ...]) -> int | None:
    if isinstance(channel, str):
        for known in (list(names), [n.lower() for n in names]):
            wanted = channel if known == list(names) else channel.lower()
            if known.count(wanted) == 1:
                return known.index(wanted)
    try:
        index = int(channel)
    except ValueError:
        return None
    return index if 0 <= index < count else None


def _respaced(image: Image, spacing: Pair) -> Image:
    if len(spacing) != 2:
        raise InputError(f"spacing: expected two positive numbers (x, y), found {spacing}")
    old = image.grid
    grid = Grid(old.size, (float(spacing[0]), float(spacing[1])), old.origin, old.direction)
    return replace(image, grid=grid, calibrated=True, unit=image.unit if image.calibrated else "µm")
