from __future__ import annotations

import io
import json
import re
import tarfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from counterpoint.core.errors import InputError
from counterpoint.data import tar as module
from counterpoint.data.tar import list_tar

PNG = b"\x89PNG\r\n\x1a\n"


def archive(path, members, **kwargs):
    """A tar file of (name, content) or ready ``TarInfo``s."""
    with tarfile.open(path, "w", **kwargs) as tar:
        for name, content in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            if info.isreg():
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_members_of_one_name_are_a_sample_and_are_read_in_place(tmp_path):
    long = "deep/" * 40 + "c"  # over 100 characters: another kind of header
    made = archive(
        tmp_path / "a.tar",
        [
            ("a.cls", b" 7\n"), ("a.jpg", b"first"), ("x/README", b"no sample"), ("b.ome.tif", b"second"),
            ("b.json", json.dumps({"Label": "cat", "patient": 3, "caption": "..."}).encode()),
            ("._b.png", b"hidden"), (f"{long}.PNG", b"third"), (f"{long}.txt", b"passed over"),
        ],
    )  # fmt: skip
    (listing,) = list_tar(made)
    assert listing.label == ["7", "cat", None] and listing.group == [None, "3", None]
    read = listing.piece.reader([0, 1, 2])
    assert [read(row) for row in (2, 0, 1)] == [b"third", b"first", b"second"]
    assert listing.piece.name(1) == f"{made}, b.ome.tif" and not listing.damaged


def test_names_are_never_paths_and_links_are_passed_over(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    links = []
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = kind, str(secret)
        links.append((link, b""))
    device = tarfile.TarInfo("device.png")
    device.type = tarfile.CHRTYPE
    before = sorted(tmp_path.rglob("*"))
    made = archive(tmp_path / "a.tar", [("../../up.png", b"1"), ("/etc/x.png", b"2"), *links, (device, b"")])
    (listing,) = list_tar(made)
    read = listing.piece.reader(listing.row)
    assert [read(row) for row in listing.row] == [b"1", b"2"]
    assert sorted(tmp_path.rglob("*")) == sorted([*before, made])


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("a.cls", b"1")], r"a: expected one image .*found \.cls"),
        ([("a.png", b"x"), ("a.jpg", b"y")], r"a: expected one image .*found \.png, \.jpg"),
        ([("a.png", b"x"), ("a.png", b"y")], r"a: expected one image"),
        ([("a.png", b"")], "a: expected an image file of 1 to"),
        ([("a.png", b"x"), ("a.cls", bytes(module.MOST_TEXT + 1))], r"a\.cls: expected at most"),
    ],
)
def test_samples_that_cannot_be_used_are_named_and_the_others_stay(tmp_path, members, said):
    made = archive(tmp_path / "a.tar", [("0.png", b"0"), *members, ("z.png", b"z")])
    (listing,) = list_tar(made)
    (sentence,) = listing.damaged
    assert re.search(said, sentence)
    assert len(listing.row) == 2 and listing.piece.reader([0, 1])(1) == b"z"


def test_an_image_larger_than_is_believed_is_damaged(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 3)
    (listing,) = list_tar(archive(tmp_path / "a.tar", [("a.png", b"1234"), ("b.png", b"123")]))
    assert len(listing.row) == 1 and "expected an image file of 1 to 3 bytes, found 4" in listing.damaged[0]


def test_a_cut_archive_keeps_what_lies_before_the_cut(tmp_path):
    made = archive(tmp_path / "a.tar", [(f"{i}.png", bytes([i]) * 700) for i in range(4)])
    whole = made.read_bytes()
    made.write_bytes(whole[: 2 * 1536 + 600])  # in the pixels of the third
    (listing,) = list_tar(made)
    assert len(listing.row) == 2 and any("2: expected 700 bytes, found 88" in d for d in listing.damaged)
    damaged = bytearray(whole)
    damaged[1536 + 150] ^= 1  # the checksum of the second header
    made.write_bytes(damaged)
    (listing,) = list_tar(made)
    assert len(listing.row) == 1 and "ends early: a damaged header" in listing.damaged[0]


def test_a_file_cut_after_it_was_listed_is_an_error_when_it_is_read(tmp_path):
    made = archive(tmp_path / "a.tar", [("a.png", b"12345")])
    (listing,) = list_tar(made)
    made.write_bytes(made.read_bytes()[:514])
    with pytest.raises(InputError, match=r"a\.tar, a\.png: expected 5 bytes, found 2"):
        listing.piece.reader([0])(0)
    made.unlink()
    with pytest.raises(InputError, match=r"a\.tar: expected a file that can be read, found: No such file"):
        listing.piece.reader([0])(0)


def test_what_is_no_plain_tar_file_is_refused(tmp_path):
    packed = tmp_path / "packed.tar"
    with tarfile.open(packed, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a.png"))
    for content in (packed.read_bytes(), b"", b"\0" * 5, b"hello" * 400):
        packed.write_bytes(content)
        with pytest.raises(InputError, match=r"packed\.tar: expected a tar file, not compressed, found"):
            list_tar(packed)
    with pytest.raises(InputError, match=r"none\.tar: expected a file that can be read"):
        list_tar(tmp_path / "none.tar")


def test_a_header_that_announces_a_name_without_end_is_not_read(tmp_path):
    name = tarfile.TarInfo("././@LongLink")
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, 2**33
    sparse = tmp_path / "a.tar"
    with sparse.open("wb") as file:  # a file of 8 GiB that takes no room
        file.write(name.tobuf(tarfile.GNU_FORMAT))
        file.truncate(2**33 + 2048)
    with pytest.raises(InputError, match="a header of 8589934592 bytes"):
        list_tar(sparse)


def test_headers_within_headers_and_backwards_end_in_a_sentence(tmp_path):
    made = tmp_path / "a.tar"
    name = tarfile.TarInfo("././@LongLink")
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, 1
    made.write_bytes((name.tobuf(tarfile.GNU_FORMAT) + bytes(512)) * 3000)
    with pytest.raises(InputError, match="expected a tar file"):
        list_tar(made)
    back = tarfile.TarInfo("a.png")
    back.size = -1024
    made.write_bytes((bytes(archive(tmp_path / "b.tar", [("b.png", b"b")]).read_bytes()[:1024])
                      + back.tobuf(tarfile.GNU_FORMAT)) * 2)  # fmt: skip
    (listing,) = list_tar(made)
    assert len(listing.row) == 1 and "ends early" in listing.damaged[0]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, 2**20), st.binary(min_size=1, max_size=24)), max_size=6))
def test_whatever_the_bytes_say_the_answer_is_samples_or_a_sentence(tmp_path_factory, changes):
    folder = tmp_path_factory.mktemp("fuzz")
    long = "n" * 120
    made = archive(folder / "a.tar", [("a.png", PNG), ("a.cls", b"1"), (f"{long}.png", PNG)])
    data = bytearray(made.read_bytes()[: 512 * 9])
    for place, new in changes:
        at = place % len(data)
        data[at : at + len(new)] = new
    made.write_bytes(data)
    try:
        (listing,) = list_tar(made)
    except InputError as error:
        assert str(error).startswith(str(made))
        return
    assert all(isinstance(sentence, str) for sentence in listing.damaged)
    assert np.all(listing.piece.offset + listing.piece.size <= len(data))
    for row in listing.row:
        assert len(listing.piece.reader([row])(row)) == listing.piece.size[row]
