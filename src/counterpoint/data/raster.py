"""PNG and JPEG."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path

import numpy as np

from counterpoint.core.errors import InputError
from counterpoint.core.grid import Grid
from counterpoint.data.image import Image
from counterpoint.data.kinds import admit

RGB = ("red", "green", "blue")
"""Names of the channels of a color image."""


def read_png(path: Path, data: bytes | None = None) -> Image:
    """A PNG of 1 to 16 bits: (H, W) gray, (H, W, 3) color or palette; 1-bit gray is bool, alpha is dropped.

    A pixel size (pHYs) is ignored: it is a print resolution. With ``data`` those bytes are read, and
    ``path`` is what messages call them.

    Raises:
        InputError: no pixels, or an absurd size.
    """
    from imagecodecs import png_decode

    data = path.read_bytes() if data is None else data
    width, height, depth, color = struct.unpack_from(">IIBB", data, 16)
    samples = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}[color]
    admit(path, width, height, samples * max(depth // 8, 1), len(data))
    if color == 0 and depth == 1 and b"tRNS" not in data[:4096]:
        return _image(path, _bits(data))
    array = png_decode(data)
    alpha = array.ndim == 3 and array.shape[2] in (2, 4)
    array = array[..., :-1] if alpha else array
    return _image(path, array[..., 0] if array.shape[2:] == (1,) else array)


def read_jpeg(path: Path, data: bytes | None = None) -> Image:
    """A JPEG: (H, W) gray or (H, W, 3) color, uint8; an Exif orientation is ignored. ``data`` as above.

    Raises:
        InputError: an absurd size, or CMYK.
    """
    # Pillow refuses truncated data, which libjpeg by itself fills with gray. The class is called by name
    # because Image.open holds a limit on pixels of its own.
    from PIL.JpegImagePlugin import JpegImageFile

    stored = path.stat().st_size if data is None else len(data)
    with path.open("rb") if data is None else BytesIO(data) as f:
        image = JpegImageFile(f)
        admit(path, *image.size, len(image.getbands()), stored)
        if image.mode not in ("L", "RGB"):
            raise InputError(f"{path}: expected a gray or RGB image, found {image.mode}")
        return _image(path, np.array(image))


def write_png(path: Path, array: np.ndarray) -> None:
    """A PNG of (H, W) bool, or (H, W[, 3]) uint8 or uint16; lossless."""
    if array.dtype == bool:
        from PIL import Image as Pillow

        Pillow.fromarray(array).save(path, "PNG")
        return
    from imagecodecs import png_encode

    path.write_bytes(png_encode(np.ascontiguousarray(array)))


def _bits(data: bytes) -> np.ndarray:
    """A 1-bit PNG as bool, which imagecodecs would stretch to 0 and 255."""
    from PIL.PngImagePlugin import PngImageFile

    return np.array(PngImageFile(BytesIO(data)))


def _image(path: Path, array: np.ndarray) -> Image:
    height, width = array.shape[:2]
    return Image(array, Grid((width, height)), channels=RGB if array.ndim == 3 else (), path=path)
