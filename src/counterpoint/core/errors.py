"""The two ways in which work ends without a result."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """The user's input is wrong; the message is one sentence that says what was expected and found.

    The command line prints it without a traceback and exits with 2. What cannot be printed, as in names that
    a file of somebody else brings, stands in it as Python writes it: a sentence is one line.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in sentence))


class WorkError(RuntimeError):
    """The input was fine but the work failed; the message is one sentence.

    The command line prints it without a traceback and exits with 1.
    """


def unknown(what: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not among the known ones, with the nearest of them."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return InputError(f"unknown {what} {name[:200]!r}: {hint}known are {', '.join(known) or 'none'}")
