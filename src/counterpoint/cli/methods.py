"""List the methods there are: field, idea, paper, and the verdict of the experiment that checks its claim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from counterpoint.cli.console import Flag, Folder, parsed, printable
from counterpoint.core.errors import unknown
from counterpoint.evidence.catalogue import Entry, entries


@dataclass(frozen=True)
class Args:
    """List the methods there are.

    The verdict of a method is what came of a small experiment on what its paper says: holds, fails, open
    (undecided), or none (not tried yet).
    """

    field: str = ""
    """Only those of one field, e.g. image; empty for all."""
    evidence: Folder = None
    """Folder of evidence, if not the package's own and that of your own folders."""
    json: Flag = False
    """Print one JSON list on standard output."""


def command(argv: list[str]) -> tuple[list[dict[str, Any]], int]:
    """Run the command; returns the JSON answer and the exit code."""
    args = parsed(Args, argv, "methods")
    found = entries(args.evidence)
    if args.field:
        fields = {entry.field for entry in found}
        if args.field not in fields:
            raise unknown("field", args.field, fields)
        found = [entry for entry in found if entry.field == args.field]
    if not args.json:
        print("\n\n".join(map(_said, found)))  # noqa: T201
    return [plain(entry) for entry in found], 0


def plain(entry: Entry) -> dict[str, Any]:
    """A method as JSON has it."""
    return {
        "name": entry.name,
        "field": entry.field,
        "idea": entry.idea,
        "paper": entry.paper,
        "verdict": entry.verdict,
        "stale": list(entry.stale),
        "problem": entry.problem,
    }


def _said(entry: Entry) -> str:
    """A method in three lines: name, field and verdict; idea; paper; and why it cannot be used, if so."""
    stale = ", but its code has changed since" if entry.stale else ""
    head = f"{entry.name} ({entry.field}): {entry.verdict}{stale}"
    problem = entry.problem and f"cannot be used: {entry.problem}"
    return "\n    ".join(printable(line) for line in (head, entry.idea, entry.paper, problem) if line)
