"""Randomness as a function of (seed, purpose, step): no random state is ever saved."""

from __future__ import annotations

import hashlib
from operator import index

import torch


def fold(seed: int, *what: str | int) -> int:
    """A 63-bit seed that depends on ``seed`` and everything in ``what``, and on nothing else."""
    # index(): a numpy integer is the integer it stands for, and a float is an error
    parts = (index(seed), *(w if isinstance(w, str) else index(w) for w in what))
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(seed: int, *what: str | int) -> torch.Generator:
    """A CPU generator for one purpose, e.g. ``generator(seed, "views", step)``."""
    return torch.Generator().manual_seed(fold(seed, *what))


def seed_all(seed: int, *what: str | int) -> None:
    """Seed torch's global generators, for layers that draw from them (initialization, dropout)."""
    torch.manual_seed(fold(seed, *what))
