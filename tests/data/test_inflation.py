from __future__ import annotations

from collections import Counter

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.data.arrays import Arrays
from counterpoint.data.inflation import Inflated


def numbered(first: int, count: int) -> Arrays:
    """Images whose only value is their number, in 256ths."""
    values = torch.arange(first, first + count, dtype=torch.uint8).view(-1, 1, 1, 1)
    return Arrays(values.expand(-1, 1, 2, 2), torch.zeros(count, dtype=torch.long))


BOTH = Inflated(numbered(0, 4), numbered(4, 11), times=3)


def shown(batch) -> list[int]:
    return (batch["image"][:, 0, 0, 0] * 255).round().int().tolist()


def test_an_epoch_has_each_real_sample_times_over_and_each_generated_one_once():
    batches = list(BOTH.epoch(1, generator(0)))
    assert len(BOTH) == BOTH.steps(1) == len(batches) == 3 * 4 + 11
    assert Counter(b["id"].item() for b in batches) == {i: 3 if i < 4 else 1 for i in range(15)}
    assert all(shown(b) == b["id"].tolist() for b in batches)  # the image of every id is its own


def test_batches_are_full_mixed_and_follow_from_the_generator():
    one, again, other = (list(BOTH.epoch(5, generator(seed))) for seed in (0, 0, 1))
    assert [len(b["id"]) for b in one] == [5] * 4 == [5] * BOTH.steps(5)
    assert all(torch.equal(a["id"], b["id"]) for a, b in zip(one, again, strict=True))
    assert any(not torch.equal(a["id"], b["id"]) for a, b in zip(one, other, strict=True))
    assert any(0 < (b["id"] < 4).sum() < 5 for b in one)
    assert set(one[0]) == BOTH.provides == {"image", "id"}  # a generator's class numbers mean nothing


def test_the_share_of_real_samples_is_that_of_the_list():
    """r n / (r n + m): of 50k images, ten times, beside a million, a third."""
    ids = torch.cat([b["id"] for epoch in range(40) for b in BOTH.epoch(5, generator(epoch))])
    assert (ids < 4).float().mean().item() == pytest.approx(12 / 23, abs=0.03)


def test_copies_of_a_sample_lie_apart():
    real = [b["id"].item() for b in BOTH.epoch(1, generator(2)) if b["id"] < 4]
    assert [sorted(real[i : i + 4]) for i in (0, 4, 8)] == [[0, 1, 2, 3]] * 3


def test_all_samples_come_once_in_order():
    batches = list(BOTH.parts(6))
    assert [len(b["id"]) for b in batches] == [6, 6, 3]
    assert [i for b in batches for i in shown(b)] == list(range(15))


@pytest.mark.parametrize(
    ("generated", "times", "words"),
    [
        (numbered(0, 2), 0, "times: expected at least 1, found 0"),
        (
            Arrays(torch.zeros(2, 3, 2, 2)),
            1,
            r"generated data: expected images of \(1, 2, 2\).*found \(3, 2, 2\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(generated, times, words):
    with pytest.raises(InputError, match=words):
        Inflated(numbered(0, 2), generated, times)
