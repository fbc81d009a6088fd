"""Which image belongs to which: by the names in two folders, or by a table."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path

from counterpoint.core.errors import InputError
from counterpoint.core.untrusted import read_text
from counterpoint.data.kinds import full_suffix, stem

_SEPARATORS = "_-. "


@dataclass(frozen=True)
class Pair:
    """Two images of the same thing."""

    fixed: Path
    moving: Path
    name: str
    """What the two have in common; unique in its list, and fit to be a file name."""
    extra: dict[str, str] = field(default_factory=dict)
    """Further columns of the table it came from."""


@dataclass(frozen=True)
class PairList:
    """Pairs, the image files that found no partner, and words for how they were paired."""

    pairs: tuple[Pair, ...]
    left: tuple[Path, ...]
    how: str


def pair_folders(fixed_dir: Path | str, moving_dir: Path | str, pattern: str | None = None) -> PairList:
    """Pair the images of two folders by name; hidden files and files of other kinds are passed over.

    Names belong together when they are equal but for the suffix; if none are, when they are equal without the
    beginning and end that all names of a folder share (a_HE.tif, b_HE.tif with a_SHG.tif, b_SHG.tif).

    Args:
        fixed_dir: Folder of fixed images.
        moving_dir: Folder of moving images.
        pattern: Regular expression found in names of both folders; names belong together when its group (the
            only one, or the one called "id") is equal.

    Raises:
        InputError: a folder that is not there, the same folder twice, one without images, two files of equal
            name in one folder, a wrong pattern, or no pair at all.
    """
    fixed_dir, moving_dir = Path(fixed_dir), Path(moving_dir)
    fixed, moving = _images(fixed_dir), _images(moving_dir)
    if fixed_dir.samefile(moving_dir):
        raise InputError(f"{fixed_dir}: expected two folders, found the same one for fixed and moving images")
    if pattern is not None:
        key = _key_by(pattern)
        pairs = _matched(_by_key(fixed, key), _by_key(moving, key))
        how = f"by what {pattern!r} finds in the file names"
    else:
        pairs = _matched(_by_key(fixed, stem), _by_key(moving, stem))
        how = "by equal file names"
        if not pairs:
            pairs, how = _by_trimmed_stems(fixed, moving)
    if not pairs:
        raise InputError(
            f"{fixed_dir} and {moving_dir}: expected file names that belong together, found none, for "
            f"example {fixed[0].name!r} and {moving[0].name!r}: rename them or give a pattern"
        )
    paired = {path for pair in pairs for path in (pair.fixed, pair.moving)}
    return PairList(pairs, tuple(p for p in (*fixed, *moving) if p not in paired), how)


def read_pairs(path: Path | str, pattern: str | None = None) -> PairList:
    """Pairs from a table, or from a folder that holds one (``pairs.csv``) or two folders of images.

    The folders are ``fixed`` and ``moving``, or else the only two there are, in the order of their names.

    Raises:
        InputError: neither a table nor such a folder, or what ``read_pairs_csv`` and ``pair_folders`` refuse.
    """
    path = Path(path)
    if not path.is_dir():
        return read_pairs_csv(path)
    if (path / "pairs.csv").is_file():
        return read_pairs_csv(path / "pairs.csv")
    inside = sorted(p for p in path.iterdir() if p.is_dir() and p.name[0] != ".")
    chosen = [p for p in inside if p.name in ("fixed", "moving")]
    two = chosen if len(chosen) == 2 else inside
    if len(two) != 2:
        found = ", ".join(p.name for p in inside) or "none"
        raise InputError(f"{path}: expected pairs.csv or two folders of images in it, found folders: {found}")
    found = pair_folders(two[0], two[1], pattern)
    return replace(found, how=f"{two[0].name} (fixed) with {two[1].name} (moving), {found.how}")


def read_pairs_csv(path: Path | str) -> PairList:
    """Pairs from a table with columns ``fixed`` and ``moving``, separated by comma, semicolon or tab.

    Paths are relative to the table. A column ``name`` (or else ``id``) names the pairs, which otherwise go by
    the fixed file; further columns are kept. UTF-8, with or without a byte order mark.

    Raises:
        InputError: a file that is missing, empty or not UTF-8, missing columns or cells, images that are not
            there, or names that are not unique or not fit to be file names.
    """
    path = Path(path)
    header, rows = _table(path)
    wanted = {name.lower(): i for i, name in reversed(list(enumerate(header)))}
    name_at = wanted.get("name", wanted.get("id"))
    used = {wanted["fixed"], wanted["moving"], name_at}
    found: list[Pair] = []
    missing: list[str] = []
    for line, row in rows:
        if len(row) != len(header) or not (row[wanted["fixed"]] and row[wanted["moving"]]):
            raise InputError(
                f"{path}: expected {len(header)} cells with a fixed and a moving image in line {line}, "
                f"found {row!s:.200}"
            )
        files = [path.parent / row[wanted[role]] for role in ("fixed", "moving")]
        missing += [f"{file} (line {line})" for file in files if not file.is_file()]
        name = row[name_at] if name_at is not None else ""
        extra = {header[i]: cell for i, cell in enumerate(row) if i not in used}
        found.append(Pair(files[0], files[1], name or stem(files[0]), extra))
    if missing:
        raise InputError(
            f"{path}: expected images that exist, found {len(missing)} missing, first {missing[0]}"
        )
    if not found:
        raise InputError(f"{path}: expected at least one pair below the header, found none")
    _check_names(path, [pair.name for pair in found])
    return PairList(tuple(found), (), f"as listed in {path.name}")


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(
            f"{folder}: expected a folder of images, found {'a file' if folder.exists() else 'nothing'}"
        )
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.name[0] != "." and full_suffix(p))
    if not files:
        raise InputError(f"{folder}: expected a folder of images, found none in it")
    return files


def _by_key(files: Iterable[Path], key: Callable[[Path], str | None]) -> dict[str, Path]:
    """Files by key, without those that have none; raises ``InputError`` if two have the same."""
    found: dict[str, Path] = {}
    for file in files:
        k = key(file)
        if k is not None and k in found:
            other = found[k].name
            raise InputError(f"{file.parent}: expected one file for {k!r}, found {other!r} and {file.name!r}")
        if k is not None:
            found[k] = file
    return found


def _matched(fixed: dict[str, Path], moving: dict[str, Path]) -> tuple[Pair, ...]:
    return tuple(Pair(fixed[k], moving[k], k) for k in fixed if k in moving)


def _by_trimmed_stems(fixed: list[Path], moving: list[Path]) -> tuple[tuple[Pair, ...], str]:
    """Pairs by what differs between the stems of a folder, cut in the way that pairs most."""
    if len(fixed) == len(moving) == 1:
        return (Pair(fixed[0], moving[0], stem(fixed[0])),), "as the only image of either folder"
    best: tuple[Pair, ...] = ()
    how = ""
    for start, end, whole in ((0, 1, True), (1, 0, True), (1, 1, True), (1, 1, False)):
        cut_fixed, said_fixed = _trimmer(fixed, start, end, whole)
        cut_moving, said_moving = _trimmer(moving, start, end, whole)
        pairs = _matched(_by_key(fixed, cut_fixed), _by_key(moving, cut_moving))
        if len(pairs) > len(best):
            best, how = pairs, f"by file names without {said_fixed} (fixed) and {said_moving} (moving)"
    return best, how


def _trimmer(
    files: list[Path], start: int, end: int, whole: bool
) -> tuple[Callable[[Path], str | None], str]:
    """What cuts off the beginning and end that all stems share, and words for it.

    ``start`` and ``end`` (0 or 1) say where to cut; ``whole``: only at separators, so that ids stay whole.
    """
    stems = [stem(file) for file in files]
    head = _shared(stems) if start else ""
    head = head[: max(head.rfind(s) for s in _SEPARATORS) + 1] if whole else head
    tail = _shared([s[len(head) :][::-1] for s in stems])[::-1] if end else ""
    cuts = [tail.find(s) for s in _SEPARATORS if s in tail]
    tail = (tail[min(cuts) :] if cuts else "") if whole else tail
    said = " and ".join(repr(s) for s in (head, tail) if s) or "nothing"
    return lambda file: stem(file)[len(head) :].removesuffix(tail) or None, said


def _shared(words: list[str]) -> str:
    """The longest beginning that all words have."""
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*words, strict=False))
    return "".join(letters[0] for letters in same)


def _key_by(pattern: str) -> Callable[[Path], str | None]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(f"pattern: expected a regular expression, found {pattern!r}: {error}") from None
    if "id" not in compiled.groupindex and compiled.groups != 1:
        raise InputError(
            f"pattern: expected one group, or one called id as in '(?P<id>[0-9]+)', found {pattern!r} with "
            f"{compiled.groups}"
        )
    group = "id" if "id" in compiled.groupindex else 1

    def key(file: Path) -> str | None:
        match = compiled.search(file.name)
        return match[group] if match else None

    return key


def _table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header, and rows with their line numbers; cells without space around them, blank lines left out."""
    text = read_text(path, "a table of pairs")
    if not text.strip():
        raise InputError(f"{path}: expected a table with columns fixed and moving, found an empty file")
    best: list[str] = []
    for delimiter in ",;\t":
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        try:
            lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
        except csv.Error as error:
            raise InputError(f"{path}: expected a table, found in line {reader.line_num}: {error}") from None
        (_, header), *rows = [(number, row) for number, row in lines if any(row)] or [(1, [])]
        if {"fixed", "moving"} <= {name.lower() for name in header}:
            return header, [(number, _fitted(row, len(header))) for number, row in rows]
        best = max(best, header, key=len)
    raise InputError(f"{path}: expected columns fixed and moving, found {', '.join(best)[:200] or 'none'}")


def _fitted(row: list[str], count: int) -> list[str]:
    """A row without the empty cells that spreadsheets add beyond the last column."""
    return row if any(row[count:]) else row[:count]


def _check_names(path: Path, names: list[str]) -> None:
    for name in names:
        if "/" in name or "\\" in name or name in (".", ".."):
            raise InputError(f"{path}: expected names that can be file names, found {name!r}")
    twice = next((n for n, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise InputError(
            f"{path}: expected a name of its own for every pair, found {twice!r} more than once: "
            "add a column name"
        )
