"""Which kind of image a file holds, by its suffix and by its first bytes, and whether its size is sane."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

from counterpoint.core.errors import InputError

SUFFIXES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".ome.tif": "TIFF",
    ".ome.tiff": "TIFF",
    ".ome.btf": "TIFF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".btf": "TIFF",
    ".nii": "NIfTI",
    ".nii.gz": "gzipped NIfTI",
    ".nrrd": "NRRD",
    ".nhdr": "NRRD",
    ".mha": "MetaImage",
    ".mhd": "MetaImage",
}
"""Suffix, in lower case → the kind of file it promises."""

MAX_PIXELS = 2**31
"""Width × height above which a header is not believed: OpenCV, libjpeg and 32-bit indices end below it too,
and no registration fits such an image into memory at once."""

MAX_RATIO = 2**14
"""Bytes of pixels per byte of file. Deflate shrinks at most 1032 times (8256 for 1-bit pixels) and JPEG about
1000 times, so a header that announces far more is damaged or a decompression bomb."""

DENSEST = 2**8
"""Bytes of samples per byte of a compressed file; MNIST has 5, drawn line art some 50."""

HARMLESS = 2**28
"""Bytes that may be allocated whatever the header says; tiny files of constant pixels stay readable."""

_MAGIC = (
    (rb"\x89PNG\r\n\x1a\n", "PNG"),
    (rb"\xff\xd8\xff", "JPEG"),
    (rb"II[*+]\0|MM\0[*+]", "TIFF"),
    (rb"NRRD\d{4}", "NRRD"),
    (rb"(?:Comment|ObjectType|NDims)\s*=", "MetaImage"),
    (rb"(?s)(?:\x5c\x01\0\0|\0\0\x01\x5c).{340}n\+1\0", "NIfTI"),
    (rb"(?s)(?:\x5c\x01\0\0|\0\0\x01\x5c).{340}ni1\0", "NIfTI header without pixels (.hdr/.img pair)"),
    (rb"\x1c\x02\0\0n\+2\0|\0\0\x02\x1cn\+2\0", "NIfTI-2"),
    (rb"GIF8", "GIF"),
    (rb"BM", "BMP"),
    (rb"%PDF", "PDF"),
    (rb"(?s)RIFF.{4}WEBP", "WebP"),
    (rb"(?s).{128}DICM", "DICOM"),
    (rb"\0\0\0\x0cjP  ", "JPEG 2000"),
    (rb"\x89HDF", "HDF5"),
    (rb"ZISRAWFILE", "CZI"),
    (rb"PK\x03\x04", "ZIP"),
    (rb"[\t\n\r\x20-\x7e\x80-\xff]+\Z", "text"),
)


def full_suffix(path: Path | str) -> str:
    """The known image suffix a name ends in, in lower case (".ome.tif", ".nii.gz", ".png"), or ""."""
    name = Path(path).name.lower()
    return max((s for s in SUFFIXES if name.endswith(s)), key=len, default="")


def stem(path: Path | str) -> str:
    """The name of an image file without folder and image suffix: "a.ome.tif" → "a"."""
    name = Path(path).name
    suffix = full_suffix(name)
    return name[: -len(suffix)] if suffix else name


def unsupported(path: Path | str) -> InputError:
    """The error for a suffix that is none of ours, with those that are."""
    found = Path(path).suffix or "no suffix"
    return InputError(f"{path}: expected one of the image kinds {', '.join(SUFFIXES)}, found {found}")


def kind_of(path: Path) -> str:
    """The kind of an image file, where suffix and content agree on it.

    Raises:
        InputError: nothing there, a folder, not readable, empty, an unsupported suffix, or a content of
            another kind than the suffix promises.
    """
    if not path.exists():
        raise InputError(f"{path}: expected an image file, found nothing there")
    if not path.is_file():
        raise InputError(
            f"{path}: expected an image file, found {'a folder' if path.is_dir() else 'no file'}"
        )
    promised = SUFFIXES.get(full_suffix(path))
    if promised is None:
        raise unsupported(path)
    try:
        with path.open("rb") as f:
            head = f.read(4096)
    except OSError as error:
        raise InputError(f"{path}: expected a file that can be read, found: {error.strerror}") from None
    if not head:
        raise InputError(f"{path}: expected a {promised} image, found an empty file (0 bytes)")
    found = content(head)
    if found != promised:
        raise InputError(f"{path}: expected a {promised} image, as its suffix says, found {found}")
    return promised


def content(head: bytes) -> str:
    """What the first 4096 bytes of a file say it holds: one of the kinds, or words for something else."""
    if head.startswith(b"\x1f\x8b"):
        try:
            inside = content(zlib.decompressobj(wbits=31).decompress(head, 4096))
        except zlib.error:
            inside = ""
        return f"gzipped {inside}" if inside in SUFFIXES.values() else "gzipped data of another kind"
    for pattern, kind in _MAGIC:
        if re.match(pattern, head):
            return kind
    return "data of no known image kind"


def admit(path: Path, width: int, height: int, pixel_bytes: int, stored: int) -> None:
    """Let an announced size pass, before anything is allocated for it.

    ``pixel_bytes`` is the size of one pixel over all channels, ``stored`` that of the file.

    Raises:
        InputError: no pixels, more than ``MAX_PIXELS``, or wildly more than the file can hold.
    """
    if width < 1 or height < 1:
        raise InputError(f"{path}: expected an image with pixels, found {width} × {height}")
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{path}: expected at most {MAX_PIXELS} pixels, found a header of {width} × {height}"
        )
    announced = width * height * pixel_bytes
    if announced > HARMLESS and announced > MAX_RATIO * stored:
        raise InputError(
            f"{path}: expected {announced} bytes of pixels, as its header of {width} × {height} announces, "
            f"found a file of {stored} bytes, which cannot hold them"
        )


def check_unpacked(path: Path, unpacked: int, stored: int) -> None:
    """Raise ``InputError`` if packed samples would become far more bytes than such samples ever do."""
    if unpacked > max(HARMLESS, DENSEST * stored):
        raise InputError(
            f"{path}: expected at most {DENSEST} times its {stored} bytes when unpacked, found {unpacked} or "
            "more: a decompression bomb?"
        )


def not_plane(path: Path, found: str) -> InputError:
    """The error for an image of more than one plane, ``found`` saying how many, e.g. "Z=5"."""
    return InputError(f"{path}: expected a 2-D image, found 3-D ({found}); pick one plane")
