from __future__ import annotations

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.metrics.classes import accuracy, balanced_accuracy


def test_by_hand():
    label, predicted = torch.tensor([4, 4, 4, 9, -1]), torch.tensor([4, 4, 9, 9, 4])
    assert accuracy(predicted, label) == pytest.approx(3 / 5)
    assert balanced_accuracy(predicted, label) == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_one_class_for_all_is_no_better_than_chance_when_balanced():
    label = torch.tensor([0] * 9 + [1])
    assert accuracy(torch.zeros_like(label), label) == 0.9
    assert balanced_accuracy(torch.zeros_like(label), label) == 0.5


def test_unlike_lengths_are_refused():
    for measure in (accuracy, balanced_accuracy):
        with pytest.raises(InputError, match="two tensors"):
            measure(torch.zeros(2), torch.zeros(3))
