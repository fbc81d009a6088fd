from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from counterpoint.core.errors import InputError
from counterpoint.core.tensors import read_header, read_tensors, write_tensors

TENSORS = {
    "a": torch.arange(6.0).view(2, 3).T, "b": torch.tensor(True), "c": torch.zeros(0, 4),
    "d": torch.tensor([1.5, -2]).bfloat16(), "e": torch.arange(3),
}  # fmt: skip
HEADER = {"step": 3, "rate": 1e-05, "name": "ü", "nothing": "", "list": [1, [2.5, None]]}


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(
        one[k].dtype == other[k].dtype and torch.equal(one[k], other[k]) for k in one
    )


def test_what_is_written_is_read(tmp_path):
    write_tensors(tmp_path / "t", TENSORS, "f", HEADER)
    tensors, header = read_tensors(tmp_path / "t", "f")
    assert same(tensors, TENSORS)
    assert header == {"format": "f", **HEADER} == read_header(tmp_path / "t", "f")


def test_a_bit_that_flips_anywhere_is_found_or_changes_nothing(tmp_path):
    path = tmp_path / "t"
    write_tensors(path, TENSORS, "f", HEADER)
    whole, header = path.read_bytes(), read_header(path, "f")
    data = len(whole) - int.from_bytes(whole[:8], "little") - 8
    assert data == sum(t.numel() * t.element_size() for t in TENSORS.values())
    passed = []
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        try:
            found = read_tensors(path, "f")
        except InputError as error:
            assert "\n" not in str(error)
        else:
            passed.append(at)
            found[1].pop("digesu", None)
            assert same(found[0], TENSORS) and {k: found[1].get(k) for k in header} == header
    assert len(passed) <= len("digest") and max(passed, default=0) < len(whole) - data


def test_a_change_is_said_in_a_sentence(tmp_path):
    write_tensors(tmp_path / "t", TENSORS, "f", HEADER)
    whole = (tmp_path / "t").read_bytes()
    (tmp_path / "t").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match=r"t: expected what was written, .* found it changed since") as error:
        read_tensors(tmp_path / "t", "f")
    assert "\n" not in str(error.value)
    (tmp_path / "t").write_bytes(whole.replace(b"1e-05", b"1e-06"))
    with pytest.raises(InputError, match="found it changed since"):
        read_tensors(tmp_path / "t", "f")


@pytest.mark.parametrize("header", [{}, {"format": "other\nlines" * 99}, {"format": ["f"]}, [1]])
def test_formats_of_others_are_named_in_a_line(tmp_path, header):
    save_file({"a": torch.zeros(2)}, tmp_path / "t", {"counterpoint": json.dumps(header)})
    with pytest.raises(InputError, match="expected the format f, found") as error:
        read_tensors(tmp_path / "t", "f")
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_files_of_an_older_version_without_a_checksum_are_read(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "t", {"counterpoint": json.dumps({"format": "f", "step": 1})})
    assert read_tensors(tmp_path / "t", "f")[1] == {"format": "f", "step": 1}


@pytest.mark.parametrize("digest", [3, ["x"], "", '"', "0" * 32, {"a": None}])
def test_a_checksum_that_is_none_is_refused(tmp_path, digest):
    header = json.dumps({"digest": digest, "format": "f"})
    save_file({"a": torch.ones(2)}, tmp_path / "t", {"counterpoint": header})
    with pytest.raises(InputError, match="found it changed since"):
        read_tensors(tmp_path / "t", "f")
