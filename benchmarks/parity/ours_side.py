"""Our own training: ``fit``, as a user calls it."""

from __future__ import annotations

import tempfile
import time
from typing import Any

from sides import Trained

from counterpoint.core.method import MethodConfig
from counterpoint.core.types import Batch, Viewer, Views
from counterpoint.data.arrays import Arrays
from counterpoint.train.config import TrainConfig
from counterpoint.train.loop import fit, fresh
from counterpoint.train.optim import OptimConfig


class Timed:
    """A viewer with a clock."""

    def __init__(self, views: Viewer) -> None:
        self.views, self.seconds = views, 0.0

    def __call__(self, batch: Batch, rng: Any) -> Views:
        start = time.process_time()
        made = self.views(batch, rng)
        self.seconds += time.process_time() - start
        return made


def untrained(config: MethodConfig, seed: int) -> Trained:
    """The network as it begins."""
    return Trained(fresh(config, seed).network("image"), 0.0, 0.0)


def train(method: str, config: MethodConfig, data: Arrays, budget: Any, seed: int) -> Trained:  # noqa: ARG001
    """Train with the loop of the package."""
    made = fresh(config, seed)
    made.views = timed = Timed(made.views)
    optim = OptimConfig(name="adam", lr=budget.lr, weight_decay=0.0, warmup=budget.warmup)
    settings = TrainConfig(
        epochs=budget.epochs,
        batch=budget.batch,
        clip=0.0,
        optim=optim,
        seed=seed,
        device="cpu",
        log_every=1000,
        save_every=10**6,
    )
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        fit(made, data, settings, folder, progress=False)
    return Trained(made.network("image"), timed.seconds, time.process_time() - start)
