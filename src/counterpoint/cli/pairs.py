"""Pairs: which images a command works on – two folders or a table – and saying so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from counterpoint.cli.console import say
from counterpoint.core.errors import InputError
from counterpoint.data.pairs import PairList, pair_folders, read_pairs


def listed(
    command: str, fixed: Path | None, moving: Path | None, table: Path | None, pattern: str | None
) -> PairList:
    """The pairs of two folders, of a table, or of a folder that holds either; says how they were paired.

    Raises:
        InputError: neither or both are given, or nothing can be paired.
    """
    if table is not None:
        if not fixed is moving is None or (pattern is not None and not table.is_dir()):
            raise InputError(f"{command}: expected either two folders or --pairs TABLE.csv, found both")
        found = read_pairs(table, pattern)
    elif fixed is None or moving is None:
        raise InputError(f"{command}: expected --fixed DIR and --moving DIR, or --pairs TABLE.csv")
    else:
        found = pair_folders(fixed, moving, pattern)
    say(f"{len(found.pairs)} pairs, paired {found.how}: {_some([p.name for p in found.pairs])}")
    if found.left:
        say(f"{len(found.left)} images without a partner are left out: {_some(list(map(str, found.left)))}")
    return found


def channel(name: str | None) -> int | str | None:
    """A channel as the user names it: a number from 0, or a name."""
    return int(name) if name is not None and name.lstrip("-").isdecimal() else name


def _some(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
