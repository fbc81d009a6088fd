from __future__ import annotations

import dataclasses
import json
import sys
from logging import WARNING

import pytest
import torch

from counterpoint.core.config import load, names
from counterpoint.core.encoder import Encoder
from counterpoint.core.errors import InputError, WorkError
from counterpoint.core.networks import load_networks
from counterpoint.encoders.convnet import ConvNet
from counterpoint.encoders.resnet import BLOCKS
from counterpoint.integrations import exported as file_of_exported
from counterpoint.integrations.exported import Sizes, exported

ROOM = "counterpoint.encoders"
TINY = {
    "resnet": {"width": 2},
    "vit": {"size": 16, "dim": 8, "depth": 1, "heads": 2},
    "unet": {"widths": (2, 3)},
    "tiramisu": {"first": 2, "down": (1,), "up": (1,), "bottleneck": 1, "growth": 2},
}
"""Kind → settings that make it quick to trace; others only become narrow."""
ABOUT = {"method": {"kind": "comir"}, "data": {"samples": 2, "pairs": ["ann", "eve"], "data": "/home/ann"}}


def build(kind: str) -> Encoder:
    settings = load(ROOM, kind).Config(channels=2)
    changes = TINY.get(kind, {"width": 4} if hasattr(settings, "width") else {})
    torch.manual_seed(0)
    try:
        network = dataclasses.replace(settings, **changes).build()
    except InputError as error:
        if "pip install" in str(error):
            pytest.skip(str(error))
        raise
    with torch.no_grad():  # moves what normalization has gathered, so that training and evaluation differ
        network(torch.rand(4, 2, 16, 16))
    return network


def other_images(sizes: Sizes) -> torch.Tensor:
    """Images that ``exported`` has not tried: another number, and another size if any goes in."""
    height, width = sizes.least
    return torch.rand(2, 2, height + 3 * sizes.step, width + sizes.step)


@pytest.fixture
def onnx():
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name)
    return pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("kind", sorted(names(ROOM)))
def test_every_encoder_is_the_same_network_in_both_formats(kind, tmp_path, onnx, monkeypatch, caplog):
    monkeypatch.setitem(BLOCKS, 18, (1, 1, 1, 1))
    network, traced, trace = build(kind), [], file_of_exported._traced
    # Once for both formats, because it takes the most time.
    monkeypatch.setattr(
        file_of_exported, "_traced", lambda *a: traced[0] if traced else traced.append(trace(*a)) or traced[0]
    )
    for suffix in (".pt2", ".onnx"):
        file = tmp_path / f"{kind}{suffix}"
        done = exported({"fixed": network}, file, ABOUT)
        assert network.training and done.file == file and list(tmp_path.glob(f"*{suffix}")) == [file]
        assert {shape[0] for shape in done.checked} == {1, 3} and len(done.checked) >= 2
        assert done.sizes is not None and done.sizes.step == (0 if kind == "vit" else network.multiple)
        x = other_images(done.sizes)
        if suffix == ".onnx":
            session = onnx.InferenceSession(file, providers=["CPUExecutionProvider"])
            found = torch.from_numpy(session.run(["features"], {"image": x.numpy()})[0])
            header = session.get_modelmeta().custom_metadata_map["counterpoint"]
        else:
            extra = {"counterpoint.json": ""}
            with torch.no_grad():
                found = torch.export.load(file, extra_files=extra).module()(x)
            header = extra["counterpoint.json"]
        with torch.no_grad():
            expected = build(kind).eval()(x)
        scale = float(expected.abs().max())
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * scale)
        assert done.relative < 1e-5 and 0 <= done.difference < 1e-5 * scale * 2
        header = json.loads(header)
        assert header["role"] == "fixed" and header["network"] == network.config.to_dict()
        assert header["about"] == {"method": {"kind": "comir"}, "data": {"samples": 2, "pairs": 2}}
        assert header["versions"]["counterpoint"] and header["out_dim"] == found.shape[1]
    assert not [r for r in caplog.records if r.levelno >= WARNING]  # people can do nothing about these


def test_a_size_that_is_asked_for_is_the_one_that_goes_in(tmp_path):
    done = exported({"image": build("vit")}, tmp_path / "a.pt2", size=(8, 12))
    assert done.sizes == Sizes((8, 12)) and done.checked == [[1, 2, 8, 12], [3, 2, 8, 12]]


def test_safetensors_hold_all_roles_and_are_compared_too(tmp_path):
    networks = {"fixed": build("unet"), "moving": build("convnet")}
    done = exported(networks, tmp_path / "a.safetensors", ABOUT)
    assert (done.sizes, done.difference) == (None, 0.0) and len(done.checked) == 4
    assert [n.config for n in load_networks(done.file).values()] == [n.config for n in networks.values()]


@pytest.mark.parametrize(
    ("file", "roles", "size", "words"),
    [
        ("a.pth", 1, None, "expected a name that ends in .onnx, .pt2 or .safetensors, found '.pth'"),
        ("none/a.pt2", 1, None, "expected a folder that is there"),
        ("a.pt2", 2, None, "expected one role, found 0, 1"),
        ("a.pt2", 1, (6, 7), r"expected height and width in multiples of 2, found \(6, 7\)"),
        ("a.pt2", 1, (0, 2), "expected height and width in multiples of 2"),
    ],
)
def test_mistakes_are_refused_before_any_work(tmp_path, monkeypatch, file, roles, size, words):
    monkeypatch.delattr(file_of_exported, "_traced")
    with pytest.raises(InputError, match=words):
        exported({str(i): build("unet") for i in range(roles)}, tmp_path / file, size=size)
    assert not list(tmp_path.iterdir())


def test_without_onnx_one_is_told_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"expects onnxruntime to be installed.*counterpoint\[onnx\]"):
        exported({"image": build("unet")}, tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


class Odd(ConvNet):
    """Does what the test wants."""

    does = "wrong"

    def forward(self, x):
        out = super().forward(x)
        match self.does:
            case "noise":  # differs from call to call, as does what was exported of it
                return out + 1e-3 * torch.rand_like(out)
            case "nan":
                return out / 0 * 0
            case "reads":
                return out * (2.0 if float(x.sum()) > 0 else 1.0)
        return out


@pytest.mark.parametrize(
    ("does", "words"),
    [
        ("noise", "expected what the network computes, found a difference of 0.0"),
        ("nan", "found a difference of inf"),
        ("reads", "the network cannot be traced: "),
    ],
)
def test_what_computes_something_else_is_not_left_behind(tmp_path, does, words):
    network = Odd(ConvNet.Config(channels=2, width=2))
    network.does = does
    (tmp_path / "a.pt2").write_text("before")
    with pytest.raises(WorkError, match=words) as error:
        exported({"image": network}, tmp_path / "a.pt2", size=(16, 16))
    assert "\n" not in str(error.value)
    assert [p.read_text() for p in tmp_path.iterdir()] == ["before"]
