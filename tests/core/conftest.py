"""A room for the core's tests: parts found beside the library's own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import counterpoint.encoders

TINY = '''
"""A tiny encoder."""
from __future__ import annotations
from dataclasses import dataclass
from typing import Literal
from torch import nn
from counterpoint.core.encoder import Encoder, EncoderConfig

class Tiny(Encoder):
    """Two layers, one of them shared."""
    @dataclass(frozen=True, kw_only=True)
    class Config(EncoderConfig):
        """Settings."""
        width: int = 3
        """Channels."""
        scale: float = 1.0
        """A number."""
        mode: Literal["a", "b"] = "a"
        """A choice."""
        inner: EncoderConfig | None = None
        """Another."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.first = nn.Conv2d(1, config.width, 1)
        self.norm = nn.BatchNorm2d(config.width)
        self.last = nn.Conv2d(config.width, 2, 1, bias=False)
        self.tied = self.last
        self.out_dim, self.taps = 2, {"first": config.width, "last": 2}

    def forward(self, x):
        return self.last(self.norm(self.first(x)))
'''


@pytest.fixture
def tiny(tmp_path_factory) -> Iterator[type]:
    """An encoder ``tiny``, in a file of a sub-folder of its room."""
    folder: Path = tmp_path_factory.mktemp("room")
    (folder / "tiny.py").write_text(TINY)
    (folder / "_hidden.py").write_text("raise AssertionError('a private file is nobody's kind')")
    kind = "class Broken:\n    class Config: ...\n"
    (folder / "broken.py").write_text(kind + "raise AssertionError('not imported until asked for')")
    (folder / "bare.py").write_text(
        "from counterpoint.core.encoder import Encoder\nclass Bare(Encoder): ...\n"
    )
    (folder / "empty.py").write_text("")
    counterpoint.encoders.__path__.append(str(folder))
    from counterpoint.encoders.tiny import Tiny  # pyright: ignore[reportMissingImports]

    yield Tiny
    counterpoint.encoders.__path__.remove(str(folder))
    for name in ("tiny", "bare"):
        sys.modules.pop(f"counterpoint.encoders.{name}", None)
        vars(counterpoint.encoders).pop(name, None)
