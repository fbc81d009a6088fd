"""Where the time of a training goes: a clock that the loop and its updates tell what they do now.

It stands beside the run and is no part of it: what is computed, and in which order, does not depend on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from counterpoint.core.types import Batch

FORMAT = "counterpoint-profile-1"
HINTS: Mapping[str, str] = {
    "reading": "images stored at the size they are used at (.npz, small files, archives on a local disk) "
    "are read faster than ones that --side makes smaller each time",
    "views": "fewer or smaller crops without blur (--method.views) take less, and a CUDA device makes them "
    "itself",
    "forward": "a smaller network or smaller images take less, so does --train.precision bf16-mixed where "
    "the hardware has it; --train.processes shares the work",
    "backward": "a smaller network or smaller images take less, so does --train.precision bf16-mixed where "
    "the hardware has it; --train.chunk and --train.checkpoint pay for memory with time, here",
    "optimizer": "fewer and larger updates (--train.batch, --train.accumulate) or smaller heads take less",
    "monitor": "--train.monitor.every with a larger number looks less often, with 0 never",
    "writing": "--train.save_every and --train.log_every with larger numbers write less often",
    "other": "it is the method's own work between updates (memories, a pass over the data before an epoch)",
}
"""Stage → what may be done about it. "reading" is the wait for decoded batches, "views" their way to the
device and the augmentation; a backward pass ends with the sums over processes."""


class Stages:
    """A clock that divides the time of a training among the stages of ``HINTS``.

    The first update of a call loads libraries and fills caches; it is kept apart and not divided.
    """

    def __init__(self, on: bool = True) -> None:
        """A clock that runs, or one that costs a call and nothing else."""
        self.on = on
        self.updates = self.samples = 0
        """Updates counted, and the samples of their batches."""
        self.first: float | None = None
        """Seconds of the first update, which is not among them; None before its end."""
        self.seconds: dict[str, float] = {}
        """Stage → seconds."""
        self._stage, self._since = "", 0.0

    def __call__(self, stage: str) -> None:
        """The time from now on belongs to ``stage``; on CUDA, what was begun before is waited for."""
        if not self.on:
            return
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        now = time.perf_counter()
        if self._stage:
            self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = stage, now

    def updated(self, batches: Sequence[Batch]) -> None:
        """An update of these batches is over, with all that belongs to it."""
        if not self.on:
            return
        self("other")
        if self.first is None:
            self.first, self.seconds = sum(self.seconds.values()), {}
            return
        self.updates += 1
        self.samples += sum(len(batch["id"]) for batch in batches)

    def rows(self) -> list[tuple[str, float, float, float]]:
        """Stage, seconds, share of the time, and the samples a second if there were no other stage.

        In the order of an update, without stages that took no time; empty before a second update.
        """
        whole = sum(self.seconds.values())
        found = [(stage, self.seconds.get(stage, 0.0)) for stage in HINTS] if self.updates else []
        return [(stage, s, s / whole, self.samples / s) for stage, s in found if s > 0]

    def sentence(self) -> str:
        """The slowest stage, and what may be done about it; empty before a second update."""
        slowest = max(self.rows(), key=lambda row: row[1], default=None)
        if slowest is None:
            return ""
        return f"slowest is {slowest[0]!r} with {slowest[2]:.0%} of the time: {HINTS[slowest[0]]}"

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data."""
        whole = sum(self.seconds.values())
        stages = {
            stage: {"seconds": round(s, 6), "share": round(share, 4), "samples_per_second": round(rate, 1)}
            for stage, s, share, rate in self.rows()
        }
        return {
            "format": FORMAT, "device": "cuda" if torch.cuda.is_initialized() else "cpu",
            "updates": self.updates, "samples": self.samples, "seconds": round(whole, 6),
            "samples_per_second": round(self.samples / whole, 1) if self.updates else 0.0,
            "first_update_seconds": round(self.first or 0.0, 6), "stages": stages, "slowest": self.sentence(),
        }  # fmt: skip


Clock = Callable[[str], object]
"""Is told the stage that begins now."""
OFF = Stages(on=False)
"""For who does not ask."""
