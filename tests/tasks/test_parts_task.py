from __future__ import annotations

import importlib.util
import pickle

import numpy as np
import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.core.networks import save_networks
from counterpoint.data.arrays import Arrays
from counterpoint.data.folder import read_folder
from counterpoint.data.raster import write_png
from counterpoint.encoders.convnet import ConvNet
from counterpoint.tasks import parts as module
from counterpoint.tasks.features import features
from counterpoint.tasks.parts import Plan, make, planned, read_parts

parquet = pytest.param("parquet", marks=pytest.mark.skipif(
    importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed"))  # fmt: skip


@pytest.fixture
def network():
    torch.manual_seed(0)
    return ConvNet.Config(width=4, channels=1).build().eval()


@pytest.fixture
def plan(network, tmp_path):
    save_networks(tmp_path / "networks.safetensors", {"image": network})
    (tmp_path / "parts").mkdir()
    return Plan(
        networks=tmp_path / "networks.safetensors", role="image", batch=4, size=10, folder=tmp_path / "parts"
    )


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return Arrays(rng.integers(0, 255, (33, 8, 8), np.uint8), np.arange(33) % 5)


def contents(folder):
    return {f.name: f.read_bytes() for f in folder.iterdir()}


def with_kind(plan, kind):
    return Plan(**{**{k: getattr(plan, k) for k in plan.__dataclass_fields__}, "kind": kind})


@pytest.mark.parametrize("kind", ["npy", parquet])
def test_parts_together_are_the_features(plan, data, network, kind):
    plan = with_kind(plan, kind)
    missing, count = planned(plan, data, {})
    assert count == len(missing) == 4 and [make(part) for part in missing] == [10, 10, 10, 3]
    whole, found = features(network, data, 4), list(read_parts(plan.folder))
    torch.testing.assert_close(torch.cat([f.z for f in found]), whole.z)
    assert torch.cat([f.id for f in found]).tolist() == list(range(33))
    assert torch.cat([f.label for f in found]).tolist() == data.label.tolist()
    assert planned(plan, data, {}) == ([], 4)


@pytest.mark.parametrize("kind", ["npy", parquet])
def test_stopped_in_the_middle_what_is_missing_is_made_to_the_same_bits(plan, data, kind):
    plan = with_kind(plan, kind)
    for part in planned(plan, data, {})[0]:
        make(part)
    whole = contents(plan.folder)
    suffix = "parquet" if kind == "parquet" else "z.npy"
    (plan.folder / f"part-000002.{suffix}").unlink()  # killed before its last file
    (plan.folder / f".part-000001.1234abcd.{kind}").write_bytes(b"half")
    missing, count = planned(plan, data, {})
    assert [p.number for p in missing] == [2] and count == 4
    made = pickle.loads(pickle.dumps(missing[0]))  # as another process gets it
    assert len(made.data) == 10
    make(made)
    assert contents(plan.folder) == whole


def test_parts_of_something_else_are_refused(plan, data):
    planned(plan, data, {"data": "a"})
    other = Plan(**{**{k: getattr(plan, k) for k in plan.__dataclass_fields__}, "tap": "x"})
    for kwargs, named in (
        ({"plan": other, "data": data, "about": {"data": "a"}}, "tap"),
        ({"plan": plan, "data": data.subset(torch.arange(5)), "about": {"data": "a"}}, "samples"),
        ({"plan": plan, "data": data, "about": {"data": "b"}}, "data"),
    ):
        with pytest.raises(InputError, match=rf"of the same features, found others in {named};"):
            planned(**kwargs)
    state = plan.networks.read_bytes()
    plan.networks.write_bytes(state[:-1] + bytes([state[-1] ^ 1]))
    with pytest.raises(InputError, match="in networks;"):
        planned(plan, data, {"data": "a"})


def test_a_folder_goes_to_another_process_without_its_images(plan, tmp_path, network):
    for i in range(13):
        (tmp_path / "images").mkdir(exist_ok=True)
        write_png(tmp_path / "images" / f"{i:02}.png", np.full((8, 8), i, np.uint8))
    data = read_folder(tmp_path / "images")
    missing, _ = planned(plan, data, {})
    sent = [pickle.loads(pickle.dumps(part)) for part in missing]
    assert [len(part.data) for part in sent] == [10, 3] and not sent[1].data._held and len(data._held) == 13
    assert len(data.subset(torch.arange(3))._held) == 13
    for part in sent:
        make(part)
    found = list(read_parts(plan.folder))
    assert [f.label for f in found] == [None, None] and found[1].id.tolist() == [10, 11, 12]
    torch.testing.assert_close(torch.cat([f.z for f in found]), features(network, data, 4).z)


def test_what_is_missing_or_damaged_is_said(plan, data, tmp_path):
    with pytest.raises(InputError, match=r"parts\.json: expected an account of parts, found: No such"):
        list(read_parts(plan.folder))
    for part in planned(plan, data, {})[0]:
        make(part)
    whole = contents(plan.folder)
    (plan.folder / "part-000001.z.npy").write_bytes(whole["part-000001.z.npy"][:100])
    with pytest.raises(InputError, match="part-000001: expected a part of features, found"):
        list(read_parts(plan.folder))
    (plan.folder / "part-000001.z.npy").unlink()
    with pytest.raises(InputError, match="part-000001: expected all parts, found none with this number"):
        list(read_parts(plan.folder))
    for text in ("{}", "[", '{"format": "counterpoint-feature-parts-1", "samples": -1, "size": 1}'):
        (plan.folder / module.ABOUT).write_text(text)
        with pytest.raises(InputError, match="expected an account of parts in the format"):
            list(read_parts(plan.folder))
