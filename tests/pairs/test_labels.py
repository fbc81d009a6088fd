from __future__ import annotations

import pytest
import torch

from counterpoint.pairs.labels import same_class


def test_a_set_with_itself_leaves_the_diagonal_and_the_unknown_out():
    labels = [1, 0, 1, -1, -1]
    pairs = same_class(torch.tensor(labels))
    for i, a in enumerate(labels):
        for j, b in enumerate(labels):
            assert pairs.positive[i, j] == (i != j and a == b and a >= 0)
            assert pairs.negative[i, j] == (a != b and a >= 0 and b >= 0)


def test_two_sets_are_compared_in_full():
    pairs = same_class(torch.tensor([0, 1]), torch.tensor([0, 1, -1]))
    assert pairs.positive.tolist() == [[True, False, False], [False, True, False]]
    assert pairs.negative.tolist() == [[False, True, False], [True, False, False]]


@pytest.mark.parametrize("labels", [torch.tensor([0.0, 1.0]), torch.zeros(2, 2, dtype=torch.int64)])
def test_labels_are_checked(labels):
    with pytest.raises(ValueError, match=r"labels: expected \(N,\) integers"):
        same_class(labels)
