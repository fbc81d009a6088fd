from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from counterpoint.cli.console import File, Flag, Folder, Spacing, Word, outputs, parsed, say, show
from counterpoint.cli.pairs import channel, listed
from counterpoint.core.errors import InputError


@dataclass(frozen=True)
class Args:
    """What it does."""

    table: File = None
    """A file."""
    where: Folder = None
    """A folder."""
    word: Word = None
    """A word."""
    size: Spacing = None
    """Two numbers."""
    bare: tuple[float, float] | None = None
    """Two numbers, not named by us."""
    kind: Literal["one", "two"] = "one"
    """One of them."""
    flag: Flag = False
    """On or off."""


class TestParsed:
    def test_what_is_not_given_is_none(self):
        assert parsed(Args, [], "do") == Args()

    def test_values(self):
        argv = [
            "--table",
            "None",
            "--where",
            "a b",
            "--word=--x",
            "--size",
            "0.5",
            "-1e-3",
            "--bare",
            "1",
            "2",
        ]
        args = parsed(Args, [*argv, "--kind", "two", "--flag"], "do")
        assert args == Args(Path("None"), Path("a b"), "--x", (0.5, -0.001), (1, 2), "two", True)

    def test_help_names_what_is_wanted(self, capsys):
        with pytest.raises(SystemExit, match="0"):
            parsed(Args, ["--help"], "do")
        shown = capsys.readouterr().out
        for flag in (
            "--table FILE",
            "--where DIR",
            "--word TEXT",
            "--size X Y",
            "--bare FLOAT FLOAT",
            "--flag ",
        ):
            assert flag in shown
        assert "None" not in shown and "--no-flag" not in shown and shown.count("(default: unset)") == 1

    @pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
    def test_the_frame_around_a_mistake_is_taken_off(self, capsys, monkeypatch, encoding):
        monkeypatch.setattr("tyro._fmtlib._should_use_utf8_drawing_chars", lambda: encoding == "utf-8")
        with pytest.raises(InputError) as refused:
            parsed(Args, ["--tabel", "x"], "do")
        assert str(refused.value) == (
            "do: unrecognized options: --tabel, x, did you mean --table?; see counterpoint do --help"
        )
        assert capsys.readouterr() == ("", "")


class TestOutputs:
    def test_only_what_was_made_for_nothing_is_taken_away(self):
        Path("there").mkdir()
        with pytest.raises(KeyboardInterrupt), outputs(Path("there/a/b")):
            raise KeyboardInterrupt
        assert list(Path("there").iterdir()) == []
        with pytest.raises(ValueError), outputs(Path("there")):
            raise ValueError
        assert Path("there").is_dir()

    def test_what_was_written_is_kept(self):
        with pytest.raises(ValueError), outputs(Path("a/b")) as folder:
            (folder / "x").touch()
            raise ValueError
        assert Path("a/b/x").is_file()

    def test_one_at_a_time(self):
        pytest.importorskip("fcntl")
        with outputs(Path("a")):
            with pytest.raises(InputError, match="another run at work"), outputs(Path("a")):
                pass
            assert Path("a").is_dir()
        with outputs(Path("a")):
            pass


def test_a_table_takes_words_as_they_are(capsys):
    show("[bold]t", ("a", "b"), [("[red]x[/]", ":smile:"), ("\x1b[31m", 2)])
    out, err = capsys.readouterr()
    assert "[red]x[/]" in out and ":smile:" in out and "[bold]t" in out and "\\x1b[31m" in out and err == ""
    show("t", ("a",), [("x",)], as_json=True)
    assert capsys.readouterr().out == ""


def test_a_message_is_one_line(capsys):
    say("a\nb\x1b]0;title\x07")
    assert capsys.readouterr().err == "a\\nb\\x1b]0;title\\x07\n"


def test_a_channel_is_a_number_or_a_name():
    assert [channel(name) for name in ("0", "12", "-1", "DAPI", "²", None)] == [0, 12, -1, "DAPI", "²", None]


def test_many_names_are_cut_short(folders, save, gray, scene, capsys):
    for i in range(12):
        save(f"A/{i:02}.png", gray(scene()[0]))
        save(f"B/{i:02}.png", gray(scene()[0]))
    assert len(listed("do", Path("A"), Path("B"), None, None).pairs) == 12
    assert capsys.readouterr().err.endswith("00, 01, 02, 03, 04, 05, 06, 07 and 4 more\n")
