"""Tensors on disk: one safetensors file whose header says what it is. Nothing is ever unpickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor

from counterpoint.core.errors import InputError, WorkError
from counterpoint.core.files import aside
from counterpoint.core.untrusted import parse_json

KEY = "counterpoint"
"""The one entry of the metadata: several come in random order, and equal runs are to give equal files."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], format: str, header: Mapping[str, Any]) -> None:
    """Write tensors under their names and a header of plain data, aside and renamed.

    Raises:
        WorkError: the file cannot be written; what stood at ``path`` is as it was.
    """
    # A copy each, because safetensors refuses tensors that share memory (tied weights do).
    own = {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
    content = save(own, metadata={KEY: json.dumps({"format": format, **header})})
    try:
        with aside(path) as temporary:
            temporary.write_bytes(content)  # not save_file: it makes files that only their owner may read
    except OSError as error:
        raise WorkError(f"{path}: the file could not be written: {error.strerror or error}") from None


def read_header(path: Path, format: str) -> dict[str, Any]:
    """The header of a file of this format; raises ``InputError`` if it is missing, damaged or foreign."""
    return _read(path, format, tensors=False)[1]


def read_tensors(path: Path, format: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by name and the header; raises ``InputError`` if the file is missing, damaged or foreign."""
    return _read(path, format, tensors=True)


def _read(path: Path, format: str, *, tensors: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
    found: dict[str, Tensor] = {}
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = parse_json((file.metadata() or {}).get(KEY, "{}"))
            if tensors:
                found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- not a dict
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: expected a safetensors file, found a damaged one: {reason}") from None
    kind = header.get("format") if isinstance(header, dict) else None
    if kind != format:
        raise InputError(f"{path}: expected the format {format}, found {kind or 'that of another program'}")
    return found, header
