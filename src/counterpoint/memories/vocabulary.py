"""Vocabulary: visual words that are local features of the last images, and the scale of distances to them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from counterpoint.core.errors import InputError
from counterpoint.memories.queue import Queue


class Vocabulary(nn.Module):
    """A queue of local features: the vocabulary moves with the teacher it describes, and needs no clustering.

    Gidaris et al. 2021 (OBoW), arXiv:2012.11552, section 3.3. It begins with the positive parts of normal
    noise. Word k is another one each time the queue has gone round, so nothing may be learned of k itself.

    Args:
        count: How many words K.
        dim: Width of a word.
        momentum: Of the running scale of distances, in [0, 1).

    Raises:
        InputError: a number out of range.
    """

    scale: Tensor

    def __init__(self, count: int, dim: int, momentum: float = 0.99) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise InputError(f"vocabulary: expected a momentum in [0, 1), found {momentum}")
        self.momentum, self.queue = momentum, Queue(count, dim, filled=True)
        self.queue.rows.copy_(torch.randn(count, dim).clamp(min=0))
        self.register_buffer("scale", torch.tensor(0.5))

    def read(self) -> Tensor:
        """(K, dim): the words. Not a copy: ``write`` changes them."""
        return self.queue.read()

    def scaled(self, distance: Tensor) -> Tensor:
        """The scale after these (..., P, K) distances to the words, (): nothing is written."""
        least = distance.amin(-1).mean().to(self.scale)
        return self.momentum * self.scale + (1 - self.momentum) * least

    @torch.no_grad()
    def write(self, words: Tensor, scale: Tensor) -> None:
        """Words (B, dim) take the place of the oldest, and the mean of scales that of the last."""
        self.queue.push(words)
        self.scale.copy_(scale.mean())


def inner(maps: Tensor) -> Tensor:
    """Maps (B, C, H, W) without their outermost places, which know the padding; small ones as they are."""
    return maps[:, :, 1:-1, 1:-1] if min(maps.shape[-2:]) > 2 else maps


def one_place(maps: Tensor, rng: torch.Generator) -> Tensor:
    """(B, C): of each map a 3×3 mean at a random place; of the whole map where it is smaller."""
    means = avg_pool2d(maps, (min(3, maps.shape[-2]), min(3, maps.shape[-1])), stride=1).flatten(2)
    place = torch.randint(means.shape[2], (len(means), 1, 1), generator=rng).to(maps.device)
    return means.gather(2, place.expand(-1, means.shape[1], 1))[..., 0]
