"""Synthesis: pairs of images that show one drawn scene through two unrelated instruments, without end.

The idea is that of SynthMorph (Hoffmann et al., arXiv:2004.10282) and of general features learned by contrast
from such images (Dey et al., Learning general-purpose biomedical volume representations using randomized
synthesis, arXiv:2411.02372): who has seen every appearance is at home in all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import torch
from torch import Tensor

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.core.types import Batch
from counterpoint.data.looks import rendered
from counterpoint.data.scenes import scenes

PHOTOGRAPHS = (
    "astronaut", "brick", "camera", "cell", "chelsea", "clock", "coffee", "coins", "grass", "gravel",
    "hubble_deep_field", "retina", "rocket",
)  # fmt: skip
"""Photographs that come inside the wheel of scikit-image, CC0, public domain, or without known copyright.

Not its immunohistochemistry image: the demo is tested on that.
"""


class Synthesis:
    """Pairs drawn as they are asked for; an epoch is one of many, and never the same twice.

    A batch follows from the generator of its epoch, so a run can be repeated and resumed.
    """

    provides = frozenset({"fixed", "moving", "id"})

    def __init__(self, side: int, length: int, photographs: Sequence[str] = PHOTOGRAPHS) -> None:
        """Say what is drawn.

        Args:
            side: S, side of the images in pixels.
            length: Pairs an epoch has.
            photographs: Which of ``PHOTOGRAPHS`` are cropped; none: everything is drawn.

        Raises:
            InputError: a side under 16, a length under 1, or an unknown photograph.
        """
        if side < 16 or length < 1:
            raise InputError(f"synthesis: expected side ≥ 16 and length ≥ 1, found {side} and {length}")
        for name in photographs:
            if name not in PHOTOGRAPHS:
                raise InputError(f"synthesis: unknown photograph {name!r}; known: {', '.join(PHOTOGRAPHS)}")
        self.side, self.length = side, length
        self.photographs = [_photograph(name) for name in photographs]

    def __len__(self) -> int:
        """How many pairs an epoch has."""
        return self.length

    def steps(self, size: int) -> int:
        """How many batches of ``size`` an epoch has; all are full, and there is at least one."""
        return max(1, self.length // size)

    def epoch(self, size: int, rng: torch.Generator, start: int = 0) -> Iterator[Batch]:
        """Batches: "fixed" and "moving" (B, 1, S, S) float32 in [0, 1], "id" (B,).

        Those passed over are drawn all the same: what one draws depends on what it shows.
        """
        for step in range(self.steps(size)):
            batch = self._batch(range(step * size, (step + 1) * size), rng)
            if step >= start:
                yield batch

    def parts(self, size: int) -> Iterator[Batch]:
        """One epoch, always the same, in batches of ``size`` and a smaller last one."""
        rng = generator(0, "synthesis")
        for start in range(0, self.length, size):
            yield self._batch(range(start, min(start + size, self.length)), rng)

    def _batch(self, ids: range, rng: torch.Generator) -> Batch:
        both = rendered(scenes(len(ids), self.side, self.photographs, rng), rng)
        return {"fixed": both[:, :1], "moving": both[:, 1:], "id": torch.tensor(ids)}


@cache
def _photograph(name: str) -> Tensor:
    """(3, H, W) in [0, 1]."""
    from skimage import data

    image = torch.from_numpy(getattr(data, name)()).float() / 255
    image = image[..., None].expand(-1, -1, 3) if image.ndim == 2 else image[..., :3]
    return image.permute(2, 0, 1).contiguous()
