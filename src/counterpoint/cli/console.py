"""Console: what every command shares – parsing its flags, messages, tables, the output folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from counterpoint.core.files import output_folder

T = TypeVar("T")


def parsed(kind: type[T], argv: Sequence[str], name: str) -> T:
    """The flags of a command as its dataclass; prints help or the mistake and exits as tyro does (0 or 2)."""
    import tyro

    return tyro.cli(
        kind, args=list(argv), prog=f"counterpoint {name}", config=(tyro.conf.FlagCreatePairsOff,)
    )


def say(sentence: str) -> None:
    """A message for the person at the terminal, on standard error."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(escape(sentence))


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], as_json: bool = False) -> None:
    """A table on standard output; on standard error when that belongs to JSON."""
    table = Table(title=escape(title), title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(escape(column), justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    width = None if sys.stdout.isatty() else 140
    Console(stderr=as_json, width=width).print(table)


@contextmanager
def outputs(folder: Path) -> Iterator[Path]:
    """``folder``, ready to be written to; if the block fails before it wrote anything, none is left behind."""
    missing = [p for p in (folder, *folder.parents) if not os.path.lexists(p)]
    output_folder(folder)
    try:
        yield folder
    except BaseException:
        for path in missing:
            try:
                path.rmdir()
            except OSError:  # something stands in it that is worth keeping
                break
        raise


def plain(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Values that JSON and YAML know: paths as text, tuples as lists."""
    return {k: _plain(v) for k, v in mapping.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return plain(value) if isinstance(value, Mapping) else value
