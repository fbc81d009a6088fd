"""Writing one image without loss, in the kind its suffix names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from counterpoint.core.errors import InputError
from counterpoint.core.files import aside
from counterpoint.data.image import Image
from counterpoint.data.itk import write_itk
from counterpoint.data.kinds import SUFFIXES, full_suffix, unsupported
from counterpoint.data.quiet import quiet
from counterpoint.data.raster import write_png
from counterpoint.data.tiff import write_tiff

_WRITTEN_AS = {
    ".jpg": ".png",
    ".jpeg": ".png",
    ".btf": ".tif",
    ".ome.btf": ".ome.tif",
    ".nhdr": ".nrrd",
    ".mhd": ".mha",
}
"""Kinds that are read but not written → what is written in their place."""
_OME_TYPES = ("b1", "u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8")

_NIFTI_MAX = 32767
"""Pixels per axis that a NIfTI header can state."""


def suffix_like(path: Path | str) -> str:
    """The suffix under which an image of the same kind is written without loss: ".jpg" → ".png".

    Raises:
        InputError: a suffix that is none of an image.
    """
    suffix = full_suffix(path)
    if not suffix:
        raise unsupported(path)
    return _WRITTEN_AS.get(suffix, suffix)


def write_image(path: Path | str, image: Image) -> None:
    """Write (H, W[, C]) pixels exactly, by suffix; the file is whole or not there.

    ``.ome.tif`` keeps pixels, spacing and names of channels; ``.tif`` keeps pixels and spacing; ``.png``
    keeps pixels. ``.nii``, ``.nii.gz``, ``.nrrd`` and ``.mha`` keep pixels (bool as uint8), spacing, origin,
    and direction, in mm; an uncalibrated image comes back as one of 1 mm. (H, W, 1) comes back as (H, W).

    Raises:
        InputError: a suffix that is not written, pixels that the kind cannot hold, or a place that cannot be
            written to.
    """
    path = Path(path)
    suffix = full_suffix(path)
    _accept(path, suffix, image)
    array = image.array[..., 0] if image.array.shape[2:] == (1,) else image.array
    image = replace(image, array=array.astype(np.float32) if array.dtype == np.float16 else array)
    try:
        with quiet(), aside(path) as temporary:
            if SUFFIXES[suffix] == "PNG":
                write_png(temporary, image.array)
            elif SUFFIXES[suffix] == "TIFF":
                write_tiff(temporary, image, ome=suffix.startswith(".ome"))
            else:
                write_itk(temporary, image, SUFFIXES[suffix])
    except (OSError, RuntimeError) as error:  # the latter is ITK's
        reason = error.strerror if isinstance(error, OSError) else str(error).strip().splitlines()[-1]
        raise InputError(f"{path}: expected a place that can be written to, found: {reason}") from error


def _accept(path: Path, suffix: str, image: Image) -> None:
    """Raise ``InputError`` unless the kind ``suffix`` stands for can hold every pixel."""
    if not suffix:
        raise unsupported(path)
    if suffix in _WRITTEN_AS:
        why = "JPEG loses detail" if SUFFIXES[suffix] == "JPEG" else "it is only read"
        raise InputError(
            f"{path}: expected a kind that is written, such as {_WRITTEN_AS[suffix]}, found {suffix}: {why}"
        )
    array = image.array
    shape, dtype = array.shape, array.dtype
    if array.ndim not in (2, 3) or 0 in shape or shape[1::-1] != image.grid.size:
        raise InputError(
            f"{path}: expected pixels (H, W[, C]) for a grid of {image.grid.size}, found {shape}"
        )
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise InputError(f"{path}: expected bool, integer or float pixels, found {dtype}")
    channels = shape[2] if array.ndim == 3 else 1
    if suffix == ".png" and dtype not in (np.uint8, np.uint16, bool):
        raise InputError(
            f"{path}: expected uint8, uint16 or bool, all that PNG can hold, found {dtype}: use .ome.tif"
        )
    if suffix == ".png" and channels != 1 and (channels != 3 or dtype.kind == "b"):
        raise InputError(
            f"{path}: expected one channel, or three of uint8 or uint16, since the fourth of a PNG is "
            f"transparency, found {channels} of {dtype}: use .ome.tif"
        )
    if suffix.startswith(".ome") and dtype.str[1:] not in _OME_TYPES:
        raise InputError(f"{path}: expected a type of pixels that OME knows, found {dtype}: use .tif")
    if suffix.startswith(".nii") and shape[0] == 1 < channels:
        raise InputError(f"{path}: expected more than one row, since ITK reads no NIfTI of one: use .nrrd")
    if suffix.startswith(".nii") and max(image.grid.size) > _NIFTI_MAX:
        found = f"{image.grid.size[0]} × {image.grid.size[1]}"
        raise InputError(f"{path}: expected at most {_NIFTI_MAX} pixels per axis, found {found}: use .nrrd")
