"""What must hold of the weights that ship with the package, whoever trained them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import counterpoint
from counterpoint.core.networks import about, load_networks
from counterpoint.core.rng import generator
from counterpoint.data.synthesis import PHOTOGRAPHS, Synthesis
from counterpoint.registration.options import Options

FILE = Path(counterpoint.__file__).parent / "registration" / "general.safetensors"


@pytest.fixture(scope="module")
def network():
    networks = load_networks(FILE)
    pairs = zip(networks["fixed"].parameters(), networks["moving"].parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    return networks["fixed"]


@pytest.fixture(scope="module")
def images() -> tuple[Tensor, Tensor]:
    batch = next(Synthesis(64, 16).epoch(16, generator(1234, "never trained on")))
    return batch["fixed"], batch["moving"]


def alike(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum() / (a.norm() * b.norm()))


def test_they_are_small_and_say_where_they_come_from():
    assert FILE.stat().st_size <= 4 * 2**20
    told = about(FILE)
    assert told["method"]["kind"] == "template" and told["method"]["spin"] is True
    assert told["data"]["synthetic"] is True and set(told["data"]["photographs"]) <= set(PHOTOGRAPHS)


@torch.inference_mode()
def test_the_maps_turn_and_flip_with_the_image(network, images):
    maps = network(images[0])
    assert maps.shape == (16, 2, 64, 64)
    for quarters in (1, 2, 3):
        turned = torch.rot90(network(torch.rot90(images[0], quarters, (2, 3))), -quarters, (2, 3))
        assert alike(turned * (-1) ** quarters, maps) > 0.85  # double angles: a quarter turn is half a circle
        assert alike(turned * (-1) ** (quarters + 1), maps) < 0
    flipped = network(images[0].flip(3)).flip(3) * torch.tensor([1.0, -1.0])[:, None, None]
    assert alike(flipped, maps) > 0.85


@torch.inference_mode()
def test_the_maps_of_unlike_images_of_one_scene_agree(network, images):
    fixed, moving = (network(x) for x in images)
    agree = alike(fixed, moving)
    other = alike(fixed, moving.roll(1, 0))
    assert agree > 0.3 and abs(other) < 0.1
    assert alike(network(1 - images[0]), fixed) > 0.8


def test_as_a_measure_it_finds_a_turned_and_inverted_image():
    image = Synthesis(160, 1).epoch(1, generator(5, "one"))
    scene = next(image)["fixed"][0, 0].numpy()
    fixed = scene[20:140, 20:140]
    moving = 1 - np.rot90(fixed).copy()
    found = counterpoint.register(fixed, moving, "general", options=Options(only=True))
    assert found.quality.measure.startswith("general")
    corners = np.array([[0, 0, 1], [119, 0, 1], [0, 119, 1], [119, 119, 1]], float).T
    true = np.array([[0, 1, 0], [-1, 0, 119], [0, 0, 1]], float)
    assert np.abs((found.matrix - true) @ corners).max() < 1.5
