"""What one takes away from a run: encoders by role, as safetensors with their settings inside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import load_file, save_file

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.errors import InputError
from counterpoint.core.files import aside

FILE = "networks.safetensors"
FORMAT = "counterpoint-networks-1"


def save_networks(path: Path, networks: Mapping[str, Encoder], about: Mapping[str, Any] | None = None) -> None:
    """Write encoders and their settings to one safetensors file, aside and renamed.

    ``about`` is any plain data worth keeping beside them (method, pixel size, training figures).
    """
    tensors = {
        f"{role}/{name}": value.detach().cpu().contiguous()
        for role, network in networks.items()
        for name, value in network.state_dict().items()
    }
    settings = {role: network.config.to_dict() for role, network in networks.items()}
    header = {"format": FORMAT, "networks": json.dumps(settings), "about": json.dumps(dict(about or {}))}
    with aside(Path(path)) as temporary:
        save_file(tensors, temporary, metadata=header)


def load_networks(path: Path | str) -> dict[str, Encoder]:
    """Encoders by role, in evaluation mode, from a run folder or a ``.safetensors`` file.

    Raises:
        InputError: nothing there, a damaged file, or a file not written by ``save_networks``.
    """
    file = Path(path)
    file = file / FILE if file.is_dir() else file
    header = read_header(file)
    try:
        tensors = load_file(file)
        networks = {}
        for role, settings in json.loads(header["networks"]).items():
            network = EncoderConfig.from_dict(settings, f"{file}: {role}").build()
            own = {k.removeprefix(f"{role}/"): v for k, v in tensors.items() if k.startswith(f"{role}/")}
            network.load_state_dict(own)
            networks[role] = network.eval()
    except InputError:
        raise
    except (RuntimeError, ValueError, TypeError, AttributeError, safetensors.SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{file}: expected the networks of a counterpoint run, found: {reason}") from None
    return networks


def about(path: Path | str) -> dict[str, Any]:
    """The plain data that ``save_networks`` was given."""
    file = Path(path)
    return json.loads(read_header(file / FILE if file.is_dir() else file).get("about", "{}"))


def read_header(file: Path) -> dict[str, str]:
    """The metadata of a networks file; raises ``InputError`` if it is missing, damaged or foreign."""
    if not file.is_file():
        raise InputError(f"{file}: expected a trained model (a run folder with {FILE}), found nothing there")
    try:
        with safetensors.safe_open(file, framework="pt") as f:
            header = f.metadata() or {}
    except (safetensors.SafetensorError, OSError) as error:
        raise InputError(f"{file}: expected a safetensors file, found a damaged or foreign one: {error}") from None
    if header.get("format") != FORMAT:
        raise InputError(
            f"{file}: expected format {FORMAT}, found {header.get('format')!r}: not a counterpoint model"
        )
    return header
