"""Tensors on disk: one safetensors file whose header says what it is. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
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
DIGEST = "digest"
"""Entry of the header, first in it: a checksum of all else, for safetensors has none. Older files lack it."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], format: str, header: Mapping[str, Any]) -> None:
    """Write tensors under their names and a header of plain data, aside and renamed.

    Raises:
        WorkError: the file cannot be written; what stood at ``path`` is as it was.
    """
    # A copy each, because safetensors refuses tensors that share memory (tied weights do).
    own = {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
    text = json.dumps({DIGEST: "", "format": format, **header})
    content = save(own, metadata={KEY: text.replace('""', f'"{_digest(own, text)}"', 1)})
    try:
        with aside(path) as temporary:
            temporary.write_bytes(content)  # not save_file: it makes files that only their owner may read
    except OSError as error:
        raise WorkError(f"{path}: the file could not be written: {error.strerror or error}") from None


def read_header(path: Path, format: str) -> dict[str, Any]:
    """The header of a file of this format; raises ``InputError`` if it is missing, damaged or foreign.

    Bits that flipped are found by ``read_tensors`` alone, which reads all.
    """
    return _read(path, format, tensors=False)[1]


def read_tensors(path: Path, format: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by name and the header; raises ``InputError`` if the file is missing, damaged or foreign.

    Damage down to a single bit is found where ``write_tensors`` left its checksum.
    """
    return _read(path, format, tensors=True)


def _read(path: Path, format: str, *, tensors: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
    found: dict[str, Tensor] = {}
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(KEY, "{}")
            header = parse_json(text)
            if tensors:
                found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- not a dict
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: expected a safetensors file, found a damaged one: {reason}") from None
    kind = header.get("format") if isinstance(header, dict) else None
    if kind != format:
        other = " ".join(str(kind or "that of another program").split())[:80]
        raise InputError(f"{path}: expected the format {format}, found {other}")
    digest = header.pop(DIGEST, None)
    if tensors and digest is not None and digest != _digest(found, text.replace(f'"{digest}"', '""', 1)):
        raise InputError(
            f"{path}: expected what was written, as its checksum has it, found it changed since, by a "
            "damaged disk or another program"
        )
    return found, header


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """Checksum of contiguous tensors on the CPU, their names, types and shapes, and of the header's text."""
    whole = hashlib.blake2b(text.encode(), digest_size=16)
    for name, tensor in sorted(tensors.items()):
        whole.update(json.dumps([name, str(tensor.dtype), tensor.shape]).encode())
        whole.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return whole.hexdigest()
