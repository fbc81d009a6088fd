from __future__ import annotations

import os
from pathlib import Path

import pytest

from counterpoint.core.errors import InputError
from counterpoint.core.files import aside, output_folder, write_text


def listed(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_is_replaced_when_the_block_ends(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with aside(path) as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".txt" and temporary != path
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and listed(tmp_path) == ["a.txt"]


def test_an_exception_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), aside(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and listed(tmp_path) == ["a.txt"]


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(FileNotFoundError), aside(tmp_path / "a.txt"):
        pass
    assert (tmp_path / "a.txt").read_text() == "old"


def test_long_names_and_umlauts(tmp_path):
    path = tmp_path / ("ä" * 100 + ".txt")
    write_text(path, "größer →")
    assert path.read_text(encoding="utf-8") == "größer →" and len(listed(tmp_path)) == 1


def test_files_may_be_read_by_whom_the_umask_lets(tmp_path):
    old = os.umask(0o022)
    try:
        write_text(tmp_path / "a", "x")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_a_folder_is_made_and_a_file_in_its_place_is_refused(tmp_path):
    assert output_folder(str(tmp_path / "a" / "b")).is_dir() and not listed(tmp_path / "a" / "b")
    (tmp_path / "file").write_text("")
    for place in ("file", "file/below"):
        with pytest.raises(InputError, match="expected a folder that can be written to, found: "):
            output_folder(tmp_path / place)
