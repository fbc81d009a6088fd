"""Random aligned patches, and a run of a toy in a process of its own."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

import counterpoint.encoders
import counterpoint.methods
from counterpoint.core.types import Batch


class Patches:
    """``count`` patches of 6×6 pixels in two modalities, shuffled every epoch unless told."""

    provides = frozenset({"fixed", "moving", "id"})

    def __init__(self, count: int = 10, shuffle: bool = True) -> None:
        rng = torch.Generator().manual_seed(5)
        self.fixed = torch.rand(count, 1, 6, 6, generator=rng)
        self.shuffle = shuffle

    def __len__(self) -> int:
        return len(self.fixed)

    def steps(self, size: int) -> int:
        return -(-len(self) // size)

    def epoch(self, size: int, rng: torch.Generator, start: int = 0) -> Iterator[Batch]:
        order = torch.randperm(len(self), generator=rng) if self.shuffle else torch.arange(len(self))
        for ids in order.split(size)[start:]:
            yield {"fixed": self.fixed[ids], "moving": 1 - self.fixed[ids], "id": ids}


def open_rooms() -> None:
    """Let the toys be found where the library's own parts are."""
    here = Path(__file__).parent
    counterpoint.encoders.__path__.append(str(here / "encoders"))
    counterpoint.methods.__path__.append(str(here / "methods"))


def close_rooms() -> None:
    """Undo ``open_rooms``."""
    counterpoint.encoders.__path__.pop()
    counterpoint.methods.__path__.pop()


def main(folder: str, where: str, step: int) -> None:
    """Train, and be killed: after an update, or half-way through the writing of a checkpoint."""
    open_rooms()
    torch.set_num_threads(1)
    from counterpoint.core.method import MethodConfig
    from counterpoint.train.config import TrainConfig
    from counterpoint.train.loop import fit, fresh

    config = TrainConfig.from_dict(SETTINGS)
    method = fresh(MethodConfig.from_dict({"kind": "toy_pair"}), config.seed)
    seen = [0]

    def report(at: object, line: dict) -> None:
        seen[0] = line["step"]
        if where == "update" and seen[0] == step:
            os.kill(os.getpid(), signal.SIGKILL)

    whole = Path.write_bytes

    def half(path: Path, content: bytes) -> int:
        if where == "writing" and seen[0] + 1 == step:
            whole(path, content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(path, content)

    Path.write_bytes = half
    fit(method, Patches(), config, folder, report=report)


SETTINGS = {"epochs": 4, "batch": 4, "save_every": 4, "optim": {"lr": 0.01}, "seed": 3}
"""12 updates, 3 an epoch; checkpoints after 4, 8 and 12, of which 4 and 8 lie inside an epoch."""

if (
    __name__ == "__main__"
):  # folder, where and step of a run, then of the next; each in a child that gets killed
    import torch._dynamo

    import counterpoint.train.loop

    arguments = sys.argv[1:]
    while arguments:
        folder, where, step, *arguments = arguments
        if not (child := os.fork()):
            main(folder, where, int(step))
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
