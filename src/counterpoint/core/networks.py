"""What one takes away from a run: encoders by role, as safetensors with their settings inside."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

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
            config = EncoderConfig.from_dict(settings, f"{file}: {role}")
            # Reading a file must not move the caller's generator, nor make more than the file can fill.
            with torch.random.fork_rng(devices=[]), _at_most(tensors.values()) as full:
                with suppress(Exception), torch.device("meta"):  # without memory, where a network can be so
                    config.build()
                if full:
                    raise full[0]
            with torch.random.fork_rng(devices=[]), _at_most(tensors.values()):
                network = config.build()
            parts = ((*name.rpartition("/"), value) for name, value in tensors.items())
            own = {name: value for owner, _, name, value in parts if owner == role}
            for name, value in network.state_dict().items():
                if name in own and own[name].is_floating_point() != value.is_floating_point():
                    raise ValueError(f"{name} of type {own[name].dtype} where {value.dtype} is expected")
            network.load_state_dict(own)
            networks[role] = network.eval()
    except InputError:
        raise
    except (RuntimeError, ValueError, TypeError, AttributeError, ArithmeticError, LookupError) as error:
        reason = " ".join(line.strip() for line in str(error).splitlines()[:2])
        raise InputError(f"{file}: expected the networks of a counterpoint run, found: {reason}") from None
    return networks


def about(path: Path | str) -> dict[str, Any]:
    """The plain data that ``save_networks`` was given; raises ``InputError`` as ``load_networks`` does."""
    return read_header(_file(path), FORMAT).get("about", {})


@contextmanager
def _at_most(tensors: Iterable[Tensor]) -> Iterator[list[ValueError]]:
    """Raise ``ValueError`` as soon as modules take on more or larger weights than these can fill.

    Settings are a few bytes, and could ask for a network that no machine holds. What was raised is yielded.
    """
    sizes = [t.numel() for t in tensors]
    raised: list[ValueError] = []
    here, room = threading.get_ident(), [2 * len(sizes) + 100, 2 * sum(sizes) + 2**20]

    def count(_module: nn.Module, _name: str, tensor: Tensor | None) -> None:
        if threading.get_ident() == here and tensor is not None:
            room[:] = room[0] - 1, room[1] - tensor.numel()
            if min(room) < 0:
                raised.append(
                    ValueError(f"settings of a network larger than the {sum(sizes)} weights in the file")
                )
                raise raised[-1]

    hooks = (
        register_module_parameter_registration_hook(count),
        register_module_buffer_registration_hook(count),
    )
    try:
        yield raised
    finally:
        for hook in hooks:
            hook.remove()


def _file(path: Path | str) -> Path:
    file = Path(path)
    file = file / FILE if file.is_dir() else file
    if not file.is_file():
        raise InputError(f"{file}: expected a trained model (a run folder with {FILE}), found nothing there")
    return file
