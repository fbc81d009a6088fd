"""Headers of NIfTI, MetaImage and NRRD, checked before ITK sees them: it believes them, and may crash."""

from __future__ import annotations

import math
import re
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path, PureWindowsPath

from counterpoint.core.errors import InputError

HEADER = 2**16
"""Bytes in which a text header must end."""
FARTHEST = 1e12
"""Largest length, place or direction that is believed: of larger ones ITK computes without end."""
LONGEST = 400
"""Bytes of a line of a NRRD header: of a longer one the reader cannot even complain."""
MOST_TEXT = 2**28
"""Bytes of pixels that are stored as text."""
AXES = 10
"""Most axes that MetaIO has room for."""

NIFTI_BITS = {
    **{2: 8, 256: 8, 4: 16, 512: 16, 8: 32, 768: 32, 1024: 64, 1280: 64, 16: 32, 64: 64},
    **{32: 64, 1792: 128, 128: 24, 2304: 32},
}
"""Type of pixels that ITK reads → bits of one."""
NIFTI_COLORS = (128, 2304)

_META_VECTORS = (
    "Offset",
    "Position",
    "Origin",
    "CenterOfRotation",
    "ElementSpacing",
    "ElementSize",
    "DimSize",
)
_META_MATRICES = ("TransformMatrix", "Rotation", "Orientation")
_META_COUNTS = {
    "NDims": (1, AXES), "ElementNumberOfChannels": (1, 2**16), "HeaderSize": (-1, 2**31 - 1),
    "CompressedDataSize": (0, 2**62), "ID": (-(2**31), 2**31 - 1), "ParentID": (-(2**31), 2**31 - 1),
}  # fmt: skip
_META_BYTES = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 4, "LONG_LONG": 8}
_META_BYTES |= {f"U{name}": size for name, size in _META_BYTES.items()} | {"FLOAT": 4, "DOUBLE": 8}
_NRRD_PLACE = re.compile(
    rb"^(?:space directions|space origin|spacings|axis mins|axis maxs|measurement frame):.*", re.MULTILINE
)
_NRRD_TEXT = re.compile(rb"^encoding:\s*(?:ascii|text|txt)", re.MULTILINE | re.IGNORECASE)
_NRRD_WORD = re.compile(rb"[^\s,]{64}")
_NUMBER = re.compile(rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?inf", re.IGNORECASE)
_DATA_FILE = re.compile(rb"^data ?file:[ \t]*(\S.*?)[ \t]*\r?$", re.MULTILINE | re.IGNORECASE)


def check_nifti(path: Path, header: bytes) -> tuple[int, int, str]:
    """Of a NIfTI-1 header (348 bytes): where pixels start, how many bytes, and their type if they are floats.

    Raises:
        InputError: a header that says what cannot be.
    """
    order = "<" if header.startswith(b"\x5c\x01") else ">"
    count, *sizes = struct.unpack_from(f"{order}8h", header, 40)
    code, bits = struct.unpack_from(f"{order}2h", header, 70)
    start, slope, intercept = struct.unpack_from(f"{order}3f", header, 108)
    spacing = struct.unpack_from(f"{order}8f", header, 76)
    placing = struct.unpack_from(f"{order}18f", header, 256)
    many = code in NIFTI_COLORS or (count >= 5 and sizes[4] > 1)
    wrong = {
        f"{count} axes": not 1 <= count <= 7,
        f"axes of {sizes[:count]} pixels": min(sizes[: max(count, 1)]) < 0,
        f"pixels of type {code} with {bits} bits": NIFTI_BITS.get(code) != bits,
        f"pixels from byte {start} on": not 352 <= start <= 2**24 or start != int(start),
        f"values times {slope} plus {intercept}": not (math.isfinite(slope) and math.isfinite(intercept)),
        "channels that are scaled": many and (slope not in (0, 1) or intercept != 0),
        "an absurd place or spacing": not _sane((*spacing[: count + 1], *placing)),
    }
    if found := next((what for what, so in wrong.items() if so), ""):
        raise _damaged(path, "NIfTI", found)
    length = math.prod(max(n, 1) for n in sizes[:count]) * bits // 8
    return int(start), length, {16: f"{order}f4", 64: f"{order}f8"}.get(code, "")


def check_meta(path: Path) -> Path:
    """Check the header of a MetaImage; returns the file that holds its pixels.

    Raises:
        InputError: a header that says what cannot be, or pixels in several files or outside of its folder.
    """
    said, start = _meta_entries(path)
    numbers = {
        key: _numbers(said[key]) for key in (*_META_COUNTS, *_META_VECTORS, *_META_MATRICES) if key in said
    }
    for key, (low, high) in _META_COUNTS.items():
        given = numbers.get(key, [float(low)])
        if len(given) != 1 or given[0] != int(given[0]) or not low <= given[0] <= high:
            raise _damaged(path, "MetaImage", f"{key} = {said.get(key, '')[:80]}")
    axes = int(numbers.get("NDims", [0])[0])
    lengths = dict.fromkeys(_META_VECTORS, axes) | dict.fromkeys(_META_MATRICES, axes * axes)
    for key, length in lengths.items():
        if key in numbers and len(numbers[key]) != length:
            raise _damaged(path, "MetaImage", f"{key} = {said[key][:80]} in {axes} axes")
    if not all(n >= 1 and n == int(n) for n in numbers.get("DimSize") or [0.0]):
        raise _damaged(path, "MetaImage", f"DimSize = {said.get('DimSize', '')[:80]}")
    size = _META_BYTES.get(said.get("ElementType", "").removeprefix("MET_"))
    if size is None:
        raise _damaged(path, "MetaImage", f"ElementType = {said.get('ElementType', '')[:80]}")
    named = said["ElementDataFile"]
    local = named.upper() == "LOCAL"
    file = path if local else _beside(path, named)
    if said.get("CompressedData", "")[:1].upper() in ("T", "1"):
        channels = numbers.get("ElementNumberOfChannels", [1.0])[0]
        _check_packed(
            path, file, start if local else 0, round(math.prod([*numbers["DimSize"], channels, size]))
        )
    return file


def check_nrrd(path: Path) -> Path:
    """Check what a NRRD says of its place; returns the file that holds its pixels.

    Raises:
        InputError: an absurd place, or pixels in several files or outside of its folder.
    """
    with path.open("rb") as f:
        head = f.read(HEADER)
    text, *pixels = re.split(rb"\n\r?\n", head, maxsplit=1)
    if not pixels and len(head) == HEADER:
        raise _damaged(path, "NRRD", f"no end of it in {HEADER} bytes")
    for line in text.split(b"\n"):
        if len(line) > LONGEST and not re.match(rb"[^:]*:=", line):
            raise _damaged(path, "NRRD", f"a line of {len(line)} bytes")
    for line in _NRRD_PLACE.findall(text):
        numbers = [float(number) for number in _NUMBER.findall(line)]
        if not _sane(numbers):
            raise _damaged(path, "NRRD", f"{line[:80].decode(errors='replace')!r}")
    found = _DATA_FILE.search(text)
    file = _beside(path, found[1].decode(errors="replace")) if found else path
    if _NRRD_TEXT.search(text):
        with file.open("rb") as f:
            numbers = f.read(MOST_TEXT + 1)
        if len(numbers) > MOST_TEXT or _NRRD_WORD.search(numbers, 0 if found else len(text)):
            raise _damaged(path, "NRRD", "pixels as text that are no numbers, or too many of them")
    return file


def _meta_entries(path: Path) -> tuple[dict[str, str], int]:
    """Key → value, up to ElementDataFile, which must come, and where that ends.

    NDims must come before what depends on it.
    """
    with path.open("rb") as f:
        head = f.read(HEADER)
    said: dict[str, str] = {}
    end = 0
    for line in head.split(b"\n"):
        end += len(line) + 1
        key, equals, value = (part.strip() for part in line.decode("latin1").partition("="))
        if not equals or not re.fullmatch(r"\w{1,64}", key, re.ASCII) or key in said or len(value) > 1024:
            break
        said[key] = value
        if key == "ElementDataFile":
            return said, end
        if key in (*_META_VECTORS, *_META_MATRICES) and "NDims" not in said:
            break
    raise _damaged(path, "MetaImage", f"an unusual one after {list(said)[-1:]}")


def _check_packed(path: Path, file: Path, start: int, length: int) -> None:
    """Raise ``InputError`` unless a zlib stream from ``start`` has this length; MetaIO would wait for it."""
    found, unpack = 0, zlib.decompressobj()
    with file.open("rb") as f:
        f.seek(start)
        try:
            while not unpack.eof and found <= length and (block := f.read(2**20)):
                while block and found <= length:
                    found += len(unpack.decompress(block, 2**22))
                    block = unpack.unconsumed_tail
        except zlib.error:
            found = -1
    if not unpack.eof or found != length:
        raise InputError(
            f"{path}: expected {length} bytes of pixels, found packed ones which cannot hold them"
        )


def _numbers(text: str) -> list[float]:
    """The credible numbers that a text is; none if it is not only those."""
    try:
        numbers = [float(word) for word in text.split()]
    except ValueError:
        return []
    return numbers if _sane(numbers) else []


def _sane(numbers: Iterable[float]) -> bool:
    return all(abs(number) <= FARTHEST for number in numbers)  # false for NaN


def _beside(path: Path, name: str) -> Path:
    """The file of this name beside or below a header."""
    other = path.parent / name
    parts = PureWindowsPath(name)  # which knows both slashes
    several = "%" in name or name.upper().split(maxsplit=1)[:1] == ["LIST"]
    if several or parts.anchor or ".." in parts.parts:
        raise InputError(f"{path}: expected its pixels in one file beside it, found {name[:80]!r}")
    if not other.is_file():
        raise InputError(f"{path}: expected its pixels in {name[:80]!r}, found no such file")
    return other


def _damaged(path: Path, kind: str, found: str) -> InputError:
    return InputError(f"{path}: expected a {kind} header that makes sense, found {found}")
