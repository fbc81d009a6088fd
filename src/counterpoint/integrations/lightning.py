"""A LightningModule of any method, for people with a Trainer of their own.

It makes the very updates of ``train.loop``: same views, same order, same rates, memories written after each.
The Trainer says how long training takes, where and in which precision, what is kept of the log and when a
checkpoint is written; of ``TrainConfig``, ``batch``, ``accumulate``, ``clip``, ``clip_each``, ``seed`` and
``optim`` are read.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.optim import Optimizer

from counterpoint.core.data import Data
from counterpoint.core.errors import InputError
from counterpoint.core.method import Method
from counterpoint.core.networks import save_networks
from counterpoint.core.rng import generator, seed_all
from counterpoint.core.types import Batch, Progress
from counterpoint.train.config import TrainConfig
from counterpoint.train.loop import embed_all, encoders, length
from counterpoint.train.step import Update

PACKAGES = ("lightning.pytorch", "pytorch_lightning")
"""Where a LightningModule is found; those of one are foreign to the Trainer of the other."""


def lightning_module(
    method: Method, config: TrainConfig, data: Data | None = None, *, base: type | None = None
) -> Any:
    """A module for ``Trainer.fit``; it trains ``method`` in place.

    Args:
        method: Built with ``train.loop.fresh``, for the weights that ``fit`` would begin with.
        config: Which of it is read is said above.
        data: Where the batches come from, unless the Trainer is given loaders of its own; those must yield
            what the method needs, as batches of "id" and named tensors.
        base: The ``LightningModule`` to inherit from; by default that of the package which the program has
            imported, ``lightning.pytorch`` or ``pytorch_lightning``.

    Raises:
        InputError: neither package is installed, or the data do not fit the method.
    """
    return type("Learning", (_Learning, base or _base()), {})(method, config, data)


class _Learning:
    """What a module does, whichever package its other half comes from."""

    if TYPE_CHECKING:  # of the other half
        trainer: Any
        current_epoch: int
        device: torch.device
        log_dict: Any
        manual_backward: Any
        optimizers: Any

    def __init__(self, method: Method, config: TrainConfig, data: Data | None) -> None:
        super().__init__()
        self.method, self.config, self.data = method, config, data
        self.automatic_optimization = False  # a method may have several players, and memories to write
        if data is not None:
            length(method, data, config)  # raises if they do not fit

    def train_dataloader(self) -> Any:
        """Batches of ``data``, in the order in which ``train.loop`` takes them."""
        if self.data is None:
            raise InputError("data: expected data, or loaders given to the Trainer, found neither")
        return _Epochs(self)

    def configure_optimizers(self) -> list[Optimizer]:
        """One for each player of the method."""
        self._update = Update(cast(Any, _Through(self)), self.method, self.config)
        return list(self._update.optimizers.values())

    def on_fit_start(self) -> None:
        """Refuse what would give other results than it seems to."""
        if self.trainer.world_size != 1:
            found = self.trainer.world_size
            raise InputError(f"Trainer: expected one process, whose batches are whole, found {found}")
        if self.trainer.precision == "16-mixed":
            raise InputError("Trainer: expected precision 32-true or bf16-mixed, found 16-mixed")

    def on_train_epoch_start(self) -> None:
        """Give the method its moment before an epoch."""
        at = self._at()
        seed_all(self.config.seed, "epoch", at.epoch)
        self.method.train()
        self.method.before_epoch(at, partial(self._embed_all, at.epoch))

    def training_step(self, batch: Batch | Sequence[Batch], batch_idx: int) -> None:  # noqa: ARG002
        """One update, and its line of the log."""
        batches = [batch] if isinstance(batch, Mapping) else batch
        # The loop knows where to autocast; the Trainer does it everywhere.
        with torch.autocast(self.device.type, enabled=False):
            line = self._update(batches, self._at())
        own = {key: value for key, value in line.items() if key not in ("step", "epoch")}
        self.log_dict(_flat(own), batch_size=sum(len(part["id"]) for part in batches))

    def save_networks(self, path: Path | str) -> None:
        """Write the networks to a ``.safetensors`` file, which all commands take for a model.

        Raises:
            WorkError: the file cannot be written.
        """
        about = {"method": self.method.config.to_dict(), "train": self.config.to_dict()}
        save_networks(Path(path), encoders(self.method), about)

    def _at(self) -> Progress:
        """Where training stands; the Trainer counts the steps of all players."""
        players, per_epoch = len(self.method.turns), self.trainer.num_training_batches
        bounds = []
        if self.trainer.max_steps != -1:
            bounds.append(self.trainer.max_steps // players)
        if self.trainer.max_epochs not in (None, -1):
            bounds.append(self.trainer.max_epochs * per_epoch)
        steps = min(bounds, default=math.inf)
        if steps == math.inf:
            raise InputError("Trainer: expected an end (max_epochs, or max_steps), found none")
        epochs = max(1, math.ceil(steps / per_epoch))
        return Progress(self.trainer.global_step // players, int(steps), self.current_epoch, epochs)

    def _embed_all(self, epoch: int, role: str) -> torch.Tensor:
        if self.data is None:
            raise InputError("data: expected data, of which this method needs all features, found none")
        return embed_all(self._update, self.data, epoch, role)


class _Epochs:
    """Of each epoch the updates, which are lists of batches."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def __len__(self) -> int:
        return length(self.module.method, self.module.data, self.module.config)[0]

    def __iter__(self) -> Iterator[list[Batch]]:
        config: TrainConfig = self.module.config
        rng = generator(config.seed, "order", self.module.current_epoch)
        batches = self.module.data.epoch(config.batch, rng)
        while group := list(islice(batches, config.accumulate)):
            yield group


class _Through:
    """What ``Update`` asks of a Fabric, answered by the Trainer."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.strategy = self.precision = self
        self.backward = module.manual_backward

    def to_device(self, batch: Batch) -> Batch:
        """On the module's device; there already, if the Trainer brought it."""
        return self.module.transfer_batch_to_device(batch, self.module.device, 0)

    def autocast(self) -> AbstractContextManager[None]:
        """In the Trainer's precision."""
        return self.module.trainer.precision_plugin.forward_context()

    def unscale_gradients(self, optimizer: Optimizer) -> None:
        """Nothing is scaled."""

    def optimizer_step(self, optimizer: Optimizer) -> None:
        """A step that the Trainer counts."""
        wrapped = self.module.optimizers()
        each = wrapped if isinstance(wrapped, list) else [wrapped]
        next(one for one in each if one.optimizer is optimizer).step()


def _base() -> type:
    imported = [name for name in PACKAGES if name in sys.modules]
    for name in (*imported, *PACKAGES):
        try:
            return importlib.import_module(name).LightningModule
        except ImportError:
            continue
    raise InputError('Lightning: expected it installed, found none; pip install "counterpoint[lightning]"')


def _flat(line: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Nested numbers under names such as "terms/nt_xent"; None, which is no number, is left out."""
    flat: dict[str, float] = {}
    for key, value in line.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}/")
        elif value is not None:
            flat[prefix + key] = float(value)
    return flat
