"""A judge that watches a training: a task asked every so many updates, its answers in a file of the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from counterpoint.core.data import Data
from counterpoint.core.errors import WorkError
from counterpoint.core.files import write_text
from counterpoint.core.task import Networks, Task
from counterpoint.core.types import Progress


class Online:
    """Given to ``fit(report=…)``: asks at every ``every``-th update and at the last one.

    Moves neither weights, nor modes, nor random state, so the training ends with the same bits as without it.
    A run that was resumed drops the answers from after its checkpoint, which it will give again.
    """

    def __init__(
        self, task: Task, network: Networks, train: Data, test: Data, *, every: int, seed: int, file: Path
    ) -> None:
        self.task, self.network, self.data = task, network, (train, test)
        self.every, self.seed, self.file = max(1, every), seed, Path(file)
        self.answers: list[dict[str, Any]] | None = None
        """Lines so far: "step", "epoch" and the task's numbers; None before the first update."""

    def __call__(self, at: Progress, line: Mapping[str, Any]) -> None:  # noqa: ARG002 -- what a report takes
        """Note where training stands after the update at ``at``."""
        done = at.step + 1
        if self.answers is None:
            self.answers = [old for old in self._read() if old["step"] < done]
        if done % self.every and done != at.steps:
            return
        with torch.random.fork_rng():
            numbers = self.task(self.network, *self.data, self.seed)
        self.answers.append({"step": done, "epoch": at.epoch, **numbers})
        try:
            write_text(self.file, "".join(json.dumps(answer) + "\n" for answer in self.answers))
        except OSError as error:
            raise WorkError(f"{self.file}: the file could not be written: {error.strerror}") from None

    def _read(self) -> list[dict[str, Any]]:
        """Answers of an earlier part of the run; a file that is not ours counts as none."""
        try:
            lines = [json.loads(text) for text in self.file.read_text(encoding="utf-8").splitlines()]
            return [line for line in lines if isinstance(line["step"], int)]
        except (OSError, ValueError, TypeError, LookupError):
            return []
