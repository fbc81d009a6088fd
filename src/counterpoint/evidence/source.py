"""Which code of ours a file rests on, and whether that has changed. Nothing is imported to find out."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from counterpoint.core.errors import InputError

PACKAGE = "counterpoint"


def fingerprints(module: str) -> dict[str, str]:
    """Module → 16 hexadecimal digits, for a module and everything of ours it imports, directly or not.

    The digits follow from the syntax tree without docstrings: comments, docstrings and layout do not count.
    Imports inside functions count. Parts looked up by name at run time are not seen.
    """
    found: dict[str, str] = {}
    todo = [module]
    while todo:
        name = todo.pop()
        if name not in found and (file := file_of(name)) is not None:
            found[name] = _digest(file)
            todo += imports(file)
    return dict(sorted(found.items()))


def changed(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Modules that are not what they were: others, new or gone, sorted."""
    return sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))


def imports(file: Path) -> dict[str, list[str]]:
    """Module of ours → the names that a file takes from it, in the order of their first mention."""
    found: dict[str, list[str]] = {}
    for module, name in _imports(file, *_version(file)):
        inner = f"{module}.{name}"
        if name and file_of(module) is None and file_of(inner) is not None:
            found.setdefault(inner, [])
        else:
            found.setdefault(module, []).extend([name] if name else [])
    return found


@cache
def _imports(file: Path, *_version: int) -> list[tuple[str, str]]:
    """(module of ours, name taken from it or "") in the order of ``ast.walk``."""
    found = []
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names if _ours(alias.name)]
        elif isinstance(node, ast.ImportFrom) and node.module and _ours(node.module):
            found += [(node.module, alias.name) for alias in node.names]
    return found


def docstring(file: Path) -> str:
    """The words at the head of a file; empty if there are none."""
    return ast.get_docstring(_tree(file)) or ""


def file_of(module: str) -> Path | None:
    """The file of a module of ours, also where a room has folders of the user's own; None for packages."""
    parts = module.split(".")
    if len(parts) < 3 or (room := _room(parts[1])) is None:
        return None
    places = (Path(place, *parts[2:]).with_suffix(".py") for place in room)
    return next((place for place in places if place.is_file()), None)


def _room(name: str) -> Iterable[str] | None:
    spec = find_spec(f"{PACKAGE}.{name}")
    return None if spec is None else spec.submodule_search_locations


def _ours(module: str) -> bool:
    return module.split(".", maxsplit=1)[0] == PACKAGE


def _tree(file: Path) -> ast.Module:
    """The syntax tree of a file; an ``InputError`` if it has none, as may be with one of the user's own."""
    try:
        return ast.parse(file.read_bytes(), str(file))
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        said = error.msg if isinstance(error, SyntaxError) else error
        raise InputError(f"{file}{line}: expected Python, found: {said}") from None


def _digest(file: Path) -> str:
    return _cached_digest(file, *_version(file))


def _version(file: Path) -> tuple[int, int]:
    stat = file.stat()
    return stat.st_mtime_ns, stat.st_size


@cache
def _cached_digest(file: Path, *_version: int) -> str:
    return hashlib.blake2b(repr(_said(_tree(file))).encode(), digest_size=8).hexdigest()


_SILENT = ("ctx", "kind", "type_comment", "type_ignores")
"""Fields of syntax nodes that say nothing."""


def _said(node: Any) -> Any:
    """A syntax tree as nested lists, the same for every version of Python: empty fields are left out."""
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if name not in _SILENT]
        full = ([name, _said(value)] for name, value in fields if value is not None and value != [])
        return [type(node).__name__, *full]
    if isinstance(node, list):
        return [_said(each) for each in node if not _is_docstring(each)]
    return repr(node)


def _is_docstring(node: Any) -> bool:
    constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return constant and isinstance(node.value.value, str)  # pyright: ignore[reportAttributeAccessIssue]
