"""A room of toy methods and claims, found as if they were the library's own."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import counterpoint.claims
import counterpoint.methods

METHOD = '''
"""Toy {name}: an idea in a line.

Somebody. A title. ICML 2020. arXiv:2001.00001.

And more.
"""
from counterpoint.pairs.ids import same_sample


class Toy:
    class Config:
        pass
'''
CLAIM = '''
"""Claim of {name}."""
from counterpoint.core.claim import Claim, Expect, Paper
from counterpoint.methods.toy.{name} import same_sample


def arms(seed):
    {body}


CLAIM = Claim(
    paper=Paper(authors="Somebody", title="A title", venue="ICML", year=2020, where="Table 1"),
    says="One is better.",
    arms=arms,
    expect=(Expect(arm="one", than="other", metric="accuracy", margin={margin}),),
    seeds=4,
    differs="Nothing is learned.",
)
'''


class Toys:
    """Writes toy methods and claims into ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def method(self, name: str) -> Path:
        return self._write("methods", name, METHOD.format(name=name))

    def claim(self, name: str, body: str, margin: float = 0.1) -> Path:
        self.method(name)
        return self._write("claims", name, CLAIM.format(name=name, body=body, margin=margin))

    def _write(self, room: str, name: str, text: str) -> Path:
        file = self.folder / room / "toy" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text).lstrip())
        return file


@pytest.fixture
def toys(tmp_path: Path) -> Iterator[Toys]:
    rooms = (counterpoint.methods, counterpoint.claims)
    for room in rooms:
        room.__path__.append(str(tmp_path / "rooms" / room.__name__.rpartition(".")[2]))
    yield Toys(tmp_path / "rooms")
    for room in rooms:
        room.__path__.pop()
    for name in [
        n for n in sys.modules if n.startswith(("counterpoint.methods.toy", "counterpoint.claims.toy"))
    ]:
        del sys.modules[name]


GOOD = 'return {"one": {"accuracy": 0.9 + seed / 100}, "other": {"accuracy": 0.5}}'


@pytest.fixture
def good() -> str:
    """The body of arms of which one is better by 0.4 and more."""
    return GOOD
