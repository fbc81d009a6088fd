"""Features of a data set in parts, for sets that outgrow memory and work that is stopped.

A part is of a fixed stretch of ids, has files of its own, and is computed by itself, in batches that begin
with it. So its bits do not depend on which process makes it, or on what stands there already. A file is
whole or not there, and what stands there needs not be computed again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import nn

from counterpoint.core.data import Data
from counterpoint.core.errors import InputError, WorkError
from counterpoint.core.files import aside, write_text
from counterpoint.core.networks import load_networks
from counterpoint.core.untrusted import parse_json, read_text
from counterpoint.data.split import Divisible
from counterpoint.tasks.features import Embedded, features, writer

FORMAT = "counterpoint-feature-parts-1"
ABOUT = "parts.json"
Kind = Literal["npy", "parquet"]
ARRAYS = ("id", "label", "z")
"""In the order in which they are written: where the last one stands, all do."""


class Source(Data, Divisible, Protocol):
    """Data of which stretches can be taken."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is computed and where it goes."""

    networks: Path
    """The file of the networks."""
    role: str
    tap: str = ""
    key: str = "image"
    batch: int = 256
    size: int = 16384
    """Samples of a part."""
    kind: Kind = "npy"
    device: str = "cpu"
    folder: Path


class Part:
    """One stretch of the data; sent to another process, it takes no more of them along."""

    def __init__(self, plan: Plan, data: Source, number: int, start: int = 0) -> None:
        """Stretch ``number`` of ``data``, whose first sample has the id ``start``."""
        self.plan, self.data, self.number, self.start = plan, data, number, start

    def __reduce__(self) -> tuple[Any, ...]:
        own = self._own()
        return _sent, (self.plan, own, self.number, self.plan.size * self.number)

    @property
    def file(self) -> Path:
        """The file that stands there once the part is done."""
        suffix = "parquet" if self.plan.kind == "parquet" else "z.npy"
        return self.plan.folder / f"part-{self.number:06d}.{suffix}"

    def _own(self) -> Source:
        first = self.plan.size * self.number - self.start
        if first == 0 and len(self.data) <= self.plan.size:
            return self.data
        return self.data.subset(torch.arange(first, min(first + self.plan.size, len(self.data))))


def planned(plan: Plan, data: Source, about: dict[str, Any]) -> tuple[list[Part], int]:
    """The parts that are still to be made, and how many there are in all; the folder must be there.

    Args:
        plan: What is asked for.
        data: All samples.
        about: Plain values that say what the data are.

    Raises:
        InputError: the folder holds parts of something else, or no pyarrow for Parquet.
    """
    writer(plan.folder / f"part.{'parquet' if plan.kind == 'parquet' else 'npz'}")  # complains early
    said = {
        "format": FORMAT, "networks": hashlib.blake2b(plan.networks.read_bytes(), digest_size=16).hexdigest(),
        "samples": len(data), "role": plan.role, "tap": plan.tap, "batch": plan.batch, "size": plan.size,
        "kind": plan.kind, **about,
    }  # fmt: skip
    path = plan.folder / ABOUT
    if path.is_file():
        there = _about(plan.folder)
        if differ := [key for key, value in said.items() if there.get(key) != value]:
            raise InputError(
                f"{path}: expected parts of the same features, found others in {', '.join(differ)}; "
                "choose another folder"
            )
    else:
        write_text(path, json.dumps(said, indent=1))
    tidied(plan.folder)
    parts = [Part(plan, data, number) for number in range(-(-len(data) // plan.size))]
    return [part for part in parts if not part.file.is_file()], len(parts)


def tidied(folder: Path) -> None:
    """Remove what processes that were killed left half written; only when no other one is at work there."""
    for left in folder.glob(".part-*"):
        left.unlink(missing_ok=True)


def make(part: Part) -> int:
    """Compute and write a part; returns how many samples it has.

    Raises:
        InputError: what ``features`` refuses.
        WorkError: features that are not finite, or files that cannot be written.
    """
    plan = part.plan
    found = features(_network(plan), part._own(), plan.batch, key=plan.key, tap=plan.tap)
    found = Embedded(found.z, found.id + plan.size * part.number, found.label)
    if plan.kind == "parquet":
        writer(part.file)(found)
        return len(found.z)
    try:
        for name in ARRAYS:
            if (array := getattr(found, name)) is not None:
                with aside(part.file.with_name(f"part-{part.number:06d}.{name}.npy")) as temporary:
                    np.save(temporary, array.numpy(), allow_pickle=False)
    except OSError as error:
        raise WorkError(f"{part.file}: the file could not be written: {error.strerror or error}") from None
    return len(found.z)


def read_parts(folder: Path | str) -> Iterator[Embedded]:
    """The parts in a folder, in the order of their ids; arrays stay in their files until they are used.

    Raises:
        InputError: no such folder, parts that are missing, damaged files, or no pyarrow for Parquet.
    """
    folder = Path(folder)
    about = _about(folder)
    for number in range(-(-about["samples"] // about["size"])):
        stem = folder / f"part-{number:06d}"
        try:
            yield _parquet(stem) if about["kind"] == "parquet" else _mapped(stem)
        except FileNotFoundError:
            raise InputError(f"{stem}: expected all parts, found none with this number") from None
        except (OSError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(f"{stem}: expected a part of features, found: {reason}") from None


def _mapped(stem: Path) -> Embedded:
    found = {}
    for name in ARRAYS:
        file = stem.with_name(f"{stem.name}.{name}.npy")
        if name != "label" or file.is_file():  # "c": written to in memory only, never in the file
            found[name] = torch.from_numpy(np.load(file, mmap_mode="c", allow_pickle=False))
    return Embedded(**found)


def _parquet(stem: Path) -> Embedded:
    try:
        import pyarrow.parquet  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(f"{stem}: Parquet expects pyarrow, found none; pip install pyarrow") from None
    table = pyarrow.parquet.read_table(stem.with_suffix(".parquet"))
    columns = {
        name: torch.from_numpy(table.column(name).to_numpy().copy())
        for name in ARRAYS[:2]
        if name in table.column_names
    }
    z = table.column("z").combine_chunks()
    flat = torch.from_numpy(z.flatten().to_numpy(zero_copy_only=False).copy())
    return Embedded(flat.reshape(len(table), -1), **columns)


def _about(folder: Path) -> dict[str, Any]:
    path = folder / ABOUT
    try:
        about = parse_json(read_text(path, "an account of parts"))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        about = None
    if (
        not isinstance(about, dict)
        or about.get("format") != FORMAT
        or not all(type(about.get(k)) is int and about[k] > 0 for k in ("samples", "size"))
    ):
        raise InputError(f"{path}: expected an account of parts in the format {FORMAT}, found something else")
    return about


def _sent(plan: Plan, data: Source, number: int, start: int) -> Part:
    return Part(plan, data, number, start)


def _network(plan: Plan) -> nn.Module:
    return _loaded(plan.networks.absolute(), plan.networks.stat().st_mtime_ns, plan.role, plan.device)


@lru_cache(maxsize=1)
def _loaded(file: Path, _written: int, role: str, device: str) -> nn.Module:
    """Read once in a process, which makes many parts."""
    return load_networks(file)[role].to(device)
