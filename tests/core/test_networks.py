from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from counterpoint.core.errors import InputError, WorkError
from counterpoint.core.networks import FILE, FORMAT, about, load_networks, save_networks
from counterpoint.core.tensors import read_tensors, write_tensors


@pytest.fixture
def saved(tiny, tmp_path) -> tuple[Path, dict]:
    torch.manual_seed(0)
    networks = {"fixed": tiny.Config().build(), "fixed/2": tiny.Config(width=5, mode="b").build()}
    networks["fixed"](torch.rand(3, 1, 4, 4))  # moves the running statistics
    save_networks(tmp_path / FILE, networks, {"pixel": 0.5, "names": ["a", "ü"]})
    return tmp_path, networks


@pytest.mark.parametrize("where", ["folder", "file"])
def test_networks_come_back_as_they_were(saved, where):
    folder, networks = saved
    loaded = load_networks(folder if where == "folder" else str(folder / FILE))
    assert loaded.keys() == networks.keys()
    for role, network in loaded.items():
        assert network.config == networks[role].config and not network.training
        ours, theirs = network.state_dict(), networks[role].state_dict()
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)
    assert about(folder) == {"pixel": 0.5, "names": ["a", "ü"]}


def test_equal_networks_give_equal_bytes_that_others_may_read(saved):
    folder, networks = saved
    old = os.umask(0o022)
    try:
        save_networks(folder / "again.safetensors", networks, {"pixel": 0.5, "names": ["a", "ü"]})
    finally:
        os.umask(old)
    assert (folder / FILE).read_bytes() == (folder / "again.safetensors").read_bytes()
    assert (folder / "again.safetensors").stat().st_mode & 0o777 == 0o644


def test_loading_leaves_the_global_generator_alone(saved):
    torch.manual_seed(4)
    expected = torch.rand(1)
    torch.manual_seed(4)
    load_networks(saved[0])
    assert torch.equal(torch.rand(1), expected)


def header(**changes) -> dict[str, str]:
    whole = {"format": "counterpoint-networks-1", "networks": {"fixed": {"kind": "tiny"}}, "about": {}}
    return {"counterpoint": json.dumps(whole | changes)}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f, w: f.write_bytes(f.read_bytes()[:-9]), "found a damaged one"),
        (lambda f, w: f.write_bytes(f.read_bytes()[:40]), "found a damaged one"),
        (lambda f, w: f.write_bytes(b""), "found a damaged one"),
        (lambda f, w: f.write_bytes(b"\x80\x04K\x01." * 99), "found a damaged one"),
        (lambda f, w: save_file(w, f), "expected the format counterpoint-networks-1, found that of another"),
        (lambda f, w: save_file(w, f, header(format="counterpoint-run-9")), "found counterpoint-run-9"),
        (lambda f, w: save_file(w, f, {"counterpoint": "[]"}), "found that of another program"),
        (lambda f, w: save_file(w, f, {"counterpoint": "{"}), "found a damaged one"),
        (lambda f, w: save_file(w, f, header(networks=3)), "expected the networks of a counterpoint run"),
        (lambda f, w: save_file(w, f, header(networks={"fixed": 3})), "fixed: expected a table of settings"),
        (
            lambda f, w: save_file(w, f, header(networks={"fixed": {"kind": "tinny"}})),
            "fixed 'tinny': did you mean tiny",
        ),
        (
            lambda f, w: save_file(w, f, header(networks={"fixed": {"kind": "tiny", "width": 4}})),
            "size mismatch",
        ),
        (lambda f, w: save_file(w, f, header(networks={"moving": {"kind": "tiny"}})), "Missing key"),
        (lambda f, w: f.unlink(), "found nothing there"),
    ],
)
def test_other_files_are_refused_in_a_sentence(saved, damage, message):
    file = saved[0] / FILE
    damage(file, load_file(file))
    with pytest.raises(InputError, match=message) as error:
        load_networks(saved[0])
    assert str(file) in str(error.value) and "\n" not in str(error.value)


def test_about_refuses_what_loading_refuses(tmp_path):
    with pytest.raises(InputError, match="expected a trained model"):
        about(tmp_path)
    (tmp_path / FILE).write_text("no")
    with pytest.raises(InputError, match="damaged"):
        about(tmp_path)


def test_a_place_that_cannot_be_written_to_is_said(tiny, tmp_path):
    with pytest.raises(WorkError, match="could not be written: No such file"):
        save_networks(tmp_path / "none" / FILE, {"image": tiny.Config().build()})


def test_a_file_cannot_ask_for_a_download(saved):
    folder, _ = saved
    tensors, header = read_tensors(folder / FILE, FORMAT)
    header["networks"]["fixed"]["pretrained"] = True
    write_tensors(folder / FILE, tensors, FORMAT, header)
    with pytest.raises(InputError, match="fixed: expected settings that download nothing"):
        load_networks(folder)
