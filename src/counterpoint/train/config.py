"""The settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from counterpoint.core.config import Config
from counterpoint.core.errors import InputError
from counterpoint.train.monitor import MonitorConfig
from counterpoint.train.optim import OptimConfig


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Config):
    """How long and how a method is trained."""

    steps: int = 0
    """How many updates in all; 0 to count in epochs."""
    epochs: int = 100
    """How many times through the data; without meaning if steps are given."""
    batch: int = 16
    """Samples a batch; a contrastive loss compares within it."""
    accumulate: int = 1
    """Batches an update; their gradients are averaged, so each batch still compares only within itself."""
    chunk: int = 0
    """Rows that a network encodes at a time, 0 for all of a batch. Activations are then kept for so many rows
    alone and computed again for the gradient, while the loss still compares the whole batch."""
    checkpoint: bool = False
    """Compute the activations within each block of a network again for the gradient, to save memory."""
    clip: float = 1.0
    """Largest 2-norm of a gradient, larger ones are scaled down to it; 0 for no limit."""
    clip_each: Literal["turn", "role"] = "turn"
    """Whose gradient the limit holds for: all weights of a turn together, or each role's network alone."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Number format of the arithmetic; 16-mixed needs a CUDA device."""
    channels_last: bool = False
    """Keep the weights and maps of convolutions with the channels of a pixel side by side: faster for most
    such networks, on processors as on CUDA, and the same up to rounding."""
    seed: int = 0
    """What all randomness of the run follows from."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """The optimizer and its learning rate."""
    save_every: int = 500
    """Updates between checkpoints; one more is written at the end."""
    log_every: int = 1
    """Updates between lines of the log; the last update always has one."""
    monitor: MonitorConfig = field(default_factory=MonitorConfig)
    """What is asked of the features while training goes on; the weights do not depend on it."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes a CUDA device if there is one."""
    processes: int = 1
    """Processes of this machine that share the work, on CUDA each with a device of its own; the result does
    not depend on how many there are."""

    shard: bool = False
    """Let each process keep the optimizer's state of its share of the weights alone; for large networks. The
    result does not depend on it."""

    def __post_init__(self) -> None:
        for name in ("batch", "accumulate", "save_every", "log_every", "processes"):
            if getattr(self, name) < 1:
                raise InputError(f"train.{name}: expected at least 1, found {getattr(self, name)}")
        for name in ("steps", "epochs", "clip", "chunk"):
            if not getattr(self, name) >= 0:
                raise InputError(f"train.{name}: expected no negative number, found {getattr(self, name)}")
        if self.optim.sam and self.precision == "16-mixed":
            raise InputError("train.optim.sam: expected another precision than 16-mixed, such as bf16-mixed")
        if not self.steps and not self.epochs:
            raise InputError("train.epochs: expected at least 1 epoch or 1 step, found 0 of both")
