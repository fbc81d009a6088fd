from __future__ import annotations

import pytest
import torch

from counterpoint.core.rng import generator
from counterpoint.pairs.drawn import drawn

LOGITS = torch.randn(6, 40, generator=generator(0))
NEGATIVE = torch.rand(6, 40, generator=generator(1)) < 0.7


def order(i: int) -> list[int]:
    """Negatives of a row, the hardest first."""
    there = NEGATIVE[i].nonzero()[:, 0].tolist()
    return sorted(there, key=lambda j: -LOGITS[i, j].item())


@pytest.mark.parametrize("kind", ["semi_hard", "hard", "random", "semi_easy"])
def test_as_many_as_asked_of_those_meant(kind):
    meant = {
        "semi_hard": slice(0, 8),
        "hard": slice(0, 3),
        "random": slice(None),
        "semi_easy": slice(-8, None),
    }
    seen = torch.zeros_like(NEGATIVE)
    for seed in range(200):
        found = drawn(LOGITS, NEGATIVE, kind, 8, 3, generator(seed))
        assert (found.sum(1) == 3).all()
        seen |= found
    for i in range(6):  # and each of them comes up
        assert seen[i].nonzero()[:, 0].tolist() == sorted(order(i)[meant[kind]])


def test_all_where_there_are_fewer():
    few = NEGATIVE & (torch.arange(40) < 2)
    for kind in ("semi_hard", "hard", "random", "semi_easy"):
        assert torch.equal(drawn(LOGITS, few, kind, 8, 3, generator(0)), few)
