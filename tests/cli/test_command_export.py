from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from counterpoint.core.networks import FILE, load_networks, save_networks
from counterpoint.encoders.convnet import ConvNet
from counterpoint.encoders.unet import UNet


@pytest.fixture
def one(elsewhere) -> Path:
    """A run with one network."""
    torch.manual_seed(0)
    (elsewhere / "one").mkdir()
    save_networks(elsewhere / "one" / FILE, {"image": ConvNet.Config(width=2).build()}, {"steps": 3})
    return Path("one")


@pytest.fixture
def two_roles(elsewhere) -> Path:
    """A file of two networks."""
    networks = {role: UNet.Config(widths=(2, 3)).build() for role in ("fixed", "moving")}
    save_networks(elsewhere / "two.safetensors", networks)
    return Path("two.safetensors")


def test_a_run_becomes_a_program_with_its_difference_said(run, one):
    ended = run("export", one, "-o", "image.pt2", "--size", 16, 24, "--json")
    assert ended.code == 0, ended.err
    answer = ended.answer
    assert answer["out"] == "image.pt2" and answer["roles"] == ["image"] and answer["run"] == "one"
    assert answer["sizes"] == {"least": [16, 24], "step": 0} and answer["difference"] < 1e-6
    assert answer["checked"] == [[1, 3, 16, 24], [3, 3, 16, 24]]
    assert "16 × 24 pixels only" in ended.err and "largest difference to the network on 2 random" in ended.err
    extra = {"counterpoint.json": ""}
    program = torch.export.load("image.pt2", extra_files=extra)
    x = torch.rand(5, 3, 16, 24)
    torch.testing.assert_close(program.module()(x), load_networks(one)["image"](x))
    assert json.loads(extra["counterpoint.json"])["about"] == {"steps": 3}


def test_safetensors_take_all_roles_or_the_one_asked_for(run, two_roles):
    assert run("export", two_roles, "-o", "all.safetensors").code == 0
    assert run("export", two_roles, "-o", "some.safetensors", "--role", "moving").code == 0
    assert list(load_networks("all.safetensors")) == ["fixed", "moving"]
    assert list(load_networks("some.safetensors")) == ["moving"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("one", "export: expected -o FILE or -o hf://OWNER/NAME, found none"),
        ("none -o a.pt2", "none: expected a trained model"),
        ("one -o a.pth", "a.pth: expected a name that ends in .onnx, .pt2 or .safetensors"),
        ("one -o none/a.pt2", "expected a folder that is there"),
        ("one -o a.pt2 --role fixed", "unknown role 'fixed'"),
        ("one -o a.pt2 --size 16", "--size"),
        ("one -o a.pt2 --size 0 4", "size: expected height and width in multiples of 1, found (0, 4)"),
        ("one -o a.pt2 --public", "--public: expected no such setting for a file"),
        ("one -o hf://ann/x --size 8 8", "--size: expected no such setting for the hub"),
        ("one -o hf://ann", "hf://ann: expected hf://OWNER/NAME"),
        ("one -o hf://ann/x --scores no.json", "no.json: expected the TASK.json of counterpoint score"),
        ("one -o hf://ann/x --role fixed", "unknown role 'fixed'"),
        ("two.safetensors -o a.pt2", "--role: expected one of fixed, moving, found none"),
    ],
)
def test_mistakes_are_one_sentence_and_nothing_is_written(refused, one, two_roles, flags, words):
    assert words in refused("export", *flags.split())
