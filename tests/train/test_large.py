from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from counterpoint.core.rng import generator
from counterpoint.core.types import Progress
from counterpoint.data.digits import digits
from counterpoint.encoders.convnet import ConvNet
from counterpoint.methods.image.simclr import SimCLR
from counterpoint.train.config import TrainConfig
from counterpoint.train.large import Lamb, Lars, ascended
from counterpoint.train.loop import _fabric, fresh
from counterpoint.train.optim import OptimConfig, rate, scaled
from counterpoint.train.step import Update
from counterpoint.views.presets import SimCLRCrops


def pair(*values: list[float]) -> list[nn.Parameter]:
    return [nn.Parameter(torch.tensor(v, dtype=torch.float64)) for v in values]


def give(parameters, gradients) -> None:
    for p, g in zip(parameters, gradients, strict=True):
        p.grad = torch.tensor(g, dtype=torch.float64)


def test_lars_by_hand():
    w, b = pair([3.0, 4.0], [1.0, 0.0])
    made = Lars([{"params": [w], "weight_decay": 0.5}, {"params": [b], "adapt": False}], lr=2.0, trust=0.1)
    give((w, b), ([0.0, 10.0], [1.0, 2.0]))
    made.step()
    # q = 0.1 · 5 / (10 + 0.5 · 5) = 0.04; v = 2 · 0.04 · (0 + 1.5, 10 + 2)
    assert w.tolist() == pytest.approx([3 - 0.12, 4 - 0.96]) and b.tolist() == pytest.approx([-1, -4])
    give((w, b), ([0.0, 0.0], [0.0, 0.0]))
    before = w.detach().clone()
    made.step()
    # no gradient: q = 0.1 ‖w‖ / (0.5 ‖w‖) = 0.2, and the momentum goes on
    expected = before - 0.9 * torch.tensor([0.12, 0.96], dtype=torch.float64) - 2 * 0.2 * 0.5 * before
    torch.testing.assert_close(w.detach(), expected)
    assert b.tolist() == pytest.approx([-1 - 1.8, -4 - 3.6])


def test_lamb_by_hand():
    w, b = pair([3.0, 4.0], [1.0, 1.0])
    made = Lamb([{"params": [w], "weight_decay": 0.5}, {"params": [b], "adapt": False}], lr=0.1, eps=1e-12)
    give((w, b), ([2.0, -7.0], [5.0, 0.0]))
    made.step()
    # bias correction makes the first m̂/√v̂ the sign: r = (1 + 1.5, −1 + 2)
    length = 5 / math.hypot(2.5, 1)
    assert w.tolist() == pytest.approx([3 - 0.1 * length * 2.5, 4 - 0.1 * length * 1.0])
    assert b.tolist() == pytest.approx([0.9, 1])


def slow_lamb(w, gradients, lr, one, two, eps, decay):
    m, v = [0.0] * len(w), [0.0] * len(w)
    for t, g in enumerate(gradients, start=1):
        r = []
        for i in range(len(w)):
            m[i] = one * m[i] + (1 - one) * g[i]
            v[i] = two * v[i] + (1 - two) * g[i] ** 2
            r.append(m[i] / (1 - one**t) / (math.sqrt(v[i] / (1 - two**t)) + eps) + decay * w[i])
        ratio = math.hypot(*w) / math.hypot(*r)
        w = [x - lr * ratio * y for x, y in zip(w, r, strict=True)]
    return w


def slow_lars(w, gradients, lr, momentum, decay, trust):
    v = [0.0] * len(w)
    for g in gradients:
        q = trust * math.hypot(*w) / (math.hypot(*g) + decay * math.hypot(*w))
        v = [momentum * a + lr * q * (b + decay * x) for a, b, x in zip(v, g, w, strict=True)]
        w = [x - a for x, a in zip(w, v, strict=True)]
    return w


@pytest.mark.parametrize("seed", range(3))
def test_many_steps_equal_a_slow_loop(seed):
    rng = torch.Generator().manual_seed(seed)
    start, gradients = (torch.randn(n, 5, generator=rng, dtype=torch.float64) for n in (1, 12))
    plain = start[0].tolist(), gradients.tolist()
    for made, slow in (
        (lambda p: Lamb(p, 0.05, (0.8, 0.95), 1e-6, 0.1), slow_lamb(*plain, 0.05, 0.8, 0.95, 1e-6, 0.1)),
        (lambda p: Lars(p, 0.7, 0.8, 0.1, 0.02), slow_lars(*plain, 0.7, 0.8, 0.1, 0.02)),
    ):
        (w,) = pair(start[0].tolist())
        optimizer = made([w])
        for g in gradients:
            w.grad = g.clone()
            optimizer.step()
        assert w.tolist() == pytest.approx(slow, rel=1e-12)


@pytest.mark.parametrize("kind", [Lars, Lamb])
def test_nothing_to_compare_is_a_plain_step_and_what_has_no_gradient_stays(kind):
    zero, idle = pair([0.0, 0.0], [1.0, 2.0])
    made = kind([zero, idle], lr=0.5)
    zero.grad = torch.tensor([3.0, -3.0], dtype=torch.float64)
    made.step()
    assert zero.tolist() == pytest.approx([-1.5, 1.5] if kind is Lars else [-0.5, 0.5], rel=1e-5)
    assert idle.tolist() == [1, 2] and idle not in made.state
    zero.grad = torch.zeros_like(zero)
    made.step()
    assert zero.isfinite().all()


@pytest.mark.parametrize("kind", [Lars, Lamb])
def test_all_state_is_by_parameter_so_that_a_checkpoint_holds_it(kind):
    rng = torch.Generator().manual_seed(0)
    gradients = torch.randn(6, 4, generator=rng)
    whole, stopped = nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(4))
    first = kind([whole], lr=0.1)
    second = kind([stopped], lr=0.1)
    for i, g in enumerate(gradients):
        if i == 3:
            state = second.state_dict()["state"]
            second = kind([stopped], lr=0.1)
            second.load_state_dict({"state": state, "param_groups": second.state_dict()["param_groups"]})
        for p, optimizer in ((whole, first), (stopped, second)):
            p.grad = g.clone()
            optimizer.step()
    assert torch.equal(whole, stopped)


class TestAscended:
    def test_the_gradient_is_that_of_the_worst_place_and_the_weights_come_back(self):
        w, b = pair([3.0], [4.0])
        module = nn.ParameterDict({"w": w, "b": b})
        (w**2 / 2 + b**2).sum().backward()  # gradient (3, 8)
        with ascended(module, 0.5) as norm:
            assert norm == pytest.approx(math.hypot(3, 8))
            assert [w.item(), b.item()] == pytest.approx([3 + 0.5 * 3 / norm, 4 + 0.5 * 8 / norm])
            w.grad = b.grad = None
            (w**2 / 2 + b**2).sum().backward()
        assert (w.item(), b.item()) == (3, 4) and b.grad is not None
        assert b.grad.item() == pytest.approx(2 * (4 + 0.5 * 8 / norm))

    def test_statistics_stay_and_so_do_weights_without_a_gradient_to_follow(self):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        module(torch.randn(8, 3)).pow(3).sum().backward()
        before = {k: v.clone() for k, v in module.state_dict().items()}
        with pytest.raises(RuntimeError, match="within"), ascended(module, 0.1):
            assert not torch.equal(module[0].weight, before["0.weight"])
            module(torch.randn(8, 3))
            raise RuntimeError("within")
        assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())
        for bad in (0.0, float("nan"), float("inf")):
            for p in module.parameters():
                p.grad = torch.full_like(p, bad)
            with ascended(module, 0.1):
                assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())

    def test_it_leaves_a_sharp_minimum_in_which_plain_descent_stays(self):
        def loss(x):  # a sharp, deeper minimum at 0 and a wide one at 3
            return -1.2 * torch.exp(-((x / 0.1) ** 2)) - torch.exp(-(((x - 3) / 2) ** 2))

        ends = []
        for radius in (0.0, 0.3):
            module = nn.ParameterDict({"x": nn.Parameter(torch.tensor([0.05]))})
            x = module["x"]
            optimizer = torch.optim.SGD([x], lr=0.005)
            for _ in range(300):
                optimizer.zero_grad()
                loss(x).sum().backward()
                with ascended(module, radius):
                    optimizer.zero_grad()
                    loss(x).sum().backward()
                optimizer.step()
            ends.append(x.item())
        assert abs(ends[0]) < 0.01 and ends[1] > 0.2


def test_an_update_follows_the_gradient_of_the_worst_place_near_by():
    """One step of SGD with SAM, by hand: the gradient at w + ρ g/‖g‖, taken from w."""
    config = SimCLR.Config(
        encoder=ConvNet.Config(channels=1, width=4), hidden=8, dim=4, views=SimCLRCrops(size=16)
    )
    batch = next(iter(digits("train", size=16).parts(16)))
    at, radius = Progress(0, 1, 0, 1), 0.5
    moved, plain = {}, {}
    for sam, into in ((radius, moved), (0.0, plain)):
        method = fresh(config, 0)
        before = {name: p.detach().clone() for name, p in method.named_parameters()}
        optim = OptimConfig(
            name="sgd", lr=1.0, momentum=0.0, weight_decay=0.0, schedule="constant", warmup=0.0, sam=sam
        )
        settings = TrainConfig(steps=1, batch=16, clip=0.0, device="cpu", optim=optim)
        Update(_fabric(settings), method, settings)([batch], at)
        into |= {name: before[name] - p.detach() for name, p in method.named_parameters()}
    method = fresh(config, 0)
    norm = torch.stack([g.norm() for g in plain.values()]).norm()
    with torch.no_grad():
        for name, p in method.named_parameters():
            p.add_(plain[name] * radius / norm)
    views = method.views(batch, generator(0, "views", 0))
    method(views, at).total.backward()
    far = 0.0
    for name, p in method.named_parameters():
        torch.testing.assert_close(moved[name], p.grad, rtol=1e-4, atol=1e-6)
        far += float((moved[name] - plain[name]).abs().sum())
    assert far > 1e-3


def test_the_rate_grows_with_the_batch_if_asked_to():
    config = OptimConfig(lr=0.1, schedule="constant", warmup=0.0, scale="linear")
    assert rate(scaled(config, 512), 0.5) == pytest.approx(0.2)
