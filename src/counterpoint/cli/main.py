"""counterpoint: the command line. One file a command; a command is imported when it is called."""

from __future__ import annotations

import ast
import importlib
import json
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from counterpoint.core.errors import InputError, WorkError, unknown

DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130
USAGE = """usage: counterpoint COMMAND [options]

Register images of different modalities, on representations learned by contrast.

commands:
{commands}

Each command takes --help, --json (one JSON object on standard output, all else on standard error)
and -o DIR. Exit codes: 0 done, 1 the work failed, 2 the input is wrong, 130 interrupted.
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
    sys.exit(run(list(sys.argv[1:] if argv is None else argv)))


def run(argv: list[str]) -> int:
    """Run one command; returns the exit code. A user's mistake is one sentence, never a traceback."""
    known = commands()
    if not argv or argv[0] in ("-h", "--help"):
        width = max(map(len, known))
        print(USAGE.format(commands="\n".join(f"  {n:{width}}  {line}" for n, line in known.items())))  # noqa: T201
        return DONE if argv else WRONG
    if argv[0] == "--version":
        print(version("counterpoint"))  # noqa: T201
        return DONE
    as_json = "--json" in argv
    try:
        if argv[0] not in known:
            raise unknown("command", argv[0], known)
        module = importlib.import_module(f"counterpoint.cli.{argv[0]}")
        answer, code = module.command(argv[1:])
    except InputError as error:
        return _failed(str(error), WRONG, as_json)
    except (WorkError, MemoryError) as error:
        return _failed(str(error) or "there is not enough memory", FAILED, as_json)
    except KeyboardInterrupt:
        return _failed("interrupted; what was finished is kept", INTERRUPTED, as_json)
    except BrokenPipeError:
        return FAILED
    if as_json:
        print(json.dumps(answer))  # noqa: T201
    return code


def _failed(sentence: str, code: int, as_json: bool) -> int:
    answer: dict[str, Any] = {"error": sentence, "code": code}
    print(f"counterpoint: {sentence}", file=sys.stderr)  # noqa: T201
    if as_json:
        print(json.dumps(answer))  # noqa: T201
    return code
