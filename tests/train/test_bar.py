from __future__ import annotations

import io
import sys

from counterpoint.train.bar import bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch, stream: io.StringIO, wanted: bool) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    with bar(10, 3, shown=wanted) as show:
        show(10, 0.25)
    return stream.getvalue()


def test_a_terminal_sees_loss_and_count(monkeypatch):
    text = shown(monkeypatch, Terminal(), True)
    assert "10/10" in text and "loss 0.25" in text


def test_nobody_else_does(monkeypatch):
    assert shown(monkeypatch, Terminal(), False) == ""
    assert shown(monkeypatch, io.StringIO(), True) == ""


def test_warnings_stand_above_the_bar_and_where_there_is_none(monkeypatch):
    words = "the features at 'a[b]' " + "have collapsed " * 9
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "80")
        with bar(10, 3, shown=True) as show:
            show(4, 0.5, [words])
            show(5, 0.5)
        assert stream.getvalue().count(f"warning: {words}") == 1  # on one line
    quiet = io.StringIO()
    monkeypatch.setattr(sys, "stderr", quiet)
    with bar(10, 3, shown=False) as show:
        show(4, 0.5, [words])
    assert quiet.getvalue() == ""
