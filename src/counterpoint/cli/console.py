"""Console: what every command shares – kinds of flags, messages, tables, JSON, the output folder."""

from __future__ import annotations

import io
import json
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import replace
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args

import tyro

from counterpoint.core.errors import InputError
from counterpoint.core.files import output_folder

T = TypeVar("T")


def _unset(metavar: str) -> Any:
    """How the help shows a flag that has no value unless given one."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint="")


File = Annotated[Path | None, _unset("FILE")]
Folder = Annotated[Path | None, _unset("DIR")]
Table = Annotated[Path | None, _unset("TABLE|DIR")]
Word = Annotated[str | None, _unset("TEXT")]
Address = Annotated[str | None, _unset("ADDRESS|FILE")]
Spacing = Annotated[tuple[float, float] | None, _unset("X Y")]
Out = Annotated[Path, tyro.conf.arg(metavar="DIR", aliases=["-o"])]
Flag = tyro.conf.FlagCreatePairsOff[bool]
_rules = tyro.constructors.ConstructorRegistry()


@_rules.primitive_rule
def _optional(info: tyro.constructors.PrimitiveTypeInfo) -> Any:
    """``X | None`` reads as X does: None is what stands there when the flag is not given."""
    kinds = [kind for kind in get_args(info.type) if kind is not NoneType]
    if NoneType not in get_args(info.type) or len(kinds) != 1:
        return None
    kind = tyro.constructors.PrimitiveTypeInfo.make(kinds[0], info.markers)
    spec = tyro.constructors.ConstructorRegistry.get_primitive_spec(kind)
    if not isinstance(spec, tyro.constructors.PrimitiveConstructorSpec):
        return spec
    return replace(
        spec,
        is_instance=lambda value: value is None or spec.is_instance(value),
        str_from_instance=lambda value: ["unset"] if value is None else spec.str_from_instance(value),
    )


def parsed(kind: type[T], argv: Sequence[str], name: str) -> T:
    """The flags of a command as its dataclass.

    Raises:
        SystemExit: help was asked for and printed.
        InputError: a flag that is not there, with the nearest ones, or a wrong value.
    """
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            return tyro.cli(kind, args=list(argv), prog=f"counterpoint {name}", registry=_rules)
    except SystemExit as stop:
        if not stop.code:
            raise
    raise InputError(f"{name}: {_sentence(said.getvalue())}; see counterpoint {name} --help")


def _sentence(box: str) -> str:
    """What tyro draws as a box of paragraphs, as one sentence."""
    bare = re.sub(r"\x1b\[[0-9;]*m", "", box)  # colors; the frame is drawn in Unicode or ASCII
    lines = ["" if re.fullmatch(r"\W*", line) else line.strip("│| ") for line in bare.splitlines()]
    what, *others = "\n".join(lines[1:]).split("\n\n")  # the first line is a title
    near = [re.findall(r"^--[^\s,]+", p, re.M) for p in others if p.startswith("Perhaps you meant")]
    # Settings name themselves; which of our dataclasses refused them is no business of the user's.
    what = re.sub(r"^Error parsing (?!-)\S+: ", "", " ".join(what.split())).rstrip(".")
    what = re.sub(r"(^|\. )[A-Z]", lambda start: start[0].lower().replace(".", ","), what)
    return what + (f", did you mean {' or '.join(near[0])}?" if near and near[0] else "")


def printable(text: str) -> str:
    """``text`` on one line and without what a terminal would obey: file names may hold anything."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def say(sentence: str) -> None:
    """A message for the person at the terminal, on standard error."""
    print(printable(sentence), file=sys.stderr, flush=True)  # noqa: T201


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], as_json: bool = False) -> None:
    """A table on standard output; ``as_json``: on standard error, because that is for JSON."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # Text, because a plain string may hold what rich takes for markup.
    table = Table(title=Text(printable(title)), title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(Text(column), justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(str(cell))) for cell in row))
    stream = sys.stderr if as_json else sys.stdout
    Console(file=stream, width=None if stream.isatty() else 140).print(table)


@contextmanager
def outputs(folder: Path, wait: bool = False) -> Iterator[Path]:
    """``folder``, made if need be and held by this process alone while the block runs.

    If the block fails before it wrote anything, no folder is left behind that was not there.

    Args:
        folder: Where to write.
        wait: If another run is at work in it, until that has ended.

    Raises:
        InputError: it cannot be written to, or another run is at work in it.
    """
    missing = [p for p in (folder, *folder.parents) if not os.path.lexists(p)]
    try:
        output_folder(folder)
        with _held(folder, wait):
            yield folder
    except BaseException:
        with suppress(OSError):  # something stands in it that is worth keeping
            for path in missing:
                path.rmdir()
        raise


@contextmanager
def _held(folder: Path, wait: bool) -> Iterator[None]:
    """Lock a folder; the lock falls when the process ends, however it ends."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(handle)
        raise InputError(f"{folder}: expected a free folder, found another run at work in it") from None
    except OSError:  # a file system without locks
        pass
    try:
        yield
    finally:
        os.close(handle)


def plain(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Values that JSON and YAML know: paths as text, tuples as lists, None for what is not finite."""
    return {k: _plain(v) for k, v in mapping.items()}


def to_json(value: Any, indent: int | None = None) -> str:
    """``plain`` values as strict JSON, in ASCII."""
    return json.dumps(_plain(value), indent=indent, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return plain(value) if isinstance(value, Mapping) else value
