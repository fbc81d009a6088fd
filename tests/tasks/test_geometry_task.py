from __future__ import annotations

import pytest
import torch

from counterpoint.tasks.geometry import Geometry


def test_numbers_are_those_of_the_test_data_and_no_labels_are_needed(toys):
    collapsed, even = toys.Table(torch.ones(8, 4)), toys.Table(torch.cat((torch.eye(4), -torch.eye(4))))
    out = Geometry.Config().build()(lambda _: toys.flat, collapsed, even, 0)
    assert out["rankme"] == out["effective_rank"] == pytest.approx(4) and out["alive"] == 1
    assert Geometry.Config().build()(lambda _: toys.flat, even, collapsed, 0)["rankme"] == pytest.approx(1)


def test_a_second_role_is_compared(toys):
    data = toys.Table(torch.eye(4))
    data.entries["moving"] = -data.entries["image"]
    data.provides = frozenset(data.entries)
    out = Geometry.Config(beside="moving").build()(lambda _: toys.flat, data, data, 0)
    assert out["alignment"] == pytest.approx(4)
