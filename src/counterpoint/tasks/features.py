"""Features of a data set by a frozen network: computed once, streamed, kept, handed on."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from counterpoint.core.data import Data
from counterpoint.core.encoder import evaluation, tapped
from counterpoint.core.errors import InputError, WorkError
from counterpoint.core.files import aside, output_folder
from counterpoint.core.task import Networks, TaskConfig
from counterpoint.core.tensors import read_tensors, write_tensors

FORMAT = "counterpoint-features-1"


@dataclass(frozen=True, slots=True)
class Embedded:
    """A data set as a network sees it, in the order of the data."""

    z: Tensor
    """(N, D) float32, on the CPU."""
    id: Tensor
    """(N,) int64: which sample each row is."""
    label: Tensor | None = None
    """(N,) int64 classes, if the data have them."""


def features(
    network: nn.Module,
    data: Data,
    batch: int = 256,
    *,
    key: str = "image",
    tap: str = "",
    cache: Path | None = None,
) -> Embedded:
    """One pass of all samples through a network in evaluation mode, on the network's device.

    Args:
        network: Returns (B, D), or maps (B, D, H, W), which are averaged over all positions.
        data: Its ``parts`` are read once, and once more if there is a cache.
        batch: Samples at a time; a batch is dropped before the next one is read.
        key: The entry of a batch that the network takes.
        tap: The layer to read; empty for what the network returns.
        cache: Folder of features computed before, found by the content of weights, code and data; any number
            of processes may use it at once. Not kept by default.

    Raises:
        InputError: data without ``key`` or samples, images with other channels than the network takes, an
            unknown layer, a layer whose output is neither of the two shapes.
        WorkError: features that are not finite.
    """
    if key not in data.provides:
        raise InputError(
            f"data: expected batches with {key}, found {', '.join(sorted(data.provides)) or 'none'}"
        )
    if cache is None:
        return _computed(network, data, batch, key, tap)
    file = output_folder(cache) / f"{_content(network, data, batch, key, tap)}.safetensors"
    try:
        return (
            Embedded(**read_tensors(file, FORMAT)[0])
            if file.is_file()
            else _kept(file, network, data, batch, key, tap)
        )
    except InputError:  # damaged: made anew
        return _kept(file, network, data, batch, key, tap)


def frozen(network: Networks, train: Data, test: Data, config: TaskConfig) -> tuple[Embedded, Embedded]:
    """Features of two data sets as a task's settings ask for them."""
    of = network(config.role)
    one, other = (features(of, data, config.batch, key=config.role, tap=config.tap) for data in (train, test))
    return one, other


def coded(train: Embedded, test: Embedded) -> tuple[Tensor, Tensor, int]:
    """Labels as 0 … K − 1 in the order of the classes of ``train``: (N,), (M,) int64 and K.

    Classes that only ``test`` has become −1, which no prediction equals.

    Raises:
        InputError: no labels, or fewer than two classes to tell apart.
    """
    if train.label is None or test.label is None:
        raise InputError(
            f"data: expected labels, found none in the {'training' if train.label is None else 'test'} data"
        )
    classes, code = train.label.unique(return_inverse=True)
    if len(classes) < 2:
        raise InputError(f"data: expected labels of at least two classes, found only {classes.tolist()}")
    place = torch.searchsorted(classes, test.label).clamp(max=len(classes) - 1)
    return code, torch.where(classes[place] == test.label, place, -1), len(classes)


def standardized(train: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """All (N, D) by the mean and deviation of ``train`` alone, float64; constant columns become 0."""
    rows = train.double()
    mean, std = rows.mean(0), rows.std(0, correction=0)
    # Rounding leaves constant columns a spread of their own, which must not be blown up to 1.
    dead = std <= 1e-6 * (mean.abs() + std.max())
    scale = torch.where(dead, 0.0, 1 / torch.where(dead, 1.0, std))
    return tuple((x.double() - mean) * scale for x in (train, *others))


def writer(path: Path | str) -> Callable[[Embedded], None]:
    """What writes features to a ``.npz`` (arrays z, id, label) or ``.parquet`` file (columns z, id, label).

    Asked before the features are computed, so that a wrong name costs no work.

    Raises:
        InputError: another suffix, a folder that is not there, or no pyarrow for Parquet.
    """
    path = Path(path)
    write = {".npz": _npz, ".parquet": _parquet}.get(path.suffix.lower())
    if write is None:
        raise InputError(
            f"{path}: expected a name that ends in .npz or .parquet, found {path.suffix or 'none'!r}"
        )
    if write is _parquet and find_spec("pyarrow") is None:
        raise InputError(f"{path}: Parquet expects pyarrow, found none; pip install pyarrow, or write .npz")
    if not path.parent.is_dir():
        raise InputError(f"{path}: expected a folder that is there, found none")
    return lambda embedded: write(path, embedded)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every module is in the mode it was in."""
    with evaluation(network), torch.no_grad():
        yield


def device(network: nn.Module) -> torch.device:
    """Where the network's weights are."""
    first = next(iter(network.parameters()), next(iter(network.buffers()), None))
    return torch.device("cpu") if first is None else first.device


def pooled(out: Any, what: str = "network") -> Tensor:
    """(B, D) of (B, D) or (B, D, H, W); raises ``InputError`` for anything else."""
    if isinstance(out, Tensor) and out.ndim == 4:
        return out.mean((2, 3))
    if isinstance(out, Tensor) and out.ndim == 2:
        return out
    found = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
    raise InputError(f"{what}: expected features (B, D) or maps (B, D, H, W), found {found}")


def _computed(network: nn.Module, data: Data, batch: int, key: str, tap: str) -> Embedded:
    where = device(network)
    z: Tensor | None = None
    rest: dict[str, list[Tensor]] = {"id": [], "label": []}
    done = 0
    with evaluating(network), tapped(network, [tap]) if tap else nullcontext({}) as seen:
        for part in data.parts(batch):
            _fits(network, part[key], key)
            out = network(part[key].to(where))
            rows = pooled(seen[tap] if tap else out, tap or "network").float().cpu()
            if z is None:  # in one piece: a list of parts would need twice the memory in the end
                z = torch.empty(len(data), rows.shape[1])
            z[done : done + len(rows)] = rows
            done += len(rows)
            for name, values in rest.items():
                if name in part:
                    values.append(part[name])
    if z is None or not done:
        raise InputError("data: expected at least one sample, found none")
    z = z[:done]
    if not z.isfinite().all():
        raise WorkError("features: the network gave numbers that are not finite")
    return Embedded(z, torch.cat(rest["id"]), torch.cat(rest["label"]) if rest["label"] else None)


def _fits(network: nn.Module, x: Tensor, key: str) -> None:
    expected = getattr(getattr(network, "config", None), "channels", None)
    if expected is not None and x.ndim == 4 and x.shape[1] != expected:
        raise InputError(
            f"data: expected {key} with {expected} channels as the network takes, found {x.shape[1]}"
        )


def _kept(file: Path, network: nn.Module, data: Data, batch: int, key: str, tap: str) -> Embedded:
    embedded = _computed(network, data, batch, key, tap)
    write_tensors(file, _present(embedded), FORMAT, {})
    return embedded


def _content(network: nn.Module, data: Data, batch: int, key: str, tap: str) -> str:
    """A name that depends on all that the features follow from."""
    digest = hashlib.blake2b(digest_size=20)
    settings = getattr(getattr(network, "config", None), "to_dict", dict)()
    digest.update(repr((FORMAT, torch.__version__, type(network).__qualname__, settings, key, tap)).encode())
    if code := getattr(sys.modules[type(network).__module__], "__file__", None):
        digest.update(Path(code).read_bytes())
    for name, tensor in network.state_dict().items():
        _feed(digest, name, tensor)
    for part in data.parts(batch):
        for name in (key, "id", "label"):
            if name in part:
                _feed(digest, name, part[name])
    return digest.hexdigest()


def _feed(digest: Any, name: str, tensor: Tensor) -> None:
    digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
    digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())


def _present(embedded: Embedded) -> dict[str, Tensor]:
    present = {"z": embedded.z, "id": embedded.id}
    return present if embedded.label is None else present | {"label": embedded.label}


def _npz(path: Path, embedded: Embedded) -> None:
    with _written(path) as temporary:
        arrays = {name: value.numpy() for name, value in _present(embedded).items()}
        np.savez(temporary, allow_pickle=False, **arrays)


def _parquet(path: Path, embedded: Embedded) -> None:
    import pyarrow  # pyright: ignore[reportMissingImports]
    import pyarrow.parquet  # pyright: ignore[reportMissingImports]

    arrays = {name: pyarrow.array(value.numpy()) for name, value in _present(embedded).items() if name != "z"}
    flat = pyarrow.array(embedded.z.numpy().reshape(-1))
    arrays["z"] = pyarrow.FixedSizeListArray.from_arrays(flat, embedded.z.shape[1])
    with _written(path) as temporary:
        pyarrow.parquet.write_table(pyarrow.table(arrays), temporary)


@contextmanager
def _written(path: Path) -> Iterator[Path]:
    try:
        with aside(path) as temporary:
            yield temporary
    except OSError as error:
        raise WorkError(f"{path}: the file could not be written: {error.strerror or error}") from None
