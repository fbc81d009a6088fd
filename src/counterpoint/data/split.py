"""Dividing data: as they come divided, by group so that none is in two parts, or by class in equal shares."""

from __future__ import annotations

from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.data.arrays import PARTS


class Divisible(Protocol):
    """Data of which a subset can be taken."""

    label: Tensor | None
    group: Tensor | None
    part: Tensor | None

    def __len__(self) -> int: ...

    def subset(self, index: Tensor) -> Self:
        """Some of the samples."""
        ...


D = TypeVar("D", bound=Divisible)


def train_test(data: D, share: float = 0.2, seed: int = 0) -> tuple[D, D]:
    """What to train on and what to test on.

    Data that come in parts are divided so: "train" and "test", or "val" where there is no "test". Others are
    divided by group if they have groups, else by class, else at random.

    Args:
        data: All samples.
        share: Of the samples (or groups) to test on, in (0, 1), where the data do not come in parts.
        seed: What that choice follows from.

    Raises:
        InputError: a share out of range, or too little to divide.
    """
    if data.part is not None:
        there = {PARTS[i] for i in data.part.unique().tolist()}
        if "train" in there and len(there) > 1:
            return of_part(data, "train"), of_part(data, "test" if "test" in there else "val")
    if data.group is not None:
        train, test = by_group(data.group, share, seed)
    else:
        label = torch.zeros(len(data), dtype=torch.long) if data.label is None else data.label
        train, test = stratified(label, share, seed)
    return data.subset(train), data.subset(test)


def of_part(data: D, part: str) -> D:
    """The samples of one part; raises ``InputError`` if there are none."""
    there = [] if data.part is None else [PARTS[i] for i in data.part.unique().tolist()]
    if data.part is None or part not in there:
        raise InputError(f"expected data with a part {part!r}, found {', '.join(there) or 'no parts'}")
    return data.subset((data.part == PARTS.index(part)).nonzero()[:, 0])


def stratified(label: Tensor, share: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Indices (rest, part), ascending: of every class its rounded share, but at least one for either side.

    Args:
        label: (N,) int64.
        share: In (0, 1).
        seed: What the choice follows from.

    Raises:
        InputError: a share out of range, or fewer than two samples.
    """
    _check(share, len(label), "samples")
    chosen = torch.zeros(len(label), dtype=torch.bool)
    for c in label.unique().tolist():
        rows = (label == c).nonzero()[:, 0]
        count = min(max(round(share * len(rows)), 1), len(rows) - 1)  # a class of one stays in the rest
        drawn = torch.randperm(len(rows), generator=generator(seed, "split", c))[:count]
        chosen[rows[drawn]] = True
    if not chosen.any():
        raise InputError("split: expected a class of at least two samples, found none")
    return (~chosen).nonzero()[:, 0], chosen.nonzero()[:, 0]


def by_group(group: Tensor, share: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Indices (rest, part), ascending, such that no group (patient, slide) is in both.

    Args:
        group: (N,) int64.
        share: Of the groups, in (0, 1); either side gets at least one.
        seed: What the choice follows from.

    Raises:
        InputError: a share out of range, or fewer than two groups.
    """
    names = group.unique()
    _check(share, len(names), "groups")
    count = min(max(round(share * len(names)), 1), len(names) - 1)
    drawn = names[torch.randperm(len(names), generator=generator(seed, "split groups"))[:count]]
    chosen = torch.isin(group, drawn)
    return (~chosen).nonzero()[:, 0], chosen.nonzero()[:, 0]


def _check(share: float, count: int, what: str) -> None:
    if not 0 < share < 1:
        raise InputError(f"split: expected a share between 0 and 1, found {share}")
    if count < 2:
        raise InputError(f"split: expected at least two {what}, found {count}")
