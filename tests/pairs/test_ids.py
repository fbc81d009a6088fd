from __future__ import annotations

import torch

from counterpoint.pairs.ids import same_sample


def test_a_set_with_itself_leaves_the_diagonal_out():
    pairs = same_sample(torch.tensor([7, 3, 7]))
    assert pairs.positive.tolist() == [[False, False, True], [False, False, False], [True, False, False]]
    assert pairs.negative.tolist() == [[False, True, False], [True, False, True], [False, True, False]]


def test_two_sets_are_compared_in_full():
    pairs = same_sample(torch.tensor([0, 1]), torch.tensor([0, 1, 0]))
    assert pairs.positive.tolist() == [[True, False, True], [False, True, False]]
    assert torch.equal(pairs.negative, ~pairs.positive)
