"""Data inflation: real samples beside generated ones, the real ones several times over."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice

import torch

from counterpoint.core.data import Data
from counterpoint.core.errors import InputError
from counterpoint.core.types import Batch


class Inflated:
    """Images and further ones made by a generator as one data set, without labels.

    An epoch has every real sample ``times`` over and every generated one once, in random order, so that the
    share of real ones is ``times·n / (times·n + m)`` in the mean: a generator is never as good as what it was
    fitted to, and ``times`` says by how much the real samples count for more (Wang, Zhang, Wang 2024, AdaInf,
    section 3). A real sample keeps its id, generated ones are numbered after them; copies of a sample are the
    same sample and never negatives of each other. Compare at equal numbers of updates: an inflated epoch is a
    longer one. Fit the generator to nothing that is later tested on.
    """

    provides = frozenset({"image", "id"})

    def __init__(self, real: Data, generated: Data, times: int = 10) -> None:
        """Join two sets.

        Args:
            real: Has "image" (B, C, H, W).
            generated: Images of the same shape.
            times: How often an epoch has each real sample, ≥ 1; 1 inflates plainly.

        Raises:
            InputError: ``times`` out of range, no images, or images of unlike shapes.
        """
        if times < 1:
            raise InputError(f"times: expected at least 1, found {times}")
        shapes = []
        for data, name in ((real, "real"), (generated, "generated")):
            if "image" not in data.provides or not len(data):
                raise InputError(f"{name} data: expected images, found none")
            shapes.append(tuple(next(iter(data.parts(1)))["image"].shape[1:]))
        if shapes[0] != shapes[1]:
            raise InputError(
                f"generated data: expected images of {shapes[0]} (channels, height, width) as the real ones, "
                f"found {shapes[1]}"
            )
        self.real, self.generated, self.times = real, generated, times

    def __len__(self) -> int:
        """How many samples an epoch has, copies counted."""
        return self.times * len(self.real) + len(self.generated)

    def steps(self, size: int) -> int:
        """How many full batches of ``size`` an epoch has."""
        return len(self) // size

    def epoch(self, size: int, rng: torch.Generator, start: int = 0) -> Iterator[Batch]:
        """Full batches in random order: "image" (B, C, H, W) and "id" (B,) int64."""
        real = torch.randperm(len(self), generator=rng) < self.times * len(self.real)
        left, own = real[start * size :].tolist(), int(real[: start * size].sum())
        # One pass after another, so that the copies of a sample lie apart.
        begun = (max(0, own - done * len(self.real)) for done in range(self.times))
        passes = chain.from_iterable(self.real.epoch(1, rng, at) for at in begun)
        others = map(self._after, self.generated.epoch(1, rng, min(start * size, len(self)) - own))
        drawn = (next(passes if mine else others) for mine in left)
        return islice(_batches(drawn, size), max(0, self.steps(size) - start))

    def parts(self, size: int) -> Iterator[Batch]:
        """All samples once, the real ones first; the last batch may be smaller."""
        return _batches(chain(self.real.parts(1), map(self._after, self.generated.parts(1))), size)

    def _after(self, batch: Batch) -> Batch:
        """A generated sample, numbered after the real ones."""
        return {**batch, "id": batch["id"] + len(self.real)}


def _batches(singles: Iterator[Batch], size: int) -> Iterator[Batch]:
    """Batches of ``size`` from batches of one; the last one may be smaller."""
    while rows := list(islice(singles, size)):
        yield {key: torch.cat([row[key] for row in rows]) for key in ("image", "id")}
