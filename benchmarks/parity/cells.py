"""The cells: one answer of one library about one method, data set and seed, each in a file of its own.

A killed run goes on with what is missing; a cell that was asked for with other settings is missing too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterpoint.core.files import write_text


@dataclass(frozen=True)
class Key:
    """Which cell."""

    data: str
    library: str
    method: str
    seed: int


class Cells:
    """A folder of cells."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: Key) -> Path:
        return self.folder / key.data / key.library / f"{key.method}-{key.seed}.json"

    def read(self, key: Key, asked: str) -> dict[str, Any] | None:
        """What stands in a cell, None if it was not asked with these settings (``recipe.fingerprint``)."""
        try:
            found = json.loads(self.path(key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) and found.get("asked") == asked else None

    def write(self, key: Key, asked: str, answer: Mapping[str, Any]) -> None:
        """Written aside and renamed: what is there is whole."""
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({"asked": asked, **answer}) + "\n")

    def missing(self, keys: Iterable[tuple[Key, str]]) -> list[Key]:
        """Those not answered yet."""
        return [key for key, asked in keys if self.read(key, asked) is None]
