"""A short training on any data, for claims that digits alone cannot decide."""

from __future__ import annotations

import tempfile
from typing import Any

from counterpoint.core.data import Data
from counterpoint.core.method import Method, MethodConfig
from counterpoint.train.config import TrainConfig
from counterpoint.train.loop import fit, fresh
from counterpoint.train.optim import OptimConfig
from counterpoint.train.record import read_log


def trained(
    config: MethodConfig, seed: int, data: Data, *, steps: int, batch: int = 64, lr: float = 2e-3
) -> tuple[Method, list[dict[str, Any]]]:
    """A method after ``steps`` updates with Adam, and what its log says of each; 0 leaves it untrained."""
    method = fresh(config, seed)
    if not steps:
        return method, []
    optim = OptimConfig(name="adam", lr=lr, weight_decay=0.0, warmup=0.1)
    settings = TrainConfig(steps=steps, batch=batch, seed=seed, log_every=1, device="cpu", optim=optim)
    with tempfile.TemporaryDirectory() as folder:
        fit(method, data, settings, folder, progress=False)
        return method, read_log(folder)
