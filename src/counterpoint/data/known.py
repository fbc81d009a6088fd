"""Well-known data sets as they lie on disk: MNIST and its like (idx), CIFAR-10 and CIFAR-100 (binary)."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from counterpoint.core.errors import InputError
from counterpoint.data.arrays import Arrays, chosen_parts, joined
from counterpoint.data.kinds import DENSEST, HARMLESS, check_unpacked

IMAGES = {"train": ("*train-images*idx3*",), "test": ("*t10k-images*idx3*", "*test-images*idx3*")}
"""Files that hold the images of a part of MNIST, Fashion-MNIST, KMNIST or EMNIST."""

BATCHES = {"train": ("data_batch_[1-5].bin", "train.bin"), "test": ("test_batch.bin", "test.bin")}
"""Files that hold a part of CIFAR-10 or CIFAR-100."""

PACKED = ("raw", "MNIST/raw", "cifar-10-batches-bin", "cifar-100-binary")
"""Folders that the distributions and other libraries put them in."""

PICKLED = ("data_batch_1", "cifar-10-batches-py", "cifar-100-python")
"""What lies there when somebody took the Python version of CIFAR."""


def known(folder: Path) -> Callable[[Path, str | None], Arrays] | None:
    """The reader for what a folder holds, or None if it is none of the well-known sets."""
    if any(_found(folder, patterns) for patterns in IMAGES.values()):
        return read_mnist
    if any(_found(folder, patterns) for patterns in BATCHES.values()):
        return read_cifar
    if any((folder / name).exists() for name in PICKLED):
        raise InputError(
            f"{folder}: expected the binary version of CIFAR (*.bin), found the Python version, which is "
            "pickled and never opened"
        )
    return None


def read_mnist(folder: Path, part: str | None = None) -> Arrays:
    """MNIST, Fashion-MNIST, KMNIST or EMNIST: pairs of idx files, gzipped or not, in a folder or its ``raw``.

    Args:
        folder: Where the files lie.
        part: "train" or "test"; both if not given.

    Returns:
        Images (N, 1, 28, 28) uint8 with labels.

    Raises:
        InputError: a missing, damaged or ambiguous file, or a part that is not there.
    """
    folder = Path(folder)
    files = _parts(folder, IMAGES, part)
    found = []
    for several in files.values():
        images = {f.name.removesuffix(".gz"): f for f in sorted(several, reverse=True)}
        if len(images) > 1:
            raise InputError(f"{folder}: expected one set, found {', '.join(sorted(images))}; keep one")
        image = next(iter(images.values()))
        wanted = image.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
        label = next(
            (f for f in (image.with_name(wanted), image.with_name(f"{wanted}.gz")) if f.is_file()), None
        )
        if label is None:
            raise InputError(
                f"{image.parent / wanted}: expected the labels of {image.name}, found nothing there"
            )
        found.append(Arrays(read_idx(image), read_idx(label), name=str(image)))
    return joined(found, list(files), str(folder))


def read_cifar(folder: Path, part: str | None = None) -> Arrays:
    """CIFAR-10 or CIFAR-100 (fine labels) in their binary version, in a folder or one below it.

    Args:
        folder: Where the ``.bin`` files lie.
        part: "train" or "test"; both if not given.

    Returns:
        Images (N, 3, 32, 32) uint8 with labels and, if their file is there, names of the classes.

    Raises:
        InputError: a damaged file, or a part that is not there.
    """
    folder = Path(folder)
    files = _parts(folder, BATCHES, part)
    found = []
    for batches in files.values():
        hundred = batches[0].name in ("train.bin", "test.bin")
        before = 2 if hundred else 1  # bytes before the pixels; the last of them is the (fine) class
        rows = np.concatenate([_records(file, before + 3072) for file in batches])
        names = batches[0].with_name("fine_label_names.txt" if hundred else "batches.meta.txt")
        classes = names.read_text(encoding="utf-8").split() if names.is_file() else ()
        image = rows[:, before:].reshape(-1, 3, 32, 32)
        found.append(Arrays(image, rows[:, before - 1], classes, name=str(batches[0])))
    return joined(found, list(files), str(folder))


def read_idx(path: Path) -> np.ndarray:
    """An array of bytes from an idx file, gzipped or not (LeCun, yann.lecun.com/exdb/mnist).

    Raises:
        InputError: a missing or damaged file, or one that holds other than unsigned bytes.
    """
    path = Path(path)
    data = _bytes(path)
    if data[:3] != b"\0\0\x08" or len(data) < 4 or data[3] > 8 or len(data) < 4 + 4 * data[3]:
        raise InputError(
            f"{path}: expected an idx file of unsigned bytes, found one that begins {data[:4]!r}"
        )
    shape = np.frombuffer(data, ">u4", data[3], 4).tolist()
    body = data[4 + 4 * data[3] :]
    if len(body) != math.prod(shape):
        raise InputError(
            f"{path}: expected {math.prod(shape)} bytes for {' × '.join(map(str, shape))}, found {len(body)}"
        )
    return np.frombuffer(body, np.uint8).reshape(shape)


def _parts(folder: Path, named: Mapping[str, Sequence[str]], part: str | None) -> dict[str, list[Path]]:
    """The files of the parts asked for; raises ``InputError`` if there are none."""
    files = {p: found for p, patterns in named.items() if (found := _found(folder, patterns))}
    if not files:
        wanted = " or ".join(next(iter(named.values())))
        raise InputError(f"{folder}: expected files such as {wanted}, found none")
    return {p: files[p] for p in chosen_parts(part, list(files), str(folder)) if p}


def _found(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Files of these names in a folder, or else in one of those in which they are usually packed."""
    for place in (folder, *(folder / name for name in PACKED)):
        for pattern in patterns:
            if files := sorted(f for f in place.glob(pattern) if f.is_file()):
                return files
    return []


def _records(path: Path, length: int) -> np.ndarray:
    """(N, length) uint8."""
    data = _bytes(path)
    if not data or len(data) % length:
        raise InputError(f"{path}: expected whole records of {length} bytes, found {len(data)} bytes in all")
    return np.frombuffer(data, np.uint8).reshape(-1, length)


def _bytes(path: Path) -> bytes:
    """The content of a file, unpacked if it is gzipped."""
    try:
        with path.open("rb") as file:
            if file.read(2) != b"\x1f\x8b":
                return path.read_bytes()
        stored = path.stat().st_size
        most = max(HARMLESS, DENSEST * stored)
        with gzip.open(path) as packed:
            data = packed.read(most + 1)
        check_unpacked(path, len(data), stored)
        return data
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path}: expected a file that can be read, found: {reason}") from None
