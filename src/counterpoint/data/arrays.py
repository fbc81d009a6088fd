"""Images in memory, with or without labels, and the array files they come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from counterpoint.core.errors import InputError, unknown
from counterpoint.core.types import Batch
from counterpoint.data.kinds import check_unpacked
from counterpoint.data.pixels import resized, stack, unit_floats, with_channels

MOST_CLASSES = 2**16
"""Class numbers from here on are taken for something else, such as a patient's number."""

PARTS = ("train", "val", "test")
"""Parts that a data set may come in, in the order in which they are joined."""

IMAGE = ("image", "images", "x", "data", "arr_0")
LABEL = ("label", "labels", "y", "target", "targets")
GROUP = ("group", "groups", "patient", "patients", "subject", "subjects")
CLASSES = ("classes", "class_names", "label_names")


class Arrays:
    """Images in memory."""

    def __init__(
        self,
        image: np.ndarray | Tensor,
        label: np.ndarray | Tensor | Sequence[int] | None = None,
        classes: Sequence[str] = (),
        *,
        group: np.ndarray | Tensor | Sequence[int] | Sequence[str] | None = None,
        part: Tensor | None = None,
        name: str = "image",
    ) -> None:
        """Take images as they are; 8-bit ones are kept so and become float batch by batch.

        Args:
            image: Tensor (N, C, H, W), or array (N, H, W), (N, H, W, C) or (N, C, H, W) with C ≤ 4; uint8,
                uint16, bool, or float in [0, 1].
            label: (N,) whole numbers from 0, the class of each image.
            classes: Names of the classes by number; the numbers themselves where not given.
            group: (N,) what images belong together (a patient, a slide), numbers or names.
            part: (N,) indices into ``PARTS``, where samples of several parts lie together.
            name: What messages call the data.

        Raises:
            InputError: images of another layout, type or range; labels or groups of another number or type.
        """
        self.image: Tensor = stack(image, name)
        """(N, C, H, W) uint8, or float32 in [0, 1]."""
        self.label: Tensor | None = None if label is None else labels(label, len(self.image), name)
        """(N,) int64."""
        self.classes: tuple[str, ...] = class_names(self.label, classes, name)
        """Names of the classes, by number."""
        self.group: Tensor | None = None if group is None else groups(group, len(self.image), name)
        """(N,) int64."""
        self.part = part
        """(N,) int64 indices into ``PARTS``, where samples of several parts lie together."""
        self.provides = frozenset({"image", "id"} | ({"label"} if self.label is not None else set()))

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self.image)

    def steps(self, size: int) -> int:
        """How many full batches of ``size`` an epoch has."""
        return len(self) // size

    def epoch(self, size: int, rng: torch.Generator, start: int = 0) -> Iterator[Batch]:
        """Full batches in random order: "image" (B, C, H, W) float32 in [0, 1], "id", "label" (B,) int64."""
        return map(self._batch, shuffled(len(self), size, rng)[start:])

    def parts(self, size: int) -> Iterator[Batch]:
        """All samples once, in order; the last batch may be smaller."""
        return map(self._batch, torch.arange(len(self)).split(size))

    def subset(self, index: Tensor) -> Self:
        """Some of the samples, (M,) int64, numbered anew from 0; the classes stay."""
        label, group, part = (None if x is None else x[index] for x in (self.label, self.group, self.part))
        return type(self)(self.image[index], label, self.classes, group=group, part=part)

    def _batch(self, index: Tensor) -> Batch:
        batch = {"image": unit_floats(self.image[index]), "id": index}
        return batch if self.label is None else batch | {"label": self.label[index]}


def read_arrays(
    path: Path | str, part: str | None = None, *, size: int | None = None, channels: int | None = None
) -> Arrays:
    """Images, and labels if there are any, from a ``.npy`` or ``.npz`` file.

    Entries of an ``.npz`` go by their names: images "image", "images", "x", "data" or "arr_0"; labels
    "label", "labels", "y", "target" or "targets"; names of classes "classes"; groups "group", "patient" or
    "subject". A part stands before or after: "x_train", "train_images" (MedMNIST, Keras).

    Args:
        path: The file.
        part: "train", "val" or "test"; all parts one after the other if not given.
        size: Side in pixels that images are resized to, the middle of longer ones.
        channels: 1 or 3, to convert between gray and color.

    Raises:
        InputError: a file that is missing, damaged or holds pickled objects; no images in it; a part it has
            not; images or labels that ``Arrays`` refuses.
    """
    path = Path(path)
    entries = _load(path)
    there = [p for p in PARTS if _pick(entries, IMAGE, p) is not None]
    found = [_part(entries, p, path, size, channels) for p in chosen_parts(part, there, str(path))]
    return joined(found, there, str(path))


def chosen_parts(part: str | None, there: Sequence[str], name: str) -> Sequence[str | None]:
    """The parts to take of those there are: the one asked for, or all. Without any, "train" is everything.

    Raises:
        InputError: a part that is not there, or that no data have.
    """
    if part is not None and part not in PARTS:
        raise unknown("part", part, PARTS)
    if not there and part in (None, "train"):
        return (None,)
    if part is not None and part not in there:
        raise InputError(f"{name}: expected a part {part!r}, found {', '.join(there) or 'no parts'}")
    return there if part is None else (part,)


def joined(sets: Sequence[Arrays], parts: Sequence[str], name: str) -> Arrays:
    """Several parts one after the other; groups of different parts stay apart. One set is itself.

    Args:
        sets: At least one.
        parts: What part each set is.
        name: What messages call the data.

    Raises:
        InputError: images of unlike sizes or channels, or labels in some parts only.
    """
    if len(sets) == 1:
        return sets[0]
    shapes = sorted({tuple(s.image.shape[1:]) for s in sets})
    if len(shapes) > 1:
        raise InputError(f"{name}: expected images of one shape in all parts, found {shapes}; give a size")
    label = [s.label for s in sets if s.label is not None]
    if label and len(label) < len(sets):
        raise InputError(f"{name}: expected labels in all parts or in none, found them in {len(label)}")
    alike = len({s.image.dtype for s in sets}) == 1
    group = [f"{i} {g}" for i, s in enumerate(sets) if s.group is not None for g in s.group.tolist()]
    return Arrays(
        torch.cat([s.image if alike else unit_floats(s.image) for s in sets]),
        torch.cat(label) if label else None,
        max((s.classes for s in sets), key=len),
        group=group if len(group) == sum(map(len, sets)) else None,
        part=torch.cat([torch.full((len(s),), PARTS.index(p)) for s, p in zip(sets, parts, strict=True)]),
        name=name,
    )


def shuffled(count: int, size: int, rng: torch.Generator) -> Sequence[Tensor]:
    """The samples of an epoch, in random order, in full batches."""
    return torch.randperm(count, generator=rng)[: count // size * size].split(size)


def labels(given: np.ndarray | Tensor | Sequence[int], count: int, name: str) -> Tensor:
    """(count,) int64 class numbers; raises ``InputError`` unless they are that many whole numbers from 0."""
    array = np.asarray(given)
    if array.shape == (count, 1):  # as MedMNIST has them
        array = array[:, 0]
    if array.ndim == 2:
        raise InputError(f"{name}: expected one label for each image, found labels of shape {array.shape}")
    if array.shape != (count,):
        raise InputError(f"{name}: expected {count} labels, one for each image, found {array.size}")
    if array.dtype.kind not in "bui":
        raise InputError(f"{name}: expected labels that are whole numbers, found {array.dtype}")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= MOST_CLASSES:
        raise InputError(
            f"{name}: expected labels from 0 to below {MOST_CLASSES}, found {low if low < 0 else high}"
        )
    return torch.from_numpy(array.astype(np.int64))


def class_names(label: Tensor | None, given: Sequence[str], name: str) -> tuple[str, ...]:
    """Names of the classes by number; raises ``InputError`` if there are fewer names than classes."""
    count = 0 if label is None else int(label.max()) + 1
    if given and len(given) < count:
        raise InputError(f"{name}: expected names for {count} classes, found {len(given)}")
    return tuple(map(str, given)) if given and label is not None else tuple(map(str, range(count)))


def groups(given: np.ndarray | Tensor | Sequence[int] | Sequence[str], count: int, name: str) -> Tensor:
    """(count,) int64 from 0, in the order of the names; raises ``InputError`` unless there are that many."""
    array = np.asarray(given)
    if array.shape != (count,):
        raise InputError(f"{name}: expected {count} groups, one for each image, found shape {array.shape}")
    return torch.from_numpy(np.unique(array, return_inverse=True)[1].astype(np.int64))


def part_numbers(parts: Sequence[str]) -> Tensor:
    """(N,) int64 indices into ``PARTS``."""
    return torch.tensor([PARTS.index(p) for p in parts])


def _load(path: Path) -> dict[str, np.ndarray]:
    """The entries of a file whose names say something to us; that of an ``.npy`` is "image"."""
    if not path.is_file():
        raise InputError(f"{path}: expected an array file (.npz, .npy), found nothing there")
    known = {*IMAGE, *LABEL, *GROUP, *CLASSES}
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"image": loaded}
        with loaded:
            wanted = [k for k in loaded.files if known & {k.lower(), *k.lower().split("_")}]
            _check_unpacked(path, loaded, wanted)
            entries, names = {k: loaded[k] for k in wanted}, ", ".join(loaded.files)[:200]
            if foreign := [k for k, entry in entries.items() if not isinstance(entry, np.ndarray)]:
                raise ValueError(f"no array as {foreign[0][:80]}")
    except InputError:
        raise
    except Exception as error:  # damaged headers are met with every kind of exception there is
        if "allow_pickle" in str(error):
            found = "pickled objects, which are never opened"
        else:
            found = f"what cannot be read: {(str(error) or 'it ends early').splitlines()[0][:160]}"
        raise InputError(f"{path}: expected plain arrays, found {found}") from None
    if not any(set(IMAGE) & {k.lower(), *k.lower().split("_")} for k in entries):
        raise InputError(
            f"{path}: expected images under a name such as {', '.join(IMAGE)} or x_train, found "
            f"{names or 'nothing'}"
        )
    return entries


def _check_unpacked(path: Path, loaded: np.lib.npyio.NpzFile, wanted: Sequence[str]) -> None:
    """Raise ``InputError`` on entries that unpack to far more than the file holds, before any is."""
    assert loaded.zip is not None
    # "image" and "image.npy" go by one name, and either may be what is read.
    sizes = [i.file_size for i in loaded.zip.infolist() if i.filename.removesuffix(".npy") in wanted]
    check_unpacked(path, sum(sizes), path.stat().st_size)


def _part(
    entries: dict[str, np.ndarray], part: str | None, path: Path, size: int | None, channels: int | None
) -> Arrays:
    """One part, or the whole of a file without parts."""
    name = str(path) if part is None else f"{path}, {part}"
    image, classes = _pick(entries, IMAGE, part), _pick(entries, CLASSES)
    if image is None:
        raise InputError(f"{name}: expected images, found {', '.join(entries)}")
    return Arrays(
        with_channels(resized(stack(image, name), size), channels, name),
        _pick(entries, LABEL, part),
        () if classes is None else [str(c) for c in classes.ravel()],
        group=_pick(entries, GROUP, part),
        name=name,
    )


def _pick(entries: dict[str, np.ndarray], known: Sequence[str], part: str | None = None) -> np.ndarray | None:
    """The entry of one of these names, and of a part, whatever the case of its letters."""
    lower = {k.lower(): v for k, v in entries.items()}
    names = [n for k in known for n in ((k,) if part is None else (f"{k}_{part}", f"{part}_{k}"))]
    return next((lower[n] for n in names if n in lower), None)
