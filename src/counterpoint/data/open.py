"""Opening data by what the user says: a path, or the name of a set that comes with the package."""

from __future__ import annotations

from pathlib import Path

from counterpoint.core.errors import InputError, unknown
from counterpoint.data.arrays import Arrays, read_arrays
from counterpoint.data.digits import digits
from counterpoint.data.folder import Files, OnError, read_folder
from counterpoint.data.known import known
from counterpoint.data.pixels import resized, with_channels
from counterpoint.data.shapes import shapes
from counterpoint.data.shards import ARCHIVES, Shards, expanded, in_folder, read_shards
from counterpoint.data.table import read_table

NAMED = {"digits": digits, "shapes": shapes}
"""Sets that come with the package, by name."""


def open_data(
    source: Path | str,
    part: str | None = None,
    *,
    size: int | None = None,
    channels: int | None = None,
    on_error: OnError = "stop",
    workers: int = 2,
) -> Arrays | Files | Shards:
    """A data set from a path or by name.

    A path is an array file (``.npz``, ``.npy``), a table (``.csv``, ``.tsv``), a folder that holds MNIST or
    CIFAR as they are distributed, a folder of images, or archives: a ``.tar`` or ``.parquet`` file, a folder
    of such, or several by number as in ``shards-{0000..0009}.tar``. A name is "digits" or "shapes".

    Args:
        source: The path or name.
        part: "train", "val" or "test"; all parts one after the other if not given. Data without parts are
            all of them "train".
        size: Side in pixels that images are resized to, the middle of longer ones; 32 for those by name if
            not given.
        channels: 1 or 3, to convert between gray and color.
        on_error: "stop" or "skip" at an image that cannot be read.
        workers: Threads that read image files; what comes does not depend on them.

    Raises:
        InputError: an unknown name, nothing at the path, or data that cannot be used; the message says which
            file, what was expected and what was found.
    """
    path = Path(source)
    options = {"size": size, "channels": channels, "on_error": on_error, "workers": workers}
    if several := expanded(path):
        return read_shards(several, part, name=str(path), **options)
    if not path.exists():
        if str(source) in NAMED:
            return NAMED[str(source)](part, size=size or 32, channels=channels)
        if path.suffix or len(path.parts) > 1:
            raise InputError(
                f"{path}: expected data (a folder, .npz, .npy, .csv, .tar, .parquet), found nothing there"
            )
        raise unknown("data (no such path, and no such name)", str(source), NAMED)
    if path.is_dir():
        if reader := known(path):
            found = reader(path, part)
            image = with_channels(resized(found.image, size), channels, str(path))
            return Arrays(image, found.label, found.classes, part=found.part, name=str(path))
        if archives := in_folder(path):
            return read_shards(archives, part, name=str(path), **options)
        return read_folder(path, part, **options)
    return _file(path, part, **options)


def _file(
    path: Path, part: str | None, size: int | None, channels: int | None, on_error: OnError, workers: int
) -> Arrays | Files | Shards:
    """Data in one file."""
    suffix = path.suffix.lower()
    if suffix in (".npz", ".npy"):
        return read_arrays(path, part, size=size, channels=channels)
    if suffix in (".csv", ".tsv"):
        return read_table(path, part, size=size, channels=channels, on_error=on_error, workers=workers)
    if suffix in ARCHIVES:
        return read_shards(
            [path], part, name=str(path), size=size, channels=channels, on_error=on_error, workers=workers
        )
    raise InputError(
        f"{path}: expected a folder, .npz, .npy, .csv, .tar or .parquet, found {suffix or 'no suffix'}"
    )
