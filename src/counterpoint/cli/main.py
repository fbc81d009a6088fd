"""counterpoint: the command line. One file a command; a command is imported when it is called."""

from __future__ import annotations

import ast
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from counterpoint.cli.argv import taken
from counterpoint.core.errors import InputError, WorkError, unknown
from counterpoint.core.rooms import culprit, opened

DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130
OWN = "COUNTERPOINT_METHODS"
"""The environment variable that stands in for --methods-from; several folders as in PATH."""
USAGE = """usage: counterpoint COMMAND [options]

Register images of different modalities, on representations learned by contrast.

commands:
{commands}

Each command takes --help, --json (one JSON object on standard output, all else on standard error)
and -o DIR. Exit codes: 0 done, 1 the work failed, 2 the input is wrong, 130 interrupted.

--methods-from DIR lets any command know the methods in a folder of your own, one file each; so does the
environment variable COUNTERPOINT_METHODS. Their code is run. How to write one: docs/adding-a-method.md.
"""


def commands() -> dict[str, str]:
    """Command → its one line; read from the files of this folder without importing them."""
    found = {}
    for file in sorted(Path(__file__).parent.glob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "command" for node in tree.body):
            found[file.stem] = (ast.get_docstring(tree) or "").splitlines()[0]
    return found


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit with its code."""
    sys.stdout.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    try:
        code = run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except OSError:  # nobody reads it, or the disk is full; Python itself must not try again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said and done; ctrl-C would only spoil the exit
    sys.exit(code)


def run(argv: list[str]) -> int:
    """Run one command; returns the exit code. A user's mistake is one sentence, never a traceback."""
    with ExitStack() as folders:  # of the user's own; they stay open until it is said where a fault came from
        try:
            rest, given = taken(argv, "--methods-from")
            folders.enter_context(opened(given or filter(None, os.environ.get(OWN, "").split(os.pathsep))))
            answer, code = _called(rest)
        except SystemExit as stop:  # after a command's help
            return DONE if stop.code is None else int(stop.code)
        except BrokenPipeError:  # nobody is left to be told
            return FAILED
        except (Exception, KeyboardInterrupt) as error:
            answer, code = _failed(error)
    if "--json" in argv and answer:
        from counterpoint.cli.console import to_json

        print(to_json(answer))  # noqa: T201
    return code


def _called(argv: list[str]) -> tuple[dict[str, Any], int]:
    known = commands()
    if not argv or argv[0] in ("-h", "--help"):
        width = max(map(len, known))
        print(USAGE.format(commands="\n".join(f"  {n:{width}}  {line}" for n, line in known.items())))  # noqa: T201
        return {}, DONE if argv else WRONG
    if argv[0] == "--version":
        print(version("counterpoint"))  # noqa: T201
        return {}, DONE
    if argv[0] not in known:
        raise unknown("command", argv[0], known)
    return importlib.import_module(f"counterpoint.cli.{argv[0]}").command(argv[1:])


def _interruption(error: BaseException | None) -> KeyboardInterrupt | None:
    """The ctrl-C that an exception came of, or came upon."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return error


def _failed(error: BaseException) -> tuple[dict[str, Any], int]:
    """Say what went wrong on standard error; returns the JSON answer and the exit code."""
    from counterpoint.cli.console import printable, say

    code = FAILED
    # What fails because it was interrupted, as the import of a library may, is no fault.
    error = _interruption(error) or error
    match error:
        case InputError():
            sentence, code = str(error), WRONG
        case KeyboardInterrupt():
            sentence, code = "interrupted; what was finished is kept", INTERRUPTED
        case WorkError():
            sentence = str(error)
        case MemoryError():
            sentence = str(error) or "there is not enough memory"
        case OSError():
            sentence = f"{error.filename or 'files'}: {error.strerror or error}"
        case _:  # not a wrong input: whoever mends it needs to know where it came from
            traceback.print_exception(error)
            where = culprit(error) or "counterpoint itself"
            sentence = f"a fault in {where}: {type(error).__name__}: {error}"
    say(f"counterpoint: {sentence}")
    return {"error": printable(sentence), "code": code}, code
