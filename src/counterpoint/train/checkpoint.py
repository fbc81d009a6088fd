"""Checkpoints: all that a run needs to go on as if it had never stopped, in one safetensors file.

No random state is saved: randomness follows from (seed, purpose, step).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer

from counterpoint.core.errors import InputError, WorkError
from counterpoint.core.method import MethodConfig
from counterpoint.core.tensors import read_tensors, write_tensors
from counterpoint.train.config import TrainConfig

FILE = "checkpoint.safetensors"
FORMAT = "counterpoint-checkpoint-1"
FREE = (
    "train.save_every", "train.log_every", "train.device", "train.monitor", "train.processes", "train.chunk",
    "train.checkpoint", "train.channels_last", "train.shard",
)  # fmt: skip
"""Settings, or tables of them, that may change within a run, because its result does not depend on them."""


class Stateful(Protocol):
    """Something with plain state, e.g. the loss scale of half precision."""

    def state_dict(self) -> dict[str, Any]:
        """The state."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state."""
        ...


@dataclass(frozen=True, slots=True)
class State:
    """What a checkpoint holds; saving reads it, loading writes it."""

    method: nn.Module
    """Parameters and buffers."""
    optimizers: Mapping[str, Optimizer]
    """One a turn; their settings are not saved, they come from the run's."""
    scale: Stateful
    """The loss scale; without state unless in half precision."""


def save(path: Path, state: State, step: int, settings: Mapping[str, Any]) -> None:
    """Write a checkpoint after ``step`` updates, aside and renamed.

    Raises:
        WorkError: a weight is not finite, or the file cannot be written; the one before stays as it was.
    """
    for name, weight in state.method.named_parameters():
        if not weight.isfinite().all():
            raise WorkError(
                f"training failed at step {step}: {name} is no longer finite; the last checkpoint stays "
                "(a smaller learning rate, clipping or more precision may help)"
            )
    tensors: dict[str, Tensor] = {
        f"method/{name}": value for name, value in state.method.state_dict().items()
    }
    plain: dict[str, Any] = {}
    for turn, optimizer in state.optimizers.items():
        for index, values in optimizer.state_dict()["state"].items():
            for key, value in values.items():
                (tensors if isinstance(value, Tensor) else plain)[f"optim/{turn}/{index}/{key}"] = value
    header = {"step": step, "settings": settings, "plain": plain, "scale": state.scale.state_dict()}
    write_tensors(path, tensors, FORMAT, header)


def load(path: Path, state: State, settings: Mapping[str, Any]) -> int:
    """Put ``state`` where a checkpoint was written; returns the number of updates then done.

    Raises:
        InputError: the file is damaged or foreign, is of a run with other settings (they are named), or does
            not fit the method.
    """
    tensors, header = read_tensors(path, FORMAT)
    if missing := {"step", "settings", "plain", "scale"} - header.keys():
        raise InputError(f"{path}: expected a checkpoint, found one without {', '.join(sorted(missing))}")
    _check_header(path, header)
    require_same(path, header["settings"], settings)
    own = {
        name.removeprefix("method/"): value for name, value in tensors.items() if name.startswith("method/")
    }
    found: dict[str, dict[int, dict[str, Any]]] = {turn: defaultdict(dict) for turn in state.optimizers}
    try:
        for name, value in {**tensors, **header["plain"]}.items():
            if name.startswith("optim/"):
                _, turn, index, key = name.split("/")
                found[turn][int(index)][key] = value
        state.method.load_state_dict(own)
        for turn, optimizer in state.optimizers.items():
            _check_fits(found[turn], optimizer)
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": found[turn], "param_groups": groups})
        state.scale.load_state_dict(header["scale"])
    except (RuntimeError, LookupError, ValueError, TypeError, AttributeError) as error:
        reason = " ".join(line.strip() for line in str(error).splitlines()[:2])
        raise InputError(f"{path}: expected a checkpoint of this method, found another's: {reason}") from None
    return header["step"]


def _check_header(path: Path, header: Mapping[str, Any]) -> None:
    """Raise an ``InputError`` unless all entries are of their types."""
    kinds = {"settings": dict, "plain": dict, "scale": dict, "step": int}
    wrong = [key for key, kind in kinds.items() if type(header[key]) is not kind]
    if wrong or header["step"] < 0:
        raise InputError(f"{path}: expected a checkpoint, found a damaged one: {', '.join(wrong) or 'step'}")


def _check_fits(state: Mapping[int, Mapping[str, Any]], optimizer: Optimizer) -> None:
    """Raise ``ValueError`` where an optimizer would find out only at its next step."""
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    for index, values in state.items():
        if not 0 <= index < len(weights):
            raise ValueError(f"a state of weight {index} of {len(weights)}")
        for key, value in values.items():
            if isinstance(value, Tensor) and value.ndim and value.shape != weights[index].shape:
                raise ValueError(f"{key} {tuple(value.shape)} of a weight {tuple(weights[index].shape)}")


def require_same(path: Path, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Raise an ``InputError`` that names the settings in which two runs differ, but for those in ``FREE``.

    Names that one of them lacks, as an older version wrote it, count as their defaults.
    """
    free = tuple(f"{key}." for key in FREE)
    differing = _differing(_completed(theirs, ours), _completed(ours, ours))
    found = {k: pair for k, pair in differing.items() if not f"{k}.".startswith(free)}
    if found:
        named = ", ".join(f"{key} (there {a!r:.80}, now {b!r:.80})" for key, (a, b) in found.items())
        raise InputError(
            f"{path}: expected a run with the same settings, found others: {named}; "
            "choose another folder, or begin anew without resuming"
        )


def _completed(settings: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the defaults of names that they lack; which there are, ``ours`` of this version say."""
    whole = dict(settings)
    for key, kind in (("method", MethodConfig), ("train", TrainConfig)):
        if isinstance(whole.get(key), dict):
            with suppress(InputError):
                whole[key] = kind.from_dict(ours.get(key, {}), key).completed(whole[key])
    return whole


def _differing(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Dotted key → the two values; None where there is none."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in [*a, *(key for key in b if key not in a)]:
        left, right = a.get(key), b.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found |= _differing(left, right, f"{prefix}{key}.")
        elif left != right or (key in a) != (key in b):
            found[f"{prefix}{key}"] = (left, right)
    return found
