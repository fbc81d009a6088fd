"""Text, YAML and JSON that anybody may have written: bounded, and nothing in it is executed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError

from counterpoint.core.errors import InputError

MOST = 2**28
"""Bytes of text that are read at the most."""
MOST_YAML = 2**22
"""Characters of YAML; its reader takes a minute at the worst for so many."""

LONGEST_NUMBER = 1000
"""Digits of a whole number in YAML."""


def read_text(path: Path, what: str, errors: str = "strict") -> str:
    """A file of UTF-8 text, with or without a byte order mark.

    Args:
        path: The file.
        what: What messages call it, e.g. "a table".
        errors: What to do with bytes that are no UTF-8, as ``bytes.decode`` takes it.

    Raises:
        InputError: a file that cannot be read, is longer than ``MOST`` bytes, or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST + 1)
    except OSError as error:
        raise InputError(f"{path}: expected {what}, found: {error.strerror}") from None
    if len(content) > MOST:
        raise InputError(f"{path}: expected {what} of at most {MOST} bytes, found more")
    try:
        return content.decode("utf-8-sig", errors)
    except UnicodeDecodeError:
        raise InputError(f"{path}: expected {what} in UTF-8, found another encoding or no text") from None


def parse_yaml(text: str) -> Any:
    """What a text in YAML says: numbers, text, lists and tables; raises ``ValueError`` if it is none.

    Aliases are refused: a few lines of them can mean more values than any memory holds.
    """
    if len(text) > MOST_YAML:
        raise ValueError(f"more than {MOST_YAML} characters")
    try:
        return _Loader(text).get_single_data()
    except MemoryError:
        raise
    except RecursionError:
        raise ValueError("too many brackets in one another") from None
    except Exception as error:  # PyYAML meets a wrong value with whatever Python says of it
        raise ValueError(" ".join(str(error).split())[:160] or type(error).__name__) from None


def parse_json(text: str | bytes) -> Any:
    """What a text in JSON says; raises ``ValueError`` if it is none."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("too many brackets in one another") from None


class _Loader(yaml.SafeLoader):
    """The safe loader, which builds plain values alone, and knows even less."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise ComposerError(problem="found an alias, which is not read")
        return super().compose_node(parent, index)

    def compose_scalar_node(self, anchor: Any) -> Any:
        node = super().compose_scalar_node(anchor)
        if node.tag.endswith(":int") and len(node.value) > LONGEST_NUMBER:  # 1:00:00… takes quadratic time
            raise ComposerError(problem=f"found a number of {len(node.value)} digits")
        return node
