from __future__ import annotations

import pytest
import torch
from torch import nn

from counterpoint.core.errors import InputError
from counterpoint.data.arrays import Arrays
from counterpoint.tasks.layers import Layers


class Deep(nn.Module):
    """Its first layer has the class, its second half of it, its output nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Flatten(), nn.Linear(8, 2, bias=False)
        with torch.no_grad():
            self.two.weight.copy_(torch.eye(2, 8))
        self.taps = {"one": 8, "two": 2}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0 * self.two(self.one(x))


def data(count: int, seed: int) -> Arrays:
    label = torch.arange(count) % 4
    noise = torch.rand(count, 8, generator=torch.Generator().manual_seed(seed))
    return Arrays((0.8 * torch.eye(4, 8)[label] + 0.2 * noise).view(count, 1, 2, 4), label)


def test_the_layer_is_chosen_that_knows_the_classes():
    found = Layers.Config().build()(lambda _: Deep(), data(80, 0), data(40, 1), 0)
    assert list(found) == ["accuracy", "layer", "at one", "at two", "at output"]
    assert found["accuracy"] == found["at one"] == 1 and found["layer"] == 0
    assert 0.5 < found["at two"] < 0.9 and found["at output"] == 0.25


def test_the_choice_is_made_without_the_test_data():
    """Test labels that contradict training: the layer stays, its accuracy falls."""
    test = data(40, 1)
    assert test.label is not None
    wrong = Arrays(test.image, (test.label + 1) % 4)
    found = Layers.Config().build()(lambda _: Deep(), data(80, 0), wrong, 0)
    assert found["layer"] == 0 and found["accuracy"] == 0 < found["at output"]


def test_layers_may_be_named_and_of_equals_the_last_is_taken():
    task = Layers.Config(taps=("one",), tap="two").build()
    assert list(task(lambda _: Deep(), data(80, 0), data(40, 1), 0)) == [
        "accuracy",
        "layer",
        "at one",
        "at two",
    ]
    same = Layers.Config(taps=("one",), labels="5/class").build()
    network = nn.Sequential()
    network.add_module("one", nn.Flatten())
    assert same(lambda _: network, data(80, 0), data(40, 1), 0)["layer"] == 1
    with pytest.raises(InputError, match="unknown tap"):
        Layers.Config(taps=("three",)).build()(lambda _: Deep(), data(80, 0), data(40, 1), 0)


def test_one_label_each_leaves_nothing_to_choose_by():
    found = Layers.Config(labels="1/class").build()(lambda _: Deep(), data(80, 0), data(40, 1), 0)
    assert found["layer"] == 2
