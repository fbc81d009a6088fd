"""Images in archives that need not fit into memory: tar files (webdataset) and Parquet.

Opened, an archive is only listed; images are decoded as they are asked for. An epoch takes the pieces (tar
files, row groups) in random order and mixes what lies near: a sample moves by fewer than ``BUFFER`` places,
so that disks are read almost in order. That order is a function of the seed and of how many samples the
pieces have, and of nothing else: not of threads, of what is kept in memory, or of what was skipped before.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from copy import copy
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from counterpoint.core.errors import InputError, unknown
from counterpoint.core.types import Batch
from counterpoint.data.ahead import ahead
from counterpoint.data.archive import Listing
from counterpoint.data.arrays import PARTS, chosen_parts, class_names, groups, labels, part_numbers
from counterpoint.data.folder import MEMORY, OnError
from counterpoint.data.kinds import full_suffix
from counterpoint.data.parquet import list_parquet
from counterpoint.data.pixels import one, said, unit_floats
from counterpoint.data.read import decode_image
from counterpoint.data.table import numbered
from counterpoint.data.tar import list_tar

ARCHIVES = (".tar", ".parquet")
BUFFER = 4096
"""Places by fewer than which a sample moves when an epoch is mixed."""
MOST_FILES = 10**6


class Shards:
    """Images in archives: 8-bit ones as they are, others each stretched to [0, 1] by percentiles."""

    def __init__(
        self,
        listings: Sequence[Listing],
        classes: Sequence[str] = (),
        *,
        part: Sequence[str] | None = None,
        size: int | None = None,
        channels: int | None = None,
        on_error: OnError = "stop",
        workers: int = 2,
        name: str = "archives",
    ) -> None:
        """Take the samples of all listings, numbered one after the other, and decode the first.

        Args:
            listings: The pieces of the archives.
            classes: Names of the classes by number, where labels are numbers.
            part: What part each listing is of.
            size: As ``Files`` takes it.
            channels: As ``Files`` takes it.
            on_error: A sample that cannot be read stops whoever asks for it, or is skipped with a warning:
                then another takes its place in an epoch, and ``parts`` has one fewer.
            workers: As ``Files`` takes it.
            name: What messages call the data.

        Raises:
            InputError: no samples, labels of some only, or a first image that cannot be read.
        """
        if on_error not in ("stop", "skip"):
            raise unknown("value of on_error", on_error, ("stop", "skip"))
        self.size, self.channels, self.workers, self.name = size, channels, workers, name
        self.on_error: OnError = on_error
        self._left_out: dict[str, None] = {}
        self._pieces = [listing.piece for listing in listings]
        labelled = any(label is not None for listing in listings for label in listing.label)
        place, label, group = self._listed(listings, labelled)
        if not len(place):
            first = next(iter(self._left_out), "no samples")
            raise InputError(f"{name}: expected images, found none that can be read, first {first}")
        self._place = place  # (N, 2) int64: piece and row of each sample
        numbers, names = numbered(label if labelled else None)
        self.label = None if numbers is None else labels(numbers, len(place), name)
        classes = names or classes
        self.classes = class_names(self.label, classes, name)
        stated = [each for each in group if each is not None]
        self.group = groups(stated, len(place), name) if len(stated) == len(place) else None
        self.part = part_numbers(part)[place[:, 0]] if part else None
        self.provides = frozenset({"image", "id"} | ({"label"} if labelled else set()))
        self._held: dict[tuple[int, int], Tensor] = {}
        self._room = [MEMORY]
        self._shape: tuple[int, ...] = ()
        self._shape = tuple(next(self._filled(torch.arange(len(self)), 1))[1].shape)

    def __len__(self) -> int:
        """How many samples there are, with those that turn out damaged."""
        return len(self._place)

    @property
    def skipped(self) -> tuple[str, ...]:
        """What was said of each sample that was left out so far."""
        return tuple(self._left_out)

    def steps(self, size: int) -> int:
        """How many full batches of ``size`` an epoch has."""
        return len(self) // size

    def epoch(self, size: int, rng: torch.Generator, start: int = 0) -> Iterator[Batch]:
        """Full batches in mixed order: "image" (B, C, H, W) float32 in [0, 1], "id", "label" (B,) int64."""
        order = mixed(self._place[:, 0], BUFFER, rng)
        passed, count = start * size, self.steps(size) * size
        if self.on_error == "skip":  # only decoding shows which samples are damaged and left their places
            return self._batches(islice(self._filled(order, count), passed, None), size)
        return self._batches(self._filled(order[passed:count], count - passed), size)

    def parts(self, size: int) -> Iterator[Batch]:
        """All samples that can be read once, in order of id; the last batch may be smaller."""
        return self._batches(self._readable(torch.arange(len(self))), size)

    def subset(self, index: Tensor) -> Self:
        """Some of the samples, (M,) int64, best ascending, numbered anew from 0; the classes stay."""
        some = copy(self)
        some._held, some._room, some._left_out = self._held, self._room, self._left_out
        some._pieces, some._place = self._pieces, self._place[index]
        of_all = (self.label, self.group, self.part)
        some.label, some.group, some.part = (None if x is None else x[index] for x in of_all)
        return some

    def __getstate__(self) -> dict[str, Any]:
        """What goes to another process: the pieces its samples lie in, and no images."""
        used = set(self._place[:, 0].unique().tolist())
        pieces = [piece if i in used else None for i, piece in enumerate(self._pieces)]
        return self.__dict__ | {"_held": {}, "_room": [MEMORY], "_left_out": {}, "_pieces": pieces}

    def _listed(
        self, listings: Sequence[Listing], labelled: bool
    ) -> tuple[Tensor, list[str], list[str | None]]:
        """(N, 2) place, label and group of all samples that look sound; the others stop or are left out."""
        place: list[Tensor] = [torch.zeros(0, 2, dtype=torch.long)]
        label: list[str] = []
        group: list[str | None] = []
        for number, listing in enumerate(listings):
            for sentence in listing.damaged:
                self._leave_out(sentence)
            bare = [i for i, each in enumerate(listing.label) if labelled and each is None]
            for i in bare:
                name = listing.piece.name(listing.row[i])
                self._leave_out(f"{name}: expected a label as others have, found none")
            sound = sorted(set(range(len(listing.row))) - set(bare)) if bare else range(len(listing.row))
            rows = torch.tensor([listing.row[i] for i in sound], dtype=torch.long)
            place.append(torch.stack([torch.full_like(rows, number), rows], 1))
            label += [each for i in sound if (each := listing.label[i]) is not None]
            group += [listing.group[i] for i in sound]
        self._warn(0)
        return torch.cat(place), label, group

    def _batches(self, images: Iterable[tuple[int, Tensor]], size: int) -> Iterator[Batch]:
        waiting: list[tuple[int, Tensor]] = []
        for sample in images:
            waiting.append(sample)
            if len(waiting) == size:
                yield self._batch(waiting)
                waiting = []
        if waiting:
            yield self._batch(waiting)

    def _batch(self, samples: list[tuple[int, Tensor]]) -> Batch:
        ids = torch.tensor([i for i, _ in samples])
        batch = {"image": torch.stack([unit_floats(image) for _, image in samples]), "id": ids}
        return batch if self.label is None else batch | {"label": self.label[ids]}

    def _filled(self, order: Tensor, count: int) -> Iterator[tuple[int, Tensor]]:
        """``count`` samples in this order; what cannot be read is made up for from its beginning."""
        left = count
        while left > 0:
            before = left
            for sample in self._readable(order):
                yield sample
                left -= 1
                if not left:
                    return
            if left == before:
                first = next(iter(self._left_out))
                raise InputError(f"{self.name}: expected images, found none that can be read, first {first}")

    def _readable(self, order: Tensor) -> Iterator[tuple[int, Tensor]]:
        known = len(self._left_out)
        try:
            with closing(ahead(self._decoded, self._files(order), self.workers)) as samples:
                for i, image in samples:
                    if isinstance(image, InputError):
                        self._leave_out(str(image))
                        continue
                    if self._shape and image.shape != self._shape:
                        raise self._unlike(i, image.shape)
                    self._hold(i, image)
                    yield i, image
        finally:  # and not before: while threads decode, warnings are off
            self._warn(known)

    def _files(self, order: Tensor) -> Iterator[tuple[int, Tensor | Callable[[], bytes]]]:
        """Each sample as it is held, or what reads its file; pieces are opened as they come up."""
        held = dict(self._held)  # as it is now: what is held later was asked of a reader already
        place = self._place[order]
        by_piece = place[place[:, 0].argsort(stable=True)]
        begin = torch.searchsorted(by_piece[:, 0].contiguous(), torch.arange(len(self._pieces) + 1)).tolist()
        readers: dict[int, Callable[[int], bytes]] = {}
        for ids, places in zip(order.split(BUFFER), place.split(BUFFER), strict=True):
            for i, (piece, row) in zip(ids.tolist(), places.tolist(), strict=True):
                if (piece, row) in held:
                    yield i, held[piece, row]
                    continue
                if piece not in readers:
                    rows = by_piece[begin[piece] : begin[piece + 1], 1].sort().values.tolist()
                    rows = [r for r in rows if (piece, r) not in held]
                    readers[piece] = self._pieces[piece].reader(rows)
                yield i, partial(readers[piece], row)

    def _decoded(self, sample: tuple[int, Tensor | Callable[[], bytes]]) -> tuple[int, Tensor | InputError]:
        i, source = sample
        if isinstance(source, Tensor):
            return i, source
        try:
            return i, self._image(i, source())
        except InputError as error:
            return i, error

    def _image(self, i: int, data: bytes) -> Tensor:
        """(C, H, W) uint8, or float32 in [0, 1]."""

        def decoded(name: str) -> Tensor:
            return one(decode_image(data, name).array, self.size, self.channels, name)

        try:
            return decoded("image")
        except InputError:  # now its name is worth looking up
            return decoded(self._name(i))

    def _name(self, i: int) -> str:
        piece, row = self._place[i].tolist()
        return self._pieces[piece].name(row)

    def _hold(self, i: int, image: Tensor) -> None:
        place = tuple(self._place[i].tolist())
        if place not in self._held and self._room[0] >= (size := image.numel() * image.element_size()):
            self._room[0] -= size
            self._held[place] = image

    def _leave_out(self, sentence: str) -> None:
        if self.on_error == "stop":
            raise InputError(sentence)
        self._left_out[sentence] = None

    def _warn(self, known: int) -> None:
        """Say what was left out beyond the first ``known``."""
        if new := self.skipped[known:]:
            samples = "1 sample" if len(new) == 1 else f"{len(new)} samples"
            warnings.warn(f"{self.name}: {samples} skipped, first {new[0]}", stacklevel=3)

    def _unlike(self, i: int, shape: Sequence[int]) -> InputError:
        hint = "channels (1 or 3)" if shape[0] != self._shape[0] else "a size"
        return InputError(
            f"{self._name(i)}: expected {said(self._shape)}, as the first image has, found "
            f"{said(shape)}; give {hint} to make them alike"
        )


def mixed(piece: Tensor, buffer: int, rng: torch.Generator) -> Tensor:
    """An order in which pieces come up at random, each from a random place on, and what lies near is mixed.

    Args:
        piece: (N,) int64, where each sample lies; those of one piece in the order they are stored.
        buffer: Places by fewer than which a sample then moves, ≥ 1; 1 leaves the pieces in one.
        rng: Where all of it is drawn from.

    Returns:
        (N,) int64, a permutation.
    """
    number, count = piece.unique(return_inverse=True, return_counts=True)[1:]
    rank = torch.randperm(len(count), generator=rng)
    turn = (torch.rand(len(count), generator=rng, dtype=torch.float64) * count).long()
    order = number.argsort(stable=True)  # piece by piece, in which place q of n comes as (q + turn) mod n
    of = number[order]
    place = torch.arange(len(piece)) - (count.cumsum(0) - count)[of]
    stored = order[(rank[of] * (len(piece) + 1) + (place + turn[of]) % count[of]).argsort()]
    # Keys of places p and q ≥ p + buffer never cross, so none moves farther.
    key = torch.arange(len(piece)) + buffer * torch.rand(len(piece), generator=rng, dtype=torch.float64)
    return stored[key.argsort(stable=True)]


def read_shards(
    files: Sequence[Path],
    part: str | None = None,
    *,
    name: str = "archives",
    size: int | None = None,
    channels: int | None = None,
    on_error: OnError = "stop",
    workers: int = 2,
) -> Shards:
    """Images in tar files as webdataset writes them, or in Parquet files with a column of image files.

    In a tar file "key.jpg" (.png, .tif) stands beside "key.cls" (a number or a name) or "key.json" (with an
    entry "label", perhaps "group"). In a Parquet file the images are a column "image" of bytes, or of
    structs with bytes as Hugging Face's datasets writes it, beside columns "label" and "group". Files whose
    names or folders say "train", "val" or "test" are parts.

    Args:
        files: ``.tar`` and ``.parquet``, in the order of their ids.
        part: "train", "val" or "test"; all parts one after the other if not given.
        name: What messages call the data.
        size: As ``Files`` takes it.
        channels: As ``Files`` takes it.
        on_error: As ``Shards`` takes it.
        workers: As ``Files`` takes it.

    Raises:
        InputError: a file that is no archive, parts of some files only, a part that is not there, or what
            ``Shards`` refuses.
    """
    stated = [_part(file) for file in files]
    if None in stated and any(stated):
        raise InputError(
            f"{name}: expected train, val or test in the names of all archives or of none, found "
            f"{files[stated.index(None)].name} among them"
        )
    there = [p for p in PARTS if p in stated]
    both = list(zip(files, stated, strict=True))
    chosen = [(file, of) for p in chosen_parts(part, there, name) for file, of in both if p in (None, of)]
    listings: list[Listing] = []
    parts: list[str] = []
    classes: list[str] = []
    for file, of in chosen:
        if file.suffix.lower() == ".tar":
            found = list_tar(file)
        else:
            found, names = list_parquet(file)
            classes = classes or names
        listings += found
        parts += [of or ""] * len(found)
    return Shards(
        listings, classes, part=parts if len(set(parts)) > 1 else None,
        size=size, channels=channels, on_error=on_error, workers=workers, name=name,
    )  # fmt: skip


def in_folder(folder: Path) -> list[Path]:
    """The archives in a folder and its subfolders for parts, by name; none if images stand beside them."""
    places = [p for p in sorted(folder.iterdir()) if not p.name.startswith(".")]
    if any(full_suffix(p) for p in places):
        return []
    inside = [q for p in places if p.name.lower() in PARTS and p.is_dir() for q in sorted(p.iterdir())]
    return [p for p in places + inside if p.suffix.lower() in ARCHIVES and p.is_file() and p.name[0] != "."]


def expanded(source: Path) -> list[Path]:
    """The files that "name-{0000..0009}.tar" stands for; none if it is no such pattern.

    Raises:
        InputError: a file that is not there, or numbers that do not rise.
    """
    found = re.fullmatch(r"(.*)\{(\d{1,9})\.\.(\d{1,9})\}(.*)", str(source))
    if found is None:
        return []
    before, first, last, after = found.groups()
    if not 0 <= int(last) - int(first) < MOST_FILES:
        raise InputError(f"{source}: expected rising numbers, at most {MOST_FILES}, found {first} to {last}")
    files = [Path(f"{before}{i:0{len(first)}d}{after}") for i in range(int(first), int(last) + 1)]
    for file in files:
        if file.suffix.lower() not in ARCHIVES or not file.is_file():
            what = "nothing there" if file.suffix.lower() in ARCHIVES else file.suffix or "no suffix"
            raise InputError(f"{file}: expected a .tar or .parquet file, found {what}")
    return files


def _part(file: Path) -> str | None:
    """The part that a word in the name of an archive says it is of, or the name of its folder."""
    words = [*re.split(r"[^a-z]+", file.name.lower()), file.parent.name.lower()]
    return next((p for p in PARTS if p in words or (p == "val" and "validation" in words)), None)
