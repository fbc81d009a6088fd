"""Flags that are read before, or beside, those of a command's dataclass."""

from __future__ import annotations

from collections.abc import Sequence

from counterpoint.core.errors import InputError


def taken(argv: Sequence[str], flag: str) -> tuple[list[str], list[str]]:
    """``argv`` without ``flag VALUE`` (or ``flag=VALUE``), and the values; ``InputError`` if one lacks."""
    rest, values, i = [], [], 0
    while i < len(argv):
        if argv[i] == flag:
            if i + 1 == len(argv):
                raise InputError(f"{flag}: expected a value after it, found nothing")
            values.append(argv[i + 1])
            i += 1
        elif argv[i].startswith(f"{flag}="):
            values.append(argv[i].partition("=")[2])
        else:
            rest.append(argv[i])
        i += 1
    return rest, values
