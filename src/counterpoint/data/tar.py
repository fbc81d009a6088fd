"""Tar archives as webdataset writes them: "key.jpg" beside "key.cls" or "key.json", sample after sample.

Headers are read once, image files in place when they are needed. Nothing is unpacked, links are passed over,
and names of members are text, never paths.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import IO, Any

import numpy as np

from counterpoint.core.errors import InputError
from counterpoint.data.archive import MOST_BYTES, Listing, described

IMAGES = ("jpg", "jpeg", "png", "tif", "tiff", "ome.tif", "ome.tiff")
TEXTS = ("cls", "json")
MOST_TEXT = 2**20
"""Largest header or text that is read, in bytes."""


class Tar:
    """The image files in a tar file, by where they begin."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = self.size = np.zeros(0, np.int64)

    def reader(self, rows: Sequence[int]) -> Callable[[int], bytes]:  # noqa: ARG002 -- each is read by itself
        """See ``Piece``."""
        return self._read

    def name(self, row: int) -> str:
        """The archive and the member, as its header has it."""
        try:
            header = self._bytes(int(self.offset[row]) - tarfile.BLOCKSIZE, tarfile.BLOCKSIZE)
            return f"{self.path}, {tarfile.TarInfo.frombuf(header, 'utf-8', 'replace').name}"
        except (OSError, tarfile.TarError):
            return f"{self.path}, image {row}"

    def _read(self, row: int) -> bytes:
        try:
            data = self._bytes(int(self.offset[row]), int(self.size[row]))
        except OSError as error:
            raise InputError(
                f"{self.path}: expected a file that can be read, found: {error.strerror}"
            ) from None
        if len(data) < self.size[row]:
            raise InputError(f"{self.name(row)}: expected {self.size[row]} bytes, found {len(data)}")
        return data

    def _bytes(self, start: int, count: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(count)


def list_tar(path: Path) -> list[Listing]:
    """The samples of a tar file in their order; members with one name up to its first dot are one sample.

    Raises:
        InputError: no tar file, or a compressed one, in which nothing can be found without unpacking it.
    """
    tar = Tar(path)
    listing = Listing(tar)
    offsets: list[int] = []
    sizes: list[int] = []
    try:
        with path.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(0)
            members = _members(file, path, end, listing.damaged)
            for key, sample in groupby(members, lambda member: _split(member.name)[0]):
                found = _sample(f"{path}, {key}", file, list(sample), end)
                if isinstance(found, str):
                    listing.damaged.append(found)
                elif found is not None:
                    image, label, group = found
                    listing.add(len(offsets), label, group)
                    offsets.append(image.offset_data)
                    sizes.append(image.size)
    except OSError as error:
        raise InputError(f"{path}: expected a file that can be read, found: {error.strerror}") from None
    tar.offset, tar.size = np.array(offsets, np.int64), np.array(sizes, np.int64)
    return [listing]


def _members(file: IO[bytes], path: Path, end: int, damaged: list[str]) -> Iterator[tarfile.TarInfo]:
    """Plain files of a kind we know; what ends the archive too early goes to ``damaged``."""
    last = -1
    try:
        with tarfile.open(fileobj=_Sparing(file), mode="r:") as tar:  # type: ignore[arg-type]
            while (member := tar.next()) is not None:
                tar.members.clear()  # it would keep them all
                if member.offset <= last or member.size < 0:
                    raise tarfile.ReadError("a header that leads backwards")
                last = member.offset
                if member.isreg() and not member.issparse() and _split(member.name)[1] in IMAGES + TEXTS:
                    yield member
            file.seek(tar.offset)
            if tar.offset < end and any(file.read(tarfile.BLOCKSIZE)):
                raise tarfile.ReadError("a damaged header")
    except OSError:
        raise
    except Exception as error:  # hostile headers are met with every kind of exception there is
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if last < 0:
            raise InputError(f"{path}: expected a tar file, not compressed, found: {reason}") from None
        damaged.append(f"{path}: expected a whole tar file, found one that ends early: {reason}")


def _sample(
    name: str, file: IO[bytes], members: list[tarfile.TarInfo], end: int
) -> tuple[tarfile.TarInfo, str | None, str | None] | str | None:
    """Image member, label and group; a sentence for a sample that cannot be used."""
    by_kind = {_split(member.name)[1]: member for member in members}
    images = [by_kind[kind] for kind in IMAGES if kind in by_kind]
    if len(images) != 1 or len(by_kind) < len(members):
        kinds = ", ".join(f".{_split(m.name)[1]}" for m in members)
        return f"{name}: expected one image and at most one .cls and .json, found {kinds}"
    image = images[0]
    if not 0 < image.size <= MOST_BYTES:
        return f"{name}: expected an image file of 1 to {MOST_BYTES} bytes, found {image.size}"
    if image.offset_data + image.size > end:
        return f"{name}: expected {image.size} bytes, found {max(end - image.offset_data, 0)}"
    label = group = None
    for kind in (k for k in reversed(TEXTS) if k in by_kind):  # .cls has the last word
        member = by_kind[kind]
        if member.size > MOST_TEXT:
            return f"{name}.{kind}: expected at most {MOST_TEXT} bytes, found {member.size}"
        file.seek(member.offset_data)
        text = file.read(member.size)
        if kind == "json":
            label, group = described(text)
        else:
            label = text.decode("utf-8", "replace").strip() or None
    return image, label, group


def _split(name: str) -> tuple[str, str]:
    """Key and kind, apart at the first dot: "a/b.ome.tif" → "a/b", "ome.tif"; hidden files have no kind."""
    folder, slash, last = name.rpartition("/")
    stem, _, kind = last.partition(".")
    return folder + slash + stem, kind.lower() if stem else ""


class _Sparing:
    """A file of which little is read at a time: a header may announce a name of any length."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, count: int = -1) -> Any:
        if not 0 <= count <= MOST_TEXT:
            raise tarfile.ReadError(f"a header of {count} bytes")
        return self._file.read(count)
