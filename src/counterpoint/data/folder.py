"""Images in files, and folders of such whose subfolders are the classes.

Every file is decoded once when the set is opened. What cannot be read is found out there and nowhere else:
it stops the opening, or is named, counted and left out. From then on the set is fixed, and its order and
content do not depend on how many threads read it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from counterpoint.core.errors import InputError, unknown
from counterpoint.core.types import Batch
from counterpoint.data.ahead import ahead
from counterpoint.data.arrays import PARTS, chosen_parts, class_names, groups, labels, part_numbers, shuffled
from counterpoint.data.kinds import full_suffix
from counterpoint.data.pixels import one, said, unit_floats
from counterpoint.data.read import read_image

OnError = Literal["stop", "skip"]

MEMORY = 2**30
"""Bytes of decoded images that are kept; those beyond are read anew in every epoch."""


class Files:
    """Images in files: 8-bit ones as they are, others stretched to [0, 1] by percentiles, each for itself."""

    def __init__(
        self,
        files: Sequence[Path],
        label: Sequence[int] | np.ndarray | Tensor | None = None,
        classes: Sequence[str] = (),
        *,
        group: Sequence[str] | Sequence[int] | Tensor | None = None,
        part: Tensor | None = None,
        size: int | None = None,
        channels: int | None = None,
        on_error: OnError = "stop",
        workers: int = 2,
        name: str = "files",
    ) -> None:
        """Decode every file once, and keep as many images as ``MEMORY`` holds.

        Args:
            files: One for each sample.
            label: (N,) whole numbers from 0, the class of each image.
            classes: Names of the classes by number.
            group: (N,) what images belong together (a patient, a slide), numbers or names.
            part: (N,) indices into ``PARTS``, where samples of several parts lie together.
            size: Side in pixels that images are resized to, the middle of longer ones; all must have one size
                if not given.
            channels: 1 or 3, to convert between gray and color; all must have equally many if not given.
            on_error: A file that cannot be read stops the opening, or is skipped with a warning.
            workers: Threads that read; what comes does not depend on them. 0 reads in the caller's.
            name: What messages call the data.

        Raises:
            InputError: no files; one that cannot be read, or none that can; images of unlike sizes or
                channels; labels or groups of another number or type.
        """
        if on_error not in ("stop", "skip"):
            raise unknown("value of on_error", on_error, ("stop", "skip"))
        if not files:
            raise InputError(f"{name}: expected images, found none")
        self.files, self.size, self.channels, self.workers = list(files), size, channels, workers
        self.label = None if label is None else labels(label, len(files), name)
        self.classes = class_names(self.label, classes, name)
        self.group = None if group is None else groups(group, len(files), name)
        self.part = part
        self.provides = frozenset({"image", "id"} | ({"label"} if self.label is not None else set()))
        self.skipped: tuple[str, ...] = ()
        """What was said of each file that was left out."""
        self._shape: tuple[int, ...] = ()
        self._held: dict[Path, Tensor] = {}
        self._open(on_error, name)

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self.files)

    def steps(self, size: int) -> int:
        """How many full batches of ``size`` an epoch has."""
        return len(self) // size

    def epoch(self, size: int, rng: torch.Generator, start: int = 0) -> Iterator[Batch]:
        """Full batches in random order: "image" (B, C, H, W) float32 in [0, 1], "id", "label" (B,) int64."""
        return self._batches(shuffled(len(self), size, rng)[start:])

    def parts(self, size: int) -> Iterator[Batch]:
        """All samples once, in order; the last batch may be smaller."""
        return self._batches(torch.arange(len(self)).split(size))

    def subset(self, index: Tensor) -> Self:
        """Some of the samples, (M,) int64, numbered anew from 0; the classes stay."""
        some = copy(self)
        some._held = self._held
        some._keep(index)
        return some

    def __getstate__(self) -> dict[str, Any]:
        """What goes to another process, which reads the files anew."""
        return self.__dict__ | {"_held": {}}

    def _keep(self, index: Tensor) -> None:
        of_all = (self.label, self.group, self.part)
        self.files = [self.files[i] for i in index.tolist()]
        self.label, self.group, self.part = (None if x is None else x[index] for x in of_all)

    def _batches(self, order: Sequence[Tensor]) -> Iterator[Batch]:
        images = ahead(self._image, chain.from_iterable(ids.tolist() for ids in order), self.workers)
        for ids in order:
            x = torch.stack([unit_floats(image) for image in islice(images, len(ids))])
            batch = {"image": x, "id": ids}
            yield batch if self.label is None else batch | {"label": self.label[ids]}

    def _image(self, index: int) -> Tensor:
        """(C, H, W), as it was when the set was opened."""
        path = self.files[index]
        if path in self._held:
            return self._held[path]
        image = self._read(path)
        if image.shape != self._shape:
            raise InputError(
                f"{path}: expected the {said(self._shape)} it had before, found {said(image.shape)}"
            )
        return image

    def _read(self, path: Path) -> Tensor:
        """(C, H, W) uint8, or float32 in [0, 1]."""
        return one(read_image(path).array, self.size, self.channels, str(path))

    def _open(self, on_error: OnError, name: str) -> None:
        """Find out what can be read and what shape it has; leave out the rest."""

        def attempt(path: Path) -> Tensor | InputError:
            try:
                return self._read(path)
            except InputError as error:
                return error

        kept: list[int] = []
        failed: list[str] = []
        room = MEMORY
        for i, image in enumerate(ahead(attempt, self.files, self.workers)):
            if isinstance(image, InputError):
                if on_error == "stop":
                    raise image
                failed.append(str(image))
                continue
            self._shape = self._shape or tuple(image.shape)
            if image.shape != self._shape:
                raise _unlike(self.files[i], image.shape, self.files[kept[0]], self._shape)
            kept.append(i)
            room -= image.numel() * image.element_size()
            if room >= 0:
                self._held[self.files[i]] = image
        if not kept:
            raise InputError(
                f"{name}: expected images, found none of {len(failed)} that can be read, first {failed[0]}"
            )
        if failed:
            warnings.warn(
                f"{name}: {len(failed)} of {len(self.files)} files skipped, first {failed[0]}", stacklevel=3
            )
            self._keep(torch.tensor(kept))
            self.skipped = tuple(failed)


def read_folder(
    folder: Path | str,
    part: str | None = None,
    *,
    size: int | None = None,
    channels: int | None = None,
    on_error: OnError = "stop",
    workers: int = 2,
) -> Files:
    """Images of a folder: those of each subfolder, at any depth, are a class; without subfolders, no labels.

    Subfolders "train", "val" and "test" are parts, and have the classes in them. Hidden files and files of
    other kinds are passed over; order is by name.

    Args:
        folder: Where the images lie.
        part: "train", "val" or "test"; all parts one after the other if not given.
        size: As ``Files`` takes it.
        channels: As ``Files`` takes it.
        on_error: As ``Files`` takes it.
        workers: As ``Files`` takes it.

    Raises:
        InputError: nothing there, no images, a class without images, images both beside and in subfolders, a
            part that is not there, or what ``Files`` refuses.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(
            f"{folder}: expected a folder of images, found {'a file' if folder.exists() else 'nothing there'}"
        )
    below = {p.name.lower(): p for p in _folders(folder)}
    there = [p for p in PARTS if p in below] if below.keys() <= set(PARTS) else []
    places = [folder if p is None else below[p] for p in chosen_parts(part, there, str(folder))]
    found = [_classes(place) for place in places]
    if len({None in classes for classes in found}) > 1:
        raise InputError(f"{folder}: expected class folders in all parts or in none, found them in some")
    names = sorted({name for classes in found for name in classes if name is not None})
    number = {name: i for i, name in enumerate(names)}
    files = [(f, name, at) for at, classes in enumerate(found) for name in classes for f in classes[name]]
    return Files(
        [f for f, _, _ in files],
        [number[name] for _, name, _ in files if name is not None] if names else None,
        names,
        part=part_numbers([there[at] for _, _, at in files]) if len(found) > 1 else None,
        size=size, channels=channels, on_error=on_error, workers=workers, name=str(folder),
    )  # fmt: skip


def _unlike(path: Path, shape: Sequence[int], first: Path, wanted: Sequence[int]) -> InputError:
    """The error for an image unlike the first one, with what would make them alike."""
    hint = "channels (1 or 3)" if shape[0] != wanted[0] else "a size"
    return InputError(
        f"{path}: expected {said(wanted)}, as {first} has, found {said(shape)}; give {hint} to "
        "make them alike"
    )


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _images(files: Iterable[Path]) -> list[Path]:
    return sorted(p for p in files if full_suffix(p) and not p.name.startswith(".") and p.is_file())


def _classes(folder: Path) -> dict[str | None, list[Path]]:
    """Image files by class; the only key is None where there are no classes."""
    beside = _images(folder.iterdir())
    below: dict[str | None, list[Path]] = {p.name: _images(p.rglob("*")) for p in _folders(folder)}
    if not beside and not any(below.values()):
        raise InputError(f"{folder}: expected images, found none in it")
    if beside and any(below.values()):
        raise InputError(
            f"{folder}: expected images in subfolders, one for each class, or no subfolders; found both, for "
            f"example {beside[0].name}"
        )
    empty = [name for name, files in below.items() if not files]
    if not beside and empty:
        raise InputError(f"{folder / str(empty[0])}: expected images of a class, found none in it")
    return {None: beside} if beside else below
