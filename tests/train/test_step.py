from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from counterpoint.core.roles import Roles
from counterpoint.train.step import clip_groups


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoders = Roles({"fixed": nn.Linear(2, 2), "moving": nn.Linear(2, 2)})
        self.head = nn.Linear(1, 1)


def test_groups_to_clip():
    two = Two()
    assert [len(group) for group in clip_groups(two, "turn")] == [6]
    fixed, moving, rest = clip_groups(two, "role")
    assert {*map(id, fixed)} == {*map(id, two.encoders["fixed"].parameters())}
    assert {*map(id, moving)} == {*map(id, two.encoders["moving"].parameters())}
    assert {*map(id, rest)} == {*map(id, two.head.parameters())}


def test_weights_shared_by_roles_are_clipped_once():
    shared = nn.Linear(2, 2)
    groups = clip_groups(nn.Sequential(Roles({"fixed": shared, "moving": shared})), "role")
    assert [len(group) for group in groups] == [2, 0, 0]


@pytest.mark.parametrize(("each", "expected"), [("turn", (3 / 5, 4 / 5)), ("role", (1, 1))])
def test_a_gradient_is_scaled_to_the_limit(each, expected):
    from counterpoint.train.step import _clip

    module = Roles({"a": nn.Linear(1, 1, bias=False), "b": nn.Linear(1, 1, bias=False)})
    module["a"].weight.grad, module["b"].weight.grad = torch.tensor([[3.0]]), torch.tensor([[4.0]])
    assert _clip(clip_groups(module, each), 1.0) == 5
    found = [module[role].weight.grad.item() for role in "ab"]
    assert found == pytest.approx(expected, rel=1e-5)


def test_no_limit_changes_nothing():
    from counterpoint.train.step import _clip

    module = nn.Linear(3, 3)
    module.weight.grad = torch.full((3, 3), 1e6)
    assert _clip([list(module.parameters())], 0.0) == pytest.approx(3e6)
    assert torch.equal(module.weight.grad, torch.full((3, 3), 1e6))
    module.weight.grad[0, 0] = math.inf
    assert _clip([list(module.parameters())], 0.0) == math.inf
