from __future__ import annotations

import pytest
import torch
from torch import nn

from counterpoint.core.errors import InputError, WorkError
from counterpoint.tasks.finetune import FineTune


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.2))


def test_the_given_network_and_the_random_state_stay_and_the_seed_decides(network, toys):
    train, test = toys.blobs(33, 3, 4, 0.3, 0), toys.blobs(60, 3, 4, 0.3, 1)
    before, state = {k: v.clone() for k, v in network.state_dict().items()}, torch.get_rng_state()
    task = FineTune.Config(labels="5/class", steps=60, epochs=1, size=8, batch=7).build()
    out = task(lambda _: network, train, test, 0)
    assert out == task(lambda _: network, train, test, 0) and out["accuracy"] > 0.5
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items()) and network.training
    assert torch.equal(torch.get_rng_state(), state)


def test_it_trains_more_than_the_last_layer(toys):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1)
    )  # one number is too few
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(200, 2, generator=rng)
    label = (x[:, 0] * x[:, 1] > 0).long()
    data = toys.Table(x, label)

    def score(**settings):
        return FineTune.Config(steps=300, **settings).build()(lambda _: network, data, data, 0)["accuracy"]

    assert score(lr=1e-2) > 0.85
    assert score(lr=0.0) < 0.7
    assert score(lr=1e-2, tap="2") > 0.85
    assert score(lr=1e-2, tap="1") < 0.75  # before the ReLU all is linear


def test_only_the_chosen_labels_are_used(network, toys):
    """Wrong labels on all other samples change nothing."""
    from counterpoint.tasks.budget import chosen

    train, test = toys.blobs(40, 2, 4, 0.3, 0), toys.blobs(20, 2, 4, 0.3, 1)
    task = FineTune.Config(labels="3/class", steps=10, epochs=1).build()
    first = task(lambda _: network, train, test, 0)
    others = torch.ones(40, dtype=torch.bool)
    others[chosen(train.entries["label"], "3/class", 0)] = False
    train.entries["image"][others] = 1e6
    assert task(lambda _: network, train, test, 0) == first


def test_mistakes(network, toys):
    data = toys.blobs(20, 2, 4, 0.3, 0)
    with pytest.raises(InputError, match="at least 1"):
        FineTune.Config(size=0).build()
    with pytest.raises(InputError, match="batches with label, found none"):
        FineTune.Config().build()(lambda _: network, toys.Table(torch.ones(3, 4)), data, 0)
    with pytest.raises(WorkError, match="smaller lr"):
        FineTune.Config(steps=30, lr=1e30, head_lr=1e30).build()(lambda _: network, data, data, 0)
