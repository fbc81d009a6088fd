from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from counterpoint.core.errors import InputError, WorkError
from counterpoint.train.checkpoint import State, load, save
from counterpoint.train.optim import OptimConfig, optimizer

SETTINGS = {"method": {"kind": "x", "width": 4}, "train": {"steps": 9, "device": "cpu", "save_every": 3}}


class Scale:
    """Half precision's loss scale, in short."""

    def __init__(self, value: float = 1.0) -> None:
        self.value = value

    def state_dict(self):
        return {"scale": self.value}

    def load_state_dict(self, state_dict):
        self.value = state_dict["scale"]


def state(seed: int, name: str = "adamw", updates: int = 0) -> State:
    torch.manual_seed(seed)
    method = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    each = {turn: optimizer(method, OptimConfig(name=name)) for turn in ("one", "two")}
    made = State(method, each, Scale(seed))
    for _ in range(updates):
        update(made)
    return made


def update(made: State) -> None:
    method, x = made.method, torch.arange(50.0).view(2, 1, 5, 5)
    for each in made.optimizers.values():
        each.zero_grad()
        method(x).square().sum().backward()
        each.step()


def same(a: State, b: State) -> bool:
    one, other = a.method.state_dict(), b.method.state_dict()
    return all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_what_is_loaded_goes_on_as_what_was_saved(tmp_path, name):
    path = tmp_path / "checkpoint.safetensors"
    saved, other = state(1, name, 3), state(2, name)
    save(path, saved, 3, SETTINGS)
    assert not same(saved, other)
    assert load(path, other, SETTINGS) == 3
    assert same(saved, other) and other.scale.state_dict() == {"scale": 1}
    for made in (saved, other):
        update(made)
    assert same(saved, other)


def test_an_optimizer_before_its_first_step_is_restored(tmp_path):
    saved = state(1)
    save(tmp_path / "c", saved, 0, SETTINGS)
    other = state(2)
    assert load(tmp_path / "c", other, SETTINGS) == 0
    update(saved)
    update(other)
    assert same(saved, other)


def test_plain_values_of_an_optimizer_are_kept(tmp_path):
    saved = state(1, updates=1)
    first = next(iter(saved.optimizers["one"].state.values()))
    first["note"] = [1, 2.5]
    save(tmp_path / "c", saved, 1, SETTINGS)
    other = state(2)
    load(tmp_path / "c", other, SETTINGS)
    assert next(iter(other.optimizers["one"].state.values()))["note"] == [1, 2.5]


def test_settings_that_matter_are_compared_and_others_are_not(tmp_path):
    save(tmp_path / "c", state(1), 2, SETTINGS)
    free = {"method": SETTINGS["method"], "train": {"steps": 9, "device": "cuda", "save_every": 500}}
    assert load(tmp_path / "c", state(1), free) == 2
    changed = {"method": {"kind": "x", "width": 8, "new": 1}, "train": {"steps": 10}}
    with pytest.raises(InputError) as error:
        load(tmp_path / "c", state(1), changed)
    message = str(error.value)
    for part in (
        "method.width (there 4, now 8)",
        "method.new (there None, now 1)",
        "train.steps (there 9, now 10)",
    ):
        assert part in message
    assert "device" not in message and "\n" not in message


def damage(path: Path, how: str) -> None:
    from safetensors.torch import save_file

    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-20])
    elif how == "header cut":
        path.write_bytes(path.read_bytes()[:60])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("weights")
    elif how == "foreign":
        save_file({"w": torch.zeros(2)}, path)
    elif how == "other header":
        save_file({"w": torch.zeros(2)}, path, {"counterpoint": "[1, 2"})
    elif how == "lacking":
        save_file(
            {"w": torch.zeros(2)}, path, {"counterpoint": json.dumps({"format": "counterpoint-checkpoint-1"})}
        )
    elif how == "pickle":
        torch.save({"a": torch.zeros(2)}, path)


@pytest.mark.parametrize(
    "how",
    ["truncated", "header cut", "empty", "text", "foreign", "other header", "lacking", "pickle"],
)
def test_a_file_that_is_no_checkpoint_is_refused_in_a_sentence(tmp_path, how):
    path = tmp_path / "checkpoint.safetensors"
    save(path, state(1, updates=1), 1, SETTINGS)
    damage(path, how)
    with pytest.raises(InputError) as error:
        load(path, state(2), SETTINGS)
    assert str(path) in str(error.value) and "expected" in str(error.value) and "\n" not in str(error.value)


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    save(path, state(1), 1, SETTINGS)
    wider = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))
    other = State(wider, {"one": optimizer(wider, OptimConfig())}, Scale())
    with pytest.raises(InputError, match="expected a checkpoint of this method"):
        load(path, other, SETTINGS)


def test_a_full_disk_is_said_and_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.safetensors"
    save(path, state(1), 1, SETTINGS)
    before = path.read_bytes()

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(WorkError, match="No space left on device"):
        save(path, state(2), 2, SETTINGS)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_limit_of_the_system_is_met_like_a_full_disk(tmp_path):
    """The same with a true refusal of the kernel instead of a made one."""
    resource = pytest.importorskip("resource")
    path = tmp_path / "checkpoint.safetensors"
    save(path, state(1), 1, SETTINGS)
    before, (soft, hard) = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(WorkError, match="could not be written: File too large"):
            save(path, state(2), 2, SETTINGS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == [path.name]
