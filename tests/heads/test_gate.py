from __future__ import annotations

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.heads.gate import PairGate

ONE, OTHER = torch.tensor([0, 1, 2, 2]), torch.tensor([1, 1, 0, 3])


@pytest.mark.parametrize("fuse", ["mean", "product"])
def test_a_gate_is_of_the_unordered_pair_and_in_between(fuse):
    torch.manual_seed(0)
    gate = PairGate(4, 5, 6, fuse)
    found = gate(ONE, OTHER)
    assert found.shape == (4, 5) and ((found > 0) & (found < 1)).all()
    torch.testing.assert_close(found, gate(OTHER, ONE))
    gate.eval()
    again = gate(torch.tensor([2, 0]), torch.tensor([0, 2]))
    torch.testing.assert_close(again[0], again[1])  # a pair's gate is its own, whoever else there is
    torch.testing.assert_close(again[0], gate(ONE, OTHER)[2])
    assert not torch.allclose(found[0], found[1])


def test_the_two_ways_to_fuse():
    torch.manual_seed(0)
    gate = PairGate(4, 5, 6).eval()
    code = gate.code.weight
    mean = torch.sigmoid(gate.perceptron((code[ONE] + code[OTHER]) / 2))
    torch.testing.assert_close(gate(ONE, OTHER), mean)
    gate.fuse = "product"
    each = torch.sigmoid(gate.perceptron(code))
    torch.testing.assert_close(gate(ONE, OTHER), each[ONE] * each[OTHER])


def test_numbers_below_one_are_refused():
    with pytest.raises(InputError, match="gate: expected positive numbers, found 0, 5 and 6"):
        PairGate(0, 5, 6)
