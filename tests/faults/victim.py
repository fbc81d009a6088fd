"""A small training, in children of one process that are killed, or refused the disk, wherever that may be.

``victim.py FOLDER``: the training ends in FOLDER/whole. For every k there is, it is begun in FOLDER/kill-k,
killed at its k-th event (a file half written, brought to the disk, renamed; a line half logged), and begun
again. For some k, the same in FOLDER/full-k, where the disk is full from that event on. In FOLDER/random it
is killed again and again after some time. One line of JSON a child on standard output.
"""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from counterpoint.core.errors import InputError, WorkError
from counterpoint.core.method import MethodConfig
from counterpoint.data.arrays import Arrays
from counterpoint.train import record
from counterpoint.train.config import TrainConfig
from counterpoint.train.loop import RunSummary, fit, fresh

METHOD = {
    "kind": "moco", "encoder": {"kind": "convnet", "width": 2}, "hidden": 4, "dim": 4, "queue": 12,
    "momentum": 0.9, "views": {"size": 8},
}  # fmt: skip
"""With a teacher and a queue, which must come back as they were."""
TRAIN = {
    "epochs": 2, "batch": 6, "save_every": 4, "log_every": 2, "seed": 3, "device": "cpu",
    "optim": {"lr": 0.01}, "monitor": {"every": 0},
}  # fmt: skip
"""6 updates, 3 an epoch; checkpoints after 4 and 6."""


def images() -> Arrays:
    """18 of 8×8 pixels in color."""
    return Arrays(torch.rand(18, 3, 8, 8, generator=torch.Generator().manual_seed(5)))


def train(folder: Path, data: Any = None, **changes: Any) -> RunSummary:
    """The training; begun again, it goes on."""
    torch.set_num_threads(1)
    more = {key: changes.pop(key) for key in ("report", "resume") if key in changes}
    config = TrainConfig.from_dict(TRAIN | changes)
    method = fresh(MethodConfig.from_dict(METHOD), config.seed)
    return fit(method, data or images(), config, folder, progress=False, **more)


def bent(at: int, wrong: Callable[[str], None], seen: list[int] | None = None) -> None:
    """Make the ``at``-th event, and all after it, go wrong; ``seen[0]`` counts them."""
    seen = [0] if seen is None else seen

    def event(name: str) -> bool:
        seen[0] += 1
        return seen[0] > at

    def half(write: Callable, name: str) -> Callable:
        def instead(path: Path, content: Any, **more: Any) -> Any:
            if event(name):
                write(path, content[: len(content) // 2], **more)
                wrong(f"{name} {path.suffix}")
            return write(path, content, **more)

        return instead

    def before(call: Callable, name: str) -> Callable:
        def instead(first: Any, *rest: Any) -> Any:
            if event(name):
                wrong(f"{name} {getattr(first, 'suffix', '')}")
            return call(first, *rest)

        return instead

    def logged(self: record.Run, line: Mapping[str, Any]) -> None:
        if event("line"):
            assert self._log is not None
            self._log.write('{"step": ')
            self._log.flush()
            with record._written(self.folder / record.LOG):
                wrong("line")
        write_line(self, line)

    write_line = record.Run.write
    record.Run.write = logged
    Path.write_bytes = half(Path.write_bytes, "write")
    Path.write_text = half(Path.write_text, "write")
    Path.replace = before(Path.replace, "rename")
    os.fsync = before(os.fsync, "sync")


def killed(_: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def full(_: str) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def in_child(work: Callable[[], object], seconds: float | None = None) -> tuple[int, str]:
    """Exit code of ``work`` in a child and what it said; killed after a time, if one is given."""
    told, tell = os.pipe()
    if not (child := os.fork()):
        code = 0
        try:
            work()
        except (InputError, WorkError) as error:
            code = 2 if isinstance(error, InputError) else 1
            os.write(tell, str(error).encode())
        except BaseException:
            code = 9
            os.write(tell, traceback.format_exc()[-4000:].encode())
        os._exit(code)
    os.close(tell)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with os.fdopen(told, "rb") as pipe:
        return code, pipe.read().decode()


def say(where: str, code: int, said: str = "") -> None:
    print(json.dumps([where, code, said]), flush=True)  # noqa: T201


def everywhere(folder: Path, how: str, wrong: Callable[[str], None], every: int) -> None:
    """Once for each event there is, or for some."""
    for k in range(0, 1000, every):
        place = folder / f"{how}-{k}"

        def work(k: int = k, place: Path = place) -> None:
            bent(k, wrong)
            train(place)

        code, said = in_child(work)
        say(place.name, code, said)
        if not code:
            return
        say(f"{place.name}, again", *in_child(lambda place=place: train(place)))


def main(folder: Path) -> None:
    """See above."""
    begin = time.perf_counter()
    say("whole", *in_child(lambda: train(folder / "whole")))
    seconds = time.perf_counter() - begin
    everywhere(folder, "kill", killed, 1)
    everywhere(folder, "full", full, 5)
    for i in range(3):
        say("random", *in_child(lambda: train(folder / "random"), random.Random(i).uniform(0, 0.7) * seconds))
    say("random, again", *in_child(lambda: train(folder / "random")))


if __name__ == "__main__":
    import torch._dynamo  # all that is imported late, once for all children

    train(Path(sys.argv[1]) / "first")
    main(Path(sys.argv[1]))
