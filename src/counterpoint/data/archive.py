"""What an archive of samples is: pieces that are read in one go, and what is known of them before that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from counterpoint.core.untrusted import parse_json

LABEL = ("label", "class", "target", "category", "cls")
GROUP = ("group", "patient", "subject")
MOST_BYTES = 2**28
"""Largest image file in an archive that is believed."""


class Piece(Protocol):
    """Samples that lie together: a tar file, a row group of a Parquet file."""

    def reader(self, rows: Sequence[int]) -> Callable[[int], bytes]:
        """What gives the image file of a row, once, to any thread; it raises ``InputError`` if it cannot.

        Args:
            rows: Ascending; all that will be asked for.
        """
        ...

    def name(self, row: int) -> str:
        """What messages call a row."""
        ...


@dataclass
class Listing:
    """The samples of a piece, as its headers state them."""

    piece: Piece
    row: list[int] = field(default_factory=list)
    """Place of each sample in the piece, ascending."""
    label: list[str | None] = field(default_factory=list)
    group: list[str | None] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    """A sentence for each sample that cannot be used."""

    def add(self, row: int, label: str | None, group: str | None) -> None:
        """One sample more."""
        self.row.append(row)
        self.label.append(label)
        self.group.append(group)


def described(text: bytes) -> tuple[str | None, str | None]:
    """Label and group that a JSON object states under one of their names; None for what it does not state."""
    try:
        entries = parse_json(text)
    except ValueError:
        return None, None
    if not isinstance(entries, dict):
        return None, None
    lower = {key.lower(): value for key, value in entries.items()}
    label, group = (next((lower[n] for n in names if n in lower), None) for names in (LABEL, GROUP))
    return worded(label), worded(group)


def worded(value: object) -> str | None:
    """A whole number or a text as text; None for anything else."""
    return str(value) if isinstance(value, int | str) and not isinstance(value, bool) else None
