"""What one takes away from a run: encoders by role, as safetensors with their settings inside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.errors import InputError
from counterpoint.core.tensors import read_header, read_tensors, write_tensors

FILE = "networks.safetensors"
FORMAT = "counterpoint-networks-1"


def save_networks(
    path: Path, networks: Mapping[str, Encoder], about: Mapping[str, Any] | None = None
) -> None:
    """Write encoders and their settings to one safetensors file, aside and renamed.

    ``about`` is any plain data worth keeping beside them (method, pixel size, training figures).

    Raises:
        WorkError: the file cannot be written.
    """
    tensors = {
        f"{role}/{name}": value
        for role, network in networks.items()
        for name, value in network.state_dict().items()
    }
    settings = {role: network.config.to_dict() for role, network in networks.items()}
    write_tensors(Path(path), tensors, FORMAT, {"networks": settings, "about": dict(about or {})})


def load_networks(path: Path | str) -> dict[str, Encoder]:
    """Encoders by role, in evaluation mode, from a run folder or a ``.safetensors`` file.

    Raises:
        InputError: nothing there, a damaged file, or a file not written by ``save_networks``.
    """
    file = _file(path)
    tensors, header = read_tensors(file, FORMAT)
    try:
        networks = {}
        for role, settings in header["networks"].items():
            # Never saved so: the weights stand in the file.
            if isinstance(settings, dict) and settings.get("pretrained"):
                raise InputError(f"{file}: {role}: expected settings that download nothing, found pretrained")
            with torch.random.fork_rng(devices=[]):  # reading a file must not move the caller's generator
                network = EncoderConfig.from_dict(settings, f"{file}: {role}").build()
            parts = ((*name.rpartition("/"), value) for name, value in tensors.items())
            network.load_state_dict({name: value for owner, _, name, value in parts if owner == role})
            networks[role] = network.eval()
    except InputError:
        raise
    except (RuntimeError, ValueError, TypeError, AttributeError, LookupError) as error:
        reason = " ".join(line.strip() for line in str(error).splitlines()[:2])
        raise InputError(f"{file}: expected the networks of a counterpoint run, found: {reason}") from None
    return networks


def about(path: Path | str) -> dict[str, Any]:
    """The plain data that ``save_networks`` was given; raises ``InputError`` as ``load_networks`` does."""
    return read_header(_file(path), FORMAT).get("about", {})


def _file(path: Path | str) -> Path:
    file = Path(path)
    file = file / FILE if file.is_dir() else file
    if not file.is_file():
        raise InputError(f"{file}: expected a trained model (a run folder with {FILE}), found nothing there")
    return file
