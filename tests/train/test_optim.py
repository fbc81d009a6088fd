from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from counterpoint.core.errors import InputError
from counterpoint.train.large import Lamb, Lars
from counterpoint.train.optim import OptimConfig, optimizer, rate, scaled


def test_rates_by_hand():
    constant = OptimConfig(lr=2.0, schedule="constant", warmup=0.5)
    assert [rate(constant, f) for f in (0, 0.125, 0.5, 0.75, 1)] == [0, 0.5, 2, 2, 2]
    cosine = OptimConfig(lr=2.0, schedule="cosine", warmup=0.2)
    assert [rate(cosine, f) for f in (0.1, 0.2, 0.6, 1)] == pytest.approx([1, 2, 1, 0])
    assert rate(cosine, 0.4) == pytest.approx(1 + 2**-0.5)
    plain = OptimConfig(lr=2.0, schedule="cosine", warmup=0)
    assert [rate(plain, f) for f in (0, 0.5)] == pytest.approx([2, 1])
    assert rate(OptimConfig(lr=2.0, schedule="cosine", warmup=1.0), 1.0) == 2


def test_onecycle_is_torchs():
    config = OptimConfig(lr=0.1, schedule="onecycle", warmup=0.3)
    parameter = nn.Parameter(torch.zeros(1))
    steps = 1001
    reference = torch.optim.lr_scheduler.OneCycleLR(torch.optim.SGD([parameter]), 0.1, total_steps=steps)
    for step in range(steps):
        # torch's warmup ends a step early: compare where both phases agree on the clock
        ours = rate(config, step / (steps - 1))
        assert ours == pytest.approx(reference.get_last_lr()[0], abs=4e-4)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reference.step() if step < steps - 1 else None
    assert rate(config, 1) == pytest.approx(0.1 / 25 / 1e4)


def test_the_rate_grows_with_the_samples_of_an_update():
    found = [scaled(OptimConfig(lr=0.3, scale=rule), 1024) for rule in ("none", "linear", "sqrt")]
    assert [c.lr for c in found] == pytest.approx([0.3, 1.2, 0.6]) and {c.scale for c in found} == {"none"}
    assert scaled(OptimConfig(lr=0.3, scale="sqrt"), 64).lr == pytest.approx(0.15)
    assert rate(found[1], 1 / 20) == pytest.approx(1.2)
    with pytest.raises(ValueError, match="expected settings that are scaled already, found linear"):
        rate(OptimConfig(scale="linear"), 0.5)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "onecycle"])
@pytest.mark.parametrize("warmup", [0.0, 0.3, 1.0])
def test_rates_stay_within_bounds(schedule, warmup):
    config = OptimConfig(lr=0.5, schedule=schedule, warmup=warmup)
    rates = [rate(config, i / 100) for i in range(101)]
    assert all(0 <= r <= 0.5 for r in rates) and max(rates) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("adamw", torch.optim.AdamW),
        ("adam", torch.optim.Adam),
        ("sgd", torch.optim.SGD),
        ("lars", Lars),
        ("lamb", Lamb),
    ],
)
def test_biases_and_norms_do_not_decay_and_frozen_weights_are_left_out(name, kind):
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    module[2].weight.requires_grad_(False)
    made = optimizer(module, OptimConfig(name=name, lr=0.3, weight_decay=0.1, momentum=0.7, betas=(0.5, 0.6)))
    assert type(made) is kind
    decayed, free = made.param_groups
    assert decayed["weight_decay"] == 0.1 and [p is module[0].weight for p in decayed["params"]] == [True]
    assert free["weight_decay"] == 0 and len(free["params"]) == 4
    assert decayed["lr"] == 0.3 and (decayed.get("adapt"), free.get("adapt")) in ((None, None), (True, False))
    assert decayed["momentum"] == 0.7 if name in ("sgd", "lars") else decayed["betas"] == (0.5, 0.6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"lr": 0.0},
        {"lr": float("nan")},
        {"weight_decay": -1.0},
        {"betas": (0.9, 1.0)},
        {"warmup": 1.5},
        {"trust": 0.0},
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(InputError, match="optim"):
        OptimConfig(**wrong)
