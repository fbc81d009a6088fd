"""TIFF, BigTIFF, OME-TIFF and ImageJ TIFF."""

from __future__ import annotations

import hashlib
import math
import struct
import uuid
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from counterpoint.core.errors import InputError
from counterpoint.core.grid import Grid, Pair
from counterpoint.data.image import Image
from counterpoint.data.kinds import admit, not_plane
from counterpoint.data.raster import RGB

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage, TiffPageSeries

MAPPED_FROM = 2**26
"""Bytes from which uncompressed pixels are mapped (copy on write) instead of read."""
BIG_FROM = 3.9e9
"""Bytes from which BigTIFF is written; offsets of a plain TIFF end at 4 GiB."""
TILED_FROM = 4096
"""Height or width from which OME-TIFF is written in tiles."""

MICROMETERS = {
    **dict.fromkeys(("µm", "μm", "um", "micron", "microns", "micrometer", "micrometre", r"\u00B5m"), 1.0),
    **{"m": 1e6, "dm": 1e5, "cm": 1e4, "mm": 1e3, "nm": 1e-3, "pm": 1e-6, "Å": 1e-4},
}
"""Units of length as OME and ImageJ write them → µm."""
_RESOLUTION_UNITS = {3: 1e4, 4: 1e3, 5: 1.0}
"""ResolutionUnit: centimeter, tifffile's own millimeter and micrometer → µm. Inch (2) is a print habit."""

_INKS = {5: "CMYK", 8: "CIE Lab", 9: "ICC Lab", 10: "ITU Lab", 32803: "a raw color filter array"}
_PALETTE, _YCBCR, _COLOR, _JPEG = 3, 6, (2, 3, 6), (6, 7, 34892, 33007)
_ALPHA = (1, 2)
_ESSENTIAL = {256, 257, 258, 259, 262, 270, 273, 277, 278, 279, 282, 283, 284, 296}
_ESSENTIAL |= {317, 320, 322, 323, 324, 325, 338, 339, 50838, 50839}
"""Tags without which pixels, axes or pixel size are misread."""


def read_tiff(path: Path, data: bytes | None = None) -> Image:
    """The one 2-D image of a TIFF: (H, W), or (H, W, C) whatever order its axes are stored in.

    The spacing comes from OME (PhysicalSize), ImageJ (its unit), or a resolution per cm; it is then in µm. An
    alpha sample is dropped, a color table applied (except ImageJ's and OME's, which is only for display),
    white-is-zero kept as stored. Large uncompressed pixels are mapped copy-on-write. With ``data`` those
    bytes are read, ``path`` is what messages call them, and other files that they name are not opened.

    Raises:
        InputError: more than one plane, several images, missing pixels, inks for colors, an absurd size.
    """
    import tifffile

    source = path if data is None else BytesIO(data)
    with tifffile.TiffFile(source, _multifile=data is None) as tif:
        _structure_is_whole(path, tif)
        series = tif.series[0]
        sizes = _plane(path, series)
        _is_one_image(path, list(tif.series))
        _pixels_are_whole(path, series, sizes)
        page = series.keyframe
        ink = _INKS.get(page.photometric) or (
            "YCbCr" if page.photometric == _YCBCR and page.compression not in _JPEG else ""
        )
        if ink:
            raise InputError(f"{path}: expected a gray or RGB image, found {ink}")
        array = _array(path, series, tif.byteorder)
        array = _channels_last(array, series.axes, page)
        if page.photometric == _PALETTE and not (tif.is_imagej or tif.is_ome):
            array = _colored(array, page)
        spacing, names = _meaning(tif)
        count = array.shape[2] if array.ndim == 3 else 1
        if len(names) != count:
            color = count == 3 and sizes.get("C", 1) == 1 and page.photometric in _COLOR
            names = RGB if color else ()
        grid = Grid((array.shape[1], array.shape[0]), spacing or (1.0, 1.0))
        return Image(array, grid, spacing is not None, "µm" if spacing else "pixel", names, path)


def write_tiff(path: Path, image: Image, *, ome: bool) -> None:
    """A lossless TIFF of (H, W[, C]).

    With ``ome``: OME-TIFF, compressed, with pixel size and channel names. Without: a plain, uncompressed
    TIFF, with the resolution per cm. Three channels of uint8 or uint16 without names of their own are color.
    """
    import tifffile

    array = image.array
    many = array.ndim == 3
    color = (
        many and array.shape[2] == 3 and array.dtype in (np.uint8, np.uint16) and image.channels in ((), RGB)
    )
    physical = image.calibrated and image.unit in MICROMETERS
    settings: dict[str, Any] = {
        "photometric": "rgb" if color else "minisblack",
        "bigtiff": array.nbytes > BIG_FROM,
        "software": "counterpoint",
    }
    if not ome:
        if many:  # tifffile garbles single bits that are interleaved
            settings["planarconfig"] = "separate" if array.dtype == bool else "contig"
            array = np.moveaxis(array, 2, 0) if array.dtype == bool else array
        if physical:
            per_cm = [1e4 / (s * MICROMETERS[image.unit]) for s in image.grid.spacing]
            settings |= {"resolution": per_cm, "resolutionunit": "CENTIMETER"}
        tifffile.imwrite(path, np.ascontiguousarray(array), metadata=None, **settings)
        return
    about: dict[str, Any] = {"axes": "YXS" if color else "CYX" if many else "YX"}
    if physical:
        about |= {f"PhysicalSize{a}": s for a, s in zip("XY", image.grid.spacing, strict=True)}
        about |= {f"PhysicalSize{a}Unit": image.unit for a in "XY"}
    if image.channels and not color:
        about["Channel"] = {"Name": list(image.channels)}
    array = np.ascontiguousarray(array if color or not many else np.moveaxis(array, 2, 0))
    # tifffile would put the machine's address and the time there: equal images shall be equal files
    digest = hashlib.blake2b(
        array.view(np.uint8).data, digest_size=16, key=repr(about).encode()[:64]
    ).digest()
    about["UUID"] = str(uuid.UUID(bytes=digest))
    if max(image.grid.size) > TILED_FROM:
        settings["tile"] = (512, 512)
    settings["predictor"] = array.dtype.kind in "iu"
    tifffile.imwrite(path, array, ome=True, compression="zlib", metadata=about, **settings)


def _structure_is_whole(path: Path, tif: TiffFile) -> None:
    """Pages and tags are all there; tifffile leaves out the ones it cannot read, and the rest looks whole."""
    file, layout = tif.filehandle, tif.tiff
    end = tif.pages.next_page_offset
    if end is not None:
        file.seek(end)
        if struct.unpack(layout.offsetformat, file.read(layout.offsetsize))[0] != 0:
            raise _truncated(path, "a page")
    page = tif.pages.first
    file.seek(page.offset)
    count = struct.unpack(layout.tagnoformat, file.read(layout.tagnosize))[0]
    table = file.read(count * layout.tagsize)
    codes = {struct.unpack_from(f"{layout.byteorder}H", table, i * layout.tagsize)[0] for i in range(count)}
    if (codes & _ESSENTIAL) - {tag.code for tag in page.tags}:
        raise _truncated(path, "a part of its header")


def _plane(path: Path, series: TiffPageSeries) -> dict[str, int]:
    """Sizes of Y, X and, where there, C and S; raises ``InputError`` if other axes are longer than 1."""
    lengths = list(zip(series.axes, series.shape, strict=True))
    deep = [f"{axis}={n}" for axis, n in lengths if axis in "ZT" and n > 1]
    unnamed = [n for axis, n in lengths if axis not in "YXCSZT" and n > 1]
    if deep:
        raise not_plane(path, ", ".join(deep))
    if unnamed:
        hint = "if these are channels, store them with axes CYX"
        raise not_plane(path, f"{math.prod(unnamed)} planes without a stated meaning; {hint}")
    return {axis: n for axis, n in lengths if axis in "YXCS"}


def _is_one_image(path: Path, series: list[TiffPageSeries]) -> None:
    """Beside the first image stand only smaller renditions of it, masks, labels and overviews."""
    first = dict(zip(series[0].axes, series[0].shape, strict=True))
    for other in series[1:]:
        size = dict(zip(other.axes, other.shape, strict=True))
        small = all(2 * size.get(a, 1) <= first[a] + 1 for a in "YX")
        named = other.name.lower() in ("thumbnail", "label", "macro", "overview")
        if not (small or named or other.keyframe.is_reduced or other.keyframe.is_mask):
            shapes = " and ".join("×".join(map(str, s.shape)) for s in (series[0], other))
            raise InputError(
                f"{path}: expected one 2-D image, found {len(series)} ({shapes}); pick one plane"
            )


def _pixels_are_whole(path: Path, series: TiffPageSeries, sizes: dict[str, int]) -> None:
    """Every strip and tile that is announced lies in its file, and the whole is of a credible size."""
    if any(page is None for page in series.pages):
        raise InputError(
            f"{path}: expected all planes of the image, found that some are missing or in other files"
        )
    files = {page.parent.filehandle for page in series.pages if page is not None}
    samples = sizes.get("C", 1) * sizes.get("S", 1)
    pixel_bytes = samples * np.dtype(series.dtype or "u1").itemsize
    admit(path, sizes["X"], sizes["Y"], pixel_bytes, sum(file.size for file in files))
    if series.dataoffset is not None:
        if series.dataoffset + series.nbytes > series.keyframe.parent.filehandle.size:
            raise _truncated(path, "pixels")
        return
    for page in series.pages:
        assert page is not None
        offsets, counts = page.dataoffsets, page.databytecounts
        if not math.prod(series.keyframe.chunked) <= len(offsets) == len(counts):
            raise _truncated(path, "strips or tiles")
        for offset, count in zip(offsets, counts, strict=True):
            # nothing at 0 is GDAL's way to say an empty tile; nothing elsewhere is damage
            if offset + count > page.parent.filehandle.size or (count == 0 < offset):
                raise _truncated(path, "pixels")


def _truncated(path: Path, what: str) -> InputError:
    return InputError(
        f"{path}: expected a whole TIFF image, found a truncated or damaged one: {what} missing"
    )


def _array(path: Path, series: TiffPageSeries, byteorder: str) -> np.ndarray:
    """The pixels in the order of ``series.axes``, native byte order; mapped when large and stored plainly."""
    import tifffile

    if series.nbytes >= MAPPED_FROM and series.dataoffset is not None:
        native = np.dtype("u2").newbyteorder(byteorder).isnative  # type: ignore[arg-type]
        if native and series.keyframe.is_final and series.keyframe.parent.filehandle.path == str(path):
            return np.asarray(tifffile.memmap(path, mode="c"))
    return series.asarray()


def _channels_last(array: np.ndarray, axes: str, page: TiffPage) -> np.ndarray:
    """(H, W) or (H, W, C) from any order of axes; samples that are alpha are left out."""
    array = array[tuple(slice(None) if axis in "YXCS" else 0 for axis in axes)]
    kept = [axis for axis in axes if axis in "YXCS"]
    array = array.transpose([kept.index(axis) for axis in "YXCS" if axis in kept])
    if "S" in kept:
        base = array.shape[-1] - len(page.extrasamples)
        samples = [i for i in range(array.shape[-1]) if i < base or page.extrasamples[i - base] not in _ALPHA]
        plain = samples == list(range(len(samples)))
        array = array[..., : len(samples)] if plain else array[..., samples]
    if array.ndim == 4:
        array = array.reshape(*array.shape[:2], -1)
    return array[..., 0] if array.shape[2:] == (1,) else array


def _colored(array: np.ndarray, page: TiffPage) -> np.ndarray:
    """(H, W, 3) uint8 from indices into the page's color table."""
    table = np.asarray(page.colormap)
    table = table if table.max() < 256 else table >> 8  # 16-bit by the standard, 8-bit by some writers
    return table.astype(np.uint8).T[array]


def _meaning(tif: TiffFile) -> tuple[Pair | None, tuple[str, ...]]:
    """Spacing in µm, where the file states one, and the channels' names, where it has them."""
    if tif.is_ome and tif.ome_metadata:
        return _ome(tif.ome_metadata)
    page = tif.pages.first
    names: tuple[str, ...] = ()
    scale = _RESOLUTION_UNITS.get(int(page.tags.valueof(296, default=2)))
    if tif.is_imagej and tif.imagej_metadata:
        labels = tif.imagej_metadata.get("Labels")
        names = tuple(map(str, labels)) if labels else ()
        scale = MICROMETERS.get(str(tif.imagej_metadata.get("unit", "")), scale)
    ratios = [page.tags.valueof(code) for code in (282, 283)]  # pixels per unit, as (numerator, denominator)
    if scale is None or not all(ratios) or not all(a and b for a, b in ratios):
        return None, names
    return _credible(*(scale * b / a for a, b in ratios)), names


def _ome(xml: str) -> tuple[Pair | None, tuple[str, ...]]:
    pixels = ElementTree.fromstring(xml).find("{*}Image/{*}Pixels")
    if pixels is None:
        return None, ()
    sizes = []
    for axis in "XY":
        unit = MICROMETERS.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        size = pixels.get(f"PhysicalSize{axis}")
        sizes.append(float(size) * unit if size and unit else math.nan)
    names = [channel.get("Name") for channel in pixels.findall("{*}Channel")]
    return _credible(*sizes), tuple(n for n in names if n) if all(names) else ()


def _credible(x: float, y: float) -> Pair | None:
    return (x, y) if all(math.isfinite(s) and s > 0 for s in (x, y)) else None
