from __future__ import annotations

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.tasks.budget import chosen, held_out

LABEL = torch.tensor([0] * 200 + [1] * 100 + [5] * 10)[torch.randperm(310)]


def counts(rows: torch.Tensor) -> dict[int, int]:
    return {c: int((LABEL[rows] == c).sum()) for c in (0, 1, 5)}


def test_budgets_are_stratified():
    assert torch.equal(chosen(LABEL, "all", 0), torch.arange(310))
    assert counts(chosen(LABEL, "1%", 0)) == {0: 2, 1: 1, 5: 1}
    assert counts(chosen(LABEL, "10 %", 0)) == {0: 20, 1: 10, 5: 1}
    assert counts(chosen(LABEL, "0.5%", 0)) == {0: 1, 1: 1, 5: 1}
    assert (
        counts(chosen(LABEL, "7/class", 0))
        == counts(chosen(LABEL, "7 per class", 0))
        == dict.fromkeys((0, 1, 5), 7)
    )


def test_the_seed_decides_and_small_budgets_are_part_of_large_ones():
    small, large = chosen(LABEL, "1%", 3), chosen(LABEL, "10%", 3)
    assert torch.equal(small, chosen(LABEL, "1%", 3)) and not torch.equal(large, chosen(LABEL, "10%", 4))
    assert set(small.tolist()) < set(large.tolist())
    assert torch.equal(large, large.unique())


@pytest.mark.parametrize("budget", ["", "none", "0%", "101%", "0/class", "5", "-1%"])
def test_what_is_no_budget_is_refused(budget):
    with pytest.raises(InputError, match="expected all, a share such as 1% or a count such as 5/class"):
        chosen(LABEL, budget, 0)


def test_more_than_there_are_is_refused():
    with pytest.raises(InputError, match="11 samples of class 5, found 10"):
        chosen(LABEL, "11/class", 0)


def test_a_held_out_part_has_a_fifth_of_every_class_and_leaves_some():
    keep, held = held_out(LABEL, 0)
    assert counts(held) == {0: 40, 1: 20, 5: 2}
    assert sorted([*keep.tolist(), *held.tolist()]) == list(range(310))
    keep, held = held_out(torch.tensor([0, 1, 1, 2]), 0)
    assert len(held) == 1 and held[0] in (1, 2) and len(keep) == 3
    assert len(held_out(torch.arange(4), 0)[1]) == 0
