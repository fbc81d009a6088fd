"""Files that are either whole or not there: written aside and renamed."""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from counterpoint.core.errors import InputError


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A path beside ``path``, of the same suffix, to write to; renamed onto ``path`` if the block ends well.

    Writers go by the suffix: of ".nii.gz" both parts are kept, and it is in lower case. If the block raises,
    the file aside is removed and ``path`` is as it was.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem[:40]}.{secrets.token_hex(4)}{_suffix(path)}")
    try:
        yield temporary
        with temporary.open("rb+") as f:
            os.fsync(f.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sweep(*paths: Path) -> None:
    """Remove what processes killed inside ``aside(path)`` left; only for who alone writes to these paths."""
    for path in paths:
        own = re.compile(re.escape(f".{path.stem[:40]}.") + r"[0-9a-f]{8}" + re.escape(_suffix(path)))
        for file in path.parent.glob(".*"):
            if own.fullmatch(file.name):
                file.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, aside and renamed; raises ``OSError`` if it cannot be written."""
    with aside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def output_folder(path: Path | str) -> Path:
    """``path`` as a folder one may write to, made if it is not there; an ``InputError`` if it cannot be."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):  # nameless where the system can: a kill leaves nothing
            pass
    except OSError as error:
        raise InputError(
            f"{path}: expected a folder that can be written to, found: {error.strerror}"
        ) from None
    return path


def _suffix(path: Path) -> str:
    return ("".join(path.suffixes[-2:]) if path.suffix.lower() == ".gz" else path.suffix).lower()
