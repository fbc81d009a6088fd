from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from counterpoint.core.errors import InputError
from counterpoint.core.types import Progress
from counterpoint.memories.teacher import Teacher


def student() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU())


def at(step: int, steps: int = 10) -> Progress:
    return Progress(step, steps, 0, 1)


@pytest.mark.parametrize("m0", [0.0, 0.97, 0.996])
def test_the_momentum_is_that_of_byol(m0):
    teacher = Teacher(student(), m0)
    for k in range(11):
        expected = 1 - (1 - m0) * (math.cos(math.pi * k / 10) + 1) / 2
        assert teacher.momentum_at(at(k)) == pytest.approx(expected, abs=1e-12)


def test_the_momentum_ends_where_it_should_or_never_changes():
    teacher = Teacher(student(), 0.99, 0.999)
    assert [teacher.momentum_at(at(k)) for k in (0, 5, 10)] == pytest.approx([0.99, 0.9945, 0.999])
    constant = Teacher(student(), 0.3, 0.3)
    assert {constant.momentum_at(at(k)) for k in range(11)} == {0.3}


@torch.no_grad()
def test_it_follows_as_a_running_mean():
    net = student()
    teacher = Teacher(net, 0.9, 0.9)
    expected = {name: p.clone() for name, p in net.named_parameters()}
    for step in range(3):
        for p in net.parameters():
            p.add_(torch.randn_like(p))
        teacher.follow(net, at(step))
        for name, p in net.named_parameters():
            expected[name] = 0.9 * expected[name] + 0.1 * p
            torch.testing.assert_close(dict(teacher.network.named_parameters())[name], expected[name])


@torch.no_grad()
def test_at_0_it_copies_and_at_1_it_stays():
    net = student()
    copies, stays = Teacher(net, 0, 0), Teacher(net, 1, 1)
    before = [p.clone() for p in net.parameters()]
    for p in net.parameters():
        p.add_(1)
    for teacher, weights in ((copies, list(net.parameters())), (stays, before)):
        teacher.follow(net, at(0))
        assert all(map(torch.equal, teacher.network.parameters(), weights))


def test_it_has_no_gradient_and_shares_nothing():
    net = student()
    teacher = Teacher(net, 0.9)
    x = torch.rand(4, 2, requires_grad=True)
    assert not teacher(x).requires_grad and torch.equal(teacher(x), net(x))
    assert not any(p.requires_grad for p in teacher.parameters())
    assert all(p.requires_grad for p in net.parameters())
    assert not {p.data_ptr() for p in teacher.parameters()} & {p.data_ptr() for p in net.parameters()}


def test_statistics_of_normalization_are_its_own():
    net = student()
    teacher = Teacher(net, 0.5, 0.5)
    x = torch.rand(8, 2)
    for _ in range(3):
        net(x + 5)
    teacher.follow(net, at(0))
    norm = teacher.network[1]
    assert not norm.running_mean.any()  # nothing came over
    teacher(x)
    torch.testing.assert_close(norm.running_mean, 0.1 * teacher.network[0](x).mean(0))
    teacher.eval()
    torch.testing.assert_close(teacher(x), teacher.network(x))


def test_another_network_and_other_momenta_are_refused():
    teacher = Teacher(student(), 0.9)
    with pytest.raises(ValueError, match="the parameters of the network that was copied"):
        teacher.follow(nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4)), at(0))
    for momentum, last in ((1.5, 1.0), (0.9, -0.1)):
        with pytest.raises(InputError, match=r"momentum: expected a number in \[0, 1\]"):
            Teacher(student(), momentum, last)
