"""Images in files that a table lists, with their labels, groups and parts."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from counterpoint.core.errors import InputError
from counterpoint.core.untrusted import read_text
from counterpoint.data.arrays import PARTS, chosen_parts, part_numbers
from counterpoint.data.folder import Files, OnError

FILE = ("file", "image", "path", "filename")
LABEL = ("label", "class", "target", "category")
GROUP = ("group", "patient", "subject")
PART = ("part", "split")


def read_table(
    path: Path | str,
    part: str | None = None,
    *,
    size: int | None = None,
    channels: int | None = None,
    on_error: OnError = "stop",
    workers: int = 2,
) -> Files:
    """Images listed in a table with a column "file", and "label", "group" and "part" if there are such.

    Separated by comma, semicolon or tab; UTF-8; paths relative to the table. Labels are whole numbers from 0,
    or names, which are then numbered in alphabetical order. "image", "path" and "filename" do for "file",
    "class", "target" and "category" for "label", "patient" and "subject" for "group", "split" for "part".

    Args:
        path: The table.
        part: "train", "val" or "test", as the table's column has it; all rows if not given.
        size: As ``Files`` takes it.
        channels: As ``Files`` takes it.
        on_error: As ``Files`` takes it; a file that is not there is one that cannot be read.
        workers: As ``Files`` takes it.

    Raises:
        InputError: no table, no column of files, rows with empty cells, a part that is not there, or what
            ``Files`` refuses.
    """
    path = Path(path)
    rows = _rows(path)
    column = {kind[0]: next((c for c in kind if c in rows[0]), None) for kind in (FILE, LABEL, GROUP, PART)}
    used = [c for c in column.values() if c]
    for line, row in enumerate(rows, 2):
        if not all(row[c] for c in used):
            wanted = " and a ".join(used)
            raise InputError(f"{path}: expected a {wanted} in row {line}, found {row!s:.200}")
    split = column["part"]
    kinds = [row[split].lower() if split else "" for row in rows]
    there = [p for p in PARTS if p in kinds]
    chosen = chosen_parts(part, there, str(path))
    if split and not set(kinds) <= set(PARTS):
        raise InputError(
            f"{path}: expected {', '.join(PARTS)} in column {split}, found {min(set(kinds) - set(PARTS))!r}"
        )
    at = [i for p in chosen for i, kind in enumerate(kinds) if p in (None, kind)]
    cells = {kind: [rows[i][c] for i in at] if c else None for kind, c in column.items()}
    label, names = numbered(cells["label"])
    return Files(
        [path.parent / cell for cell in cells["file"] or []], label, names, group=cells["group"],
        part=part_numbers([kinds[i] for i in at]) if len(chosen) > 1 else None,
        size=size, channels=channels, on_error=on_error, workers=workers, name=str(path),
    )  # fmt: skip


def _rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table by column, names in lower case; at least one row, and a column of files."""
    text = read_text(path, "a table")
    for delimiter in ",;\t":
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        try:
            table = [[cell.strip() for cell in row] for row in reader if any(cell.strip() for cell in row)]
        except csv.Error as error:
            raise InputError(f"{path}: expected a table, found in line {reader.line_num}: {error}") from None
        header = [name.lower() for name in table[0]] if table else []
        if set(FILE) & set(header):
            break
    else:
        raise InputError(f"{path}: expected a column called {' or '.join(FILE)}, found {text[:100]!r}")
    if len(table) < 2:
        raise InputError(f"{path}: expected at least one row below the header, found none")
    width = len(header)
    return [dict(zip(header, row + [""] * width, strict=False)) for row in table[1:]]


def numbered(cells: Sequence[str] | None) -> tuple[np.ndarray | None, list[str]]:
    """Class numbers and names of labels as text: numbers as they are, names in alphabetical order."""
    if cells is None:
        return None, []
    if all(cell.isdecimal() for cell in cells):
        return np.array([int(cell) for cell in cells]), []
    names, numbers = np.unique(list(cells), return_inverse=True)
    return numbers, names.tolist()
