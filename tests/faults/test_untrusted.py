"""Files from anybody: whatever comes is read, or refused in a sentence; nothing is run, and all ends soon.

COUNTERPOINT_FUZZ=100 tries a hundred times as many spoiled files, and others each time (see docs/faults.md).
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from counterpoint.cli.main import run
from counterpoint.core.errors import InputError
from counterpoint.core.files import aside, sweep
from counterpoint.core.networks import FORMAT, load_networks
from counterpoint.core.tensors import read_tensors, write_tensors
from counterpoint.core.untrusted import parse_yaml, read_text
from counterpoint.registration.transform import Transform

pytest.importorskip("resource")
HOSTILE = Path(__file__).with_name("hostile.py")
spec = importlib.util.spec_from_file_location("hostile", HOSTILE)
assert spec is not None and spec.loader is not None
hostile = importlib.util.module_from_spec(spec)
sys.modules["hostile"] = hostile
spec.loader.exec_module(hostile)

TIMES = float(os.environ.get("COUNTERPOINT_FUZZ", "1"))
LONGEST = 1000
"""Characters of a sentence."""
GROUPS = {
    "raster": (r".*\.(png|jpe?g)", 40),
    "tiff": (r".*\.tif", 40),
    "itk": (r".*\.(nii|nii\.gz|nrrd|mha)", 80),
    "arrays": (r".*(\.np[yz]|idx3.*)", 50),
    "archives": (r".*\.(tar|parquet)", 40),
    "text": (r".*\.(csv|yaml|jsonl|json)", 50),
    "transforms": (r"transform\.(tfm|txt)", 40),
    "networks": (r".*\.safetensors", 20),
}


@pytest.fixture(scope="session")
def files():
    """Valid files by name."""
    return hostile.images() | hostile.others()


@pytest.fixture(scope="session")
def place(files, tmp_path_factory) -> Path:
    """A folder with what tables name."""
    folder = tmp_path_factory.mktemp("spoiled")
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(files["gray.png"])
    return folder


def check_sentence(error: InputError) -> None:
    """What is said must be one line of some length."""
    said = str(error)
    assert said and "\n" not in said and len(said) < LONGEST, said


def test_the_files_are_read_as_they_are(files, place):
    for name, data in files.items():
        (place / name).write_bytes(data)
        assert hostile.read(place / name) is not None
        (place / name).unlink()


@pytest.mark.parametrize("group", GROUPS)
def test_whatever_comes_is_read_or_refused_in_a_sentence(group, files, place):
    pattern, count = GROUPS[group]
    names = tuple(name for name in files if re.fullmatch(pattern, name))
    assert names

    @settings(
        max_examples=round(count * TIMES),
        deadline=None,
        derandomize=TIMES == 1,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def tried(data):
        name, content = data.draw(hostile.spoiled(names, files))
        path = place / name
        path.write_bytes(content)
        try:
            hostile.read(path)
        except InputError as error:
            check_sentence(error)
        finally:
            path.unlink()

    tried()


@pytest.fixture(scope="module")
def bombs(tmp_path_factory):
    """What a process of its own says of each bomb."""
    folder = tmp_path_factory.mktemp("bombs")
    hostile.bombs(folder)
    names = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    command = [sys.executable, str(HOSTILE), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    found = {name: rest for name, *rest in map(json.loads, done.stdout.splitlines())}
    assert found.keys() == names
    return found


def test_bombs_are_refused_in_a_sentence_in_little_time_and_memory(bombs):
    for name, (said, seconds, grown) in bombs.items():
        assert said is not None and "\n" not in said and len(said) < LONGEST, (name, said)
        assert not said.startswith("LEAK"), (name, said)
        assert seconds < 5, (name, said, seconds)
        assert grown < 400, f"{name}: {grown:.0f} MiB more, and then: {said}"  # see HARMLESS in data/kinds.py


SAID = {
    "bomb.npz": "a decompression bomb?",
    "bomb-idx3.gz": "a decompression bomb?",
    "bomb.nii.gz": "found more inside",
    "pickle.npy": "pickled objects, which are never opened",
    "elsewhere.mhd": "expected its pixels in one file beside it, found '/dev/zero'",
    "elsewhere.nhdr": "found '/dev/zero'",
    "above.mhd": "found '../networks.raw'",
    "sines.safetensors": "a network larger than the 2 weights in the file",
    "transform.tfm": "1 + 1 parameters, where there are 3 + 2",
    "fetched.safetensors": "expected settings that download nothing",
}


@pytest.mark.parametrize("name", SAID)
def test_what_is_said_of_a_bomb(bombs, name):
    assert SAID[name] in bombs[name][0]


def test_a_crash_of_the_reader_of_hdf5_is_not_ours(files, tmp_path):
    (tmp_path / "transform.tfm").write_bytes(files["transform.tfm"])
    path = tmp_path / "transform.h5"
    Transform.load(tmp_path / "transform.tfm").save(path)
    whole = path.read_bytes()
    assert Transform.load(path).kind == "rigid"
    for spoiled in (whole[:8] + b"\xff" + whole[9:], whole[:48] + b"\xf0" * 40 + whole[88:]):
        path.write_bytes(spoiled)
        with pytest.raises(InputError, match=r"transform\.h5: expected a transform file of ITK") as caught:
            Transform.load(path)
        check_sentence(caught.value)


def test_weights_of_another_type_are_refused(files, tmp_path):
    path = tmp_path / "networks.safetensors"
    path.write_bytes(files[path.name])
    tensors, _ = read_tensors(path, FORMAT)
    settings_of = {"networks": {"image": {"kind": "convnet", "width": 1}}}
    write_tensors(path, tensors, FORMAT, settings_of)
    assert load_networks(path).keys() == {"image"}
    write_tensors(path, {name: t.to(torch.int64) for name, t in tensors.items()}, FORMAT, settings_of)
    with pytest.raises(InputError, match=r"of type torch\.int64 where torch\.float32 is expected"):
        load_networks(path)


@pytest.mark.parametrize("name", hostile.yamls())
def test_yaml_that_is_none_is_refused(name):
    with pytest.raises(ValueError, match=r"\A.{1,200}\Z"):
        parse_yaml(hostile.yamls()[name])


def test_yaml_is_read():
    text = "a: 1\nb: [1.5, x, null, true]\nc: {d: 1e-05, e: '1'}\nf: 5:30"
    assert parse_yaml(text) == {"a": 1, "b": [1.5, "x", None, True], "c": {"d": "1e-05", "e": "1"}, "f": 330}


def test_names_that_a_file_brings_cannot_break_a_sentence(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, **{"x\ny\x1b[31m": np.zeros(3), "z" * 5000: np.zeros(3)})
    with pytest.raises(
        InputError, match=r"expected images under a name .*, found x\\ny\\x1b\[31m, zzz"
    ) as caught:
        hostile.read(path)
    check_sentence(caught.value)


def test_entries_that_are_no_arrays_or_share_a_name_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("image.npy", b"\x93NUMPX")
    with pytest.raises(InputError, match=r"a\.npz: expected plain arrays, found .*no array as image"):
        hostile.read(path)
    np.savez(path, image=hostile.STACK)
    monkeypatch.setattr("counterpoint.data.kinds.HARMLESS", 1000)
    assert hostile.read(path)
    good = path.read_bytes()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image", bytes(10**6))
        archive.writestr("image.npy", zipfile.ZipFile(io.BytesIO(good)).read("image.npy"))
    with pytest.raises(InputError, match="a decompression bomb"):
        hostile.read(path)


def test_text_without_end_is_refused(monkeypatch):
    monkeypatch.setattr("counterpoint.core.untrusted.MOST", 2**20)
    with pytest.raises(InputError, match="expected a table of at most 1048576 bytes, found more"):
        read_text(Path("/dev/zero"), "a table")


def test_only_what_was_left_half_written_is_swept(tmp_path):
    kept = [".result.0123456.json", ".result.01234567.txt", ".other.01234567.json", "result.01234567.json"]
    for name in (*kept, ".result.01234567.json"):
        (tmp_path / name).touch()
    sweep(tmp_path / "result.json")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(kept)
    with aside(tmp_path / "a.nii.gz") as half:
        half.write_text("x")
        sweep(tmp_path / "b.nii.gz")
        assert half.exists()


def test_the_command_line_says_one_sentence_of_each(files, tmp_path, capfd):
    (tmp_path / "run").mkdir()
    for name, content in {
        "good.png": files["gray.png"],
        "bad.mha": files["plain.mha"].replace(b"NDims = 2", b"NDims = 40000"),
        "pairs.csv": b'fixed,moving\n"' + b"x" * 10**6,
        "recipe.yaml": b"method: &a [*a]\n",
        "run/networks.safetensors": b"\xff" * 8 + b"{}",
    }.items():
        (tmp_path / name).write_bytes(content)
    good, model = tmp_path / "good.png", tmp_path / "run"
    for argv in (
        ("register", good, tmp_path / "bad.mha"),
        ("register", "--pairs", tmp_path / "pairs.csv"),
        ("register", good, good, "--model", model),
        ("embed", model, "digits"),
        ("train", "simclr", "--data", "digits", "--config", tmp_path / "recipe.yaml"),
    ):
        assert run([*map(str, argv), "-o", str(tmp_path / "out.npz")]) == 2
        said = capfd.readouterr().err
        assert said.startswith("counterpoint: ") and said.count("\n") == 1, said
        assert not (tmp_path / "out.npz").exists()
