from __future__ import annotations

from collections import Counter

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.data.arrays import Arrays
from counterpoint.data.grouped import ByGroup

GROUP = torch.tensor([0, 1, 2, 3] * 5 + [0, 0])
DATA = Arrays(torch.rand(22, 1, 2, 2, generator=generator(0)), group=GROUP)


@pytest.mark.parametrize(("each", "size"), [(1, 4), (1, 3), (2, 6), (5, 20)])
def test_a_batch_has_so_many_of_each_of_its_groups(each, size):
    data = ByGroup(DATA, each)
    batches = list(data.epoch(size, generator(1)))
    assert len(batches) == data.steps(size) == max(1, 22 // size) and len(data) == 22
    for batch in batches:
        ids = batch["id"]
        assert len(ids.unique()) == size and torch.equal(batch["image"], DATA.image[ids])
        assert set(Counter(GROUP[ids].tolist()).values()) == {each}


def test_batches_follow_from_the_generator_and_reach_everybody():
    ids = [torch.cat([b["id"] for b in ByGroup(DATA).epoch(4, generator(s))]) for s in (0, 0, 1)]
    assert torch.equal(ids[0], ids[1]) and not torch.equal(ids[0], ids[2])
    many = torch.cat([b["id"] for s in range(20) for b in ByGroup(DATA).epoch(4, generator(s))])
    assert len(many.unique()) == 22
    assert torch.cat([b["id"] for b in ByGroup(DATA).parts(7)]).tolist() == list(range(22))


def test_what_no_groups_make_up_is_refused():
    with pytest.raises(InputError, match="expected groups, found none"):
        ByGroup(Arrays(torch.rand(3, 1, 2, 2)))
    with pytest.raises(InputError, match="each: expected 1 to 5"):
        ByGroup(DATA, 6)
    for size in (5, 10):
        with pytest.raises(InputError, match=f"batch: expected a multiple of 2 up to 8, found {size}"):
            ByGroup(DATA, 2).steps(size)
