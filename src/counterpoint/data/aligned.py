"""Aligned pairs in memory, and the tiles drawn from them: what a dense cross-modal method is trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.core.types import Batch
from counterpoint.data.intensity import unit
from counterpoint.data.read import read_image

Aligned = tuple[np.ndarray, np.ndarray]
"""(H, W, C_fixed) and (H, W, C_moving) float32 that show the same thing at the same pixel."""
Place = tuple[int, int, int]
"""Of a tile: its pair, top and left."""

TRIES = 10
"""How often a tile is drawn anew before an imperfect one is taken."""


class AlignedPatches:
    """Square tiles at random places of aligned pairs, drawn with replacement; an epoch has a fixed length.

    A tile that shares more than half of its area with another one of its batch is drawn anew: the two would
    count as negatives though they show the same. With masks, so is one of which less than half is valid.
    ``TRIES`` bounds both, so that a single small pair still gives batches.
    """

    provides = frozenset({"fixed", "moving", "id"})

    def __init__(
        self, pairs: Sequence[Aligned], side: int, length: int, masks: Sequence[np.ndarray] | None = None
    ) -> None:
        """Take pairs as they are.

        Args:
            pairs: Aligned images, (H, W, C) float32; all fixed ones have the same C, as have all moving ones.
            side: Side of the tiles in pixels; smaller images are mirrored at their edges up to it.
            length: Tiles an epoch has.
            masks: (H, W) bool for every pair, true where both images show something.

        Raises:
            InputError: no pair, or images or masks that do not fit each other.
        """
        if not pairs or side < 1 or length < 1:
            raise InputError(f"expected pairs, side ≥ 1, length ≥ 1; found {len(pairs)}, {side}, {length}")
        names = [(f"pair {i + 1}, fixed", f"pair {i + 1}, moving") for i in range(len(pairs))]
        check_aligned(pairs, names)
        self.masks = [np.ones(fixed.shape[:2], bool) for fixed, _ in pairs] if masks is None else list(masks)
        for i, (fixed, _) in enumerate(pairs):
            if len(self.masks) != len(pairs) or self.masks[i].shape != fixed.shape[:2]:
                raise InputError(
                    f"masks: expected one for each pair, of its size; pair {i + 1} has none that fits"
                )
        self.side, self.length = side, length
        self.weights = torch.tensor(
            [fixed.shape[0] * fixed.shape[1] for fixed, _ in pairs], dtype=torch.float64
        )
        self.pairs = [(_at_least(fixed, side), _at_least(moving, side)) for fixed, moving in pairs]
        self.masks = [_at_least(mask, side) for mask in self.masks]

    def __len__(self) -> int:
        """How many tiles an epoch has."""
        return self.length

    def steps(self, size: int) -> int:
        """How many batches of ``size`` an epoch has; all are full, and there is at least one."""
        return max(1, self.length // size)

    def epoch(self, size: int, rng: torch.Generator, start: int = 0) -> Iterator[Batch]:
        """Batches: "fixed" (B, C_f, T, T), "moving" (B, C_m, T, T) float32, "id" (B,) number of the tile."""
        for step in range(self.steps(size)):
            places = self._places(size, rng)
            if step >= start:
                yield self._batch(range(step * size, (step + 1) * size), places)

    def parts(self, size: int) -> Iterator[Batch]:
        """The tiles of one epoch, always the same ones, in batches of ``size`` and a smaller last one."""
        rng = generator(0, "parts")
        for start in range(0, self.length, size):
            ids = range(start, min(start + size, self.length))
            yield self._batch(ids, self._places(len(ids), rng))

    def _batch(self, ids: range, places: Sequence[Place]) -> Batch:
        return {"fixed": self._cut(places, 0), "moving": self._cut(places, 1), "id": torch.tensor(ids)}

    def _places(self, size: int, rng: torch.Generator) -> list[Place]:
        """``size`` times (pair, top, left)."""
        places: list[Place] = []
        for _ in range(size):
            place = self._place(rng)
            for _ in range(TRIES):
                if self._valid(place) and not any(self._same(place, other) for other in places):
                    break
                place = self._place(rng)
            places.append(place)
        return places

    def _place(self, rng: torch.Generator) -> Place:
        """A pair, by its area, and the corner of a tile in it, all equally likely."""
        index = int(torch.multinomial(self.weights, 1, generator=rng))
        room = (n - self.side + 1 for n in self.masks[index].shape)
        top, left = (int(torch.randint(r, (1,), generator=rng)) for r in room)
        return index, top, left

    def _same(self, a: Place, b: Place) -> bool:
        """Whether two tiles share more than half of their area."""
        high, wide = self.side - abs(a[1] - b[1]), self.side - abs(a[2] - b[2])
        return a[0] == b[0] and high > 0 and wide > 0 and 2 * high * wide > self.side**2

    def _valid(self, place: Place) -> bool:
        index, top, left = place
        return self.masks[index][top : top + self.side, left : left + self.side].mean() >= 0.5

    def _cut(self, places: Sequence[Place], which: int) -> torch.Tensor:
        """(B, C, T, T) float32: the tiles of the fixed (0) or moving (1) images."""
        tiles = [self.pairs[i][which][y : y + self.side, x : x + self.side] for i, y, x in places]
        return torch.from_numpy(np.stack(tiles).astype(np.float32)).permute(0, 3, 1, 2).contiguous()


def read_aligned(
    pairs: Sequence[tuple[Path | str, Path | str]],
    fixed_channel: int | str | None = None,
    moving_channel: int | str | None = None,
) -> list[Aligned]:
    """Aligned pairs from files, each image's intensities stretched to [0, 1].

    Args:
        pairs: (fixed, moving) paths; the two images of a pair show the same thing at the same pixel.
        fixed_channel: The one channel of the fixed images to take, by index or name; all if not given.
        moving_channel: The same for the moving images.

    Returns:
        For each pair (H, W, C_fixed) and (H, W, C_moving) float32.

    Raises:
        InputError: a file that cannot be read, two images of unlike size, channel counts that change from
            pair to pair; the message names the files.
    """
    images = [
        (
            unit(read_image(fixed, channel=fixed_channel).array),
            unit(read_image(moving, channel=moving_channel).array),
        )
        for fixed, moving in pairs
    ]
    check_aligned(images, [(str(fixed), str(moving)) for fixed, moving in pairs])
    return images


def check_aligned(pairs: Sequence[Aligned], names: Sequence[tuple[str, str]]) -> None:
    """Raise ``InputError`` unless all are (H, W, C), equal in size in a pair, in channels across pairs."""
    for pair, called in zip(pairs, names, strict=True):
        for image, name, first, example in zip(pair, called, pairs[0], names[0], strict=True):
            if image.ndim != 3:
                raise InputError(f"{name}: expected an image (H, W, C), found {image.ndim} dimensions")
            if image.shape[2] != first.shape[2]:
                raise InputError(
                    f"{name}: expected {first.shape[2]} channels as in {example}, found {image.shape[2]}"
                )
        (fixed, moving), (fixed_name, moving_name) = pair, called
        if fixed.shape[:2] != moving.shape[:2]:
            raise InputError(
                f"{moving_name}: expected {fixed.shape[1]}×{fixed.shape[0]} pixels as in {fixed_name} "
                f"(training pairs must be aligned), found {moving.shape[1]}×{moving.shape[0]}"
            )


def _at_least(image: np.ndarray, side: int) -> np.ndarray:
    """``image`` (H, W, ...) mirrored at its edges, on all sides alike, until it is ``side`` high and wide."""
    missing = [max(side - n, 0) for n in image.shape[:2]]
    if not any(missing):
        return image
    widths = [(m // 2, m - m // 2) for m in missing] + [(0, 0)] * (image.ndim - 2)
    return np.pad(image, widths, mode="reflect")
