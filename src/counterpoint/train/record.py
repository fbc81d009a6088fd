"""The run folder: ``run.yaml``, ``log.jsonl``, ``checkpoint.safetensors``, then ``networks.safetensors``.

Beside them stands ``profile.json``, if somebody asked where the time goes. A run is finished when its
networks are there. A file ``lock`` keeps a second process out.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import torch
import yaml

from counterpoint.core import networks
from counterpoint.core.errors import InputError, WorkError
from counterpoint.core.files import output_folder, sweep, write_text
from counterpoint.core.untrusted import parse_json, parse_yaml, read_text
from counterpoint.train import checkpoint

RUN = "run.yaml"
LOG = "log.jsonl"
LOCK = "lock"
PROFILE = "profile.json"
FORMAT = "counterpoint-run-1"


@dataclass(slots=True)
class Run:
    """An open run folder, held by this process."""

    folder: Path
    settings: Mapping[str, Any]
    _lock: IO[str] | None = None
    _log: IO[str] | None = None

    @property
    def checkpoint(self) -> Path:
        """Where its checkpoint stands or will stand."""
        return self.folder / checkpoint.FILE

    @property
    def networks(self) -> Path:
        """Where its networks stand or will stand."""
        return self.folder / networks.FILE

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.networks.is_file()

    def rewind(self, step: int) -> list[dict[str, Any]]:
        """Drop from the log what came after ``step`` updates, open it for more, and return what is left."""
        path = self.folder / LOG
        kept = _lines(path, step) if path.is_file() else []
        with _written(path):
            write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
            self._log = path.open("a", encoding="utf-8")
        return kept

    def write(self, line: Mapping[str, Any]) -> None:
        """Append a line to the log; raises ``WorkError`` if it cannot be written."""
        assert self._log is not None, "rewind() opens the log"
        with _written(self.folder / LOG):
            self._log.write(json.dumps(line) + "\n")
            self._log.flush()

    def sync(self) -> None:
        """Bring the log to the disk itself: it must not be behind a checkpoint when the power fails.

        Raises ``WorkError`` if it cannot be, or if the folder is no longer the one that was opened: somebody
        removed it, and another run may hold what stands in its place.
        """
        if self._lock is not None and not _is(self.folder / LOCK, self._lock):
            raise WorkError(f"{self.folder}: expected the folder of this run, found it removed or replaced")
        if self._log is not None:
            with _written(self.folder / LOG):
                os.fsync(self._log.fileno())

    def profiled(self, found: Mapping[str, Any]) -> None:
        """Keep where the time of a call went; raises ``WorkError`` if it cannot be written."""
        with _written(self.folder / PROFILE):
            write_text(self.folder / PROFILE, json.dumps(found, indent=1) + "\n")

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            with suppress(OSError):  # what could not be written was said when it was to be
                self._log.close()


@contextmanager
def open_run(
    folder: Path | str, settings: Mapping[str, Any], seed: int, *, resume: bool = True
) -> Iterator[Run]:
    """Hold a run folder, made if it is not there, with its ``run.yaml`` written.

    Args:
        folder: Where the run stands or will stand.
        settings: Plain nested values that determine the run's result.
        seed: Written beside them.
        resume: Go on with a run that stands there; ``False`` removes it and begins anew.

    Raises:
        InputError: the folder cannot be written to, another process holds it, it holds a run with other
            settings, or networks of unknown origin.
    """
    folder = output_folder(folder)
    with _locked(folder) as lock:
        files = [folder / name for name in (networks.FILE, checkpoint.FILE, LOG, PROFILE, RUN)]
        sweep(*files)
        if not resume and (folder / RUN).is_file():  # last to go: without it, what is left is nobody's
            for file in files:
                file.unlink(missing_ok=True)
        run = Run(folder, settings, lock)
        if (folder / RUN).is_file():
            checkpoint.require_same(folder / RUN, read_run(folder)["settings"], settings)
        elif run.finished:
            raise InputError(f"{folder}: expected a run or an empty folder, found only {networks.FILE}")
        else:
            versions = {
                "counterpoint": version("counterpoint"),
                "torch": str(torch.__version__),
                "python": platform.python_version(),
            }
            whole = {"format": FORMAT, "seed": seed, "settings": dict(settings), "versions": versions}
            with _written(folder / RUN):
                write_text(folder / RUN, yaml.safe_dump(whole, sort_keys=False, allow_unicode=True))
        try:
            yield run
        finally:
            run.close()


def read_run(folder: Path | str) -> dict[str, Any]:
    """What ``run.yaml`` says: ``settings``, ``seed``, ``versions``; an ``InputError`` if it is not that."""
    path = Path(folder) / RUN
    try:
        whole = parse_yaml(read_text(path, "the settings of a run"))
    except InputError:
        raise
    except ValueError:
        whole = None
    if (
        not isinstance(whole, dict)
        or whole.get("format") != FORMAT
        or not isinstance(whole.get("settings"), dict)
    ):
        raise InputError(
            f"{path}: expected the settings of a run in the format {FORMAT}, found something else"
        )
    return whole


def read_log(folder: Path | str) -> list[dict[str, Any]]:
    """The lines of ``log.jsonl``, without one that was cut off while it was written.

    Raises:
        InputError: there is no log, or a line before the last is damaged.
    """
    return _lines(Path(folder) / LOG)


def _lines(path: Path, step: int | None = None) -> list[dict[str, Any]]:
    """The whole lines of a log; with ``step`` those up to it.

    A damaged line is then passed over if nothing up to ``step`` comes after it: when the power fails, the
    end of a file that was not brought to the disk may hold anything.
    """
    lines: list[dict[str, Any]] = []
    damaged: InputError | None = None
    text = read_text(path, "the log of a run", errors="replace")
    for number, line in enumerate(text.split("\n")[:-1], start=1):  # what has no line break was cut off
        try:
            value = parse_json(line)
        except ValueError:
            value = None
        if not isinstance(value, dict) or type(value.get("step")) is not int:
            damaged = damaged or InputError(
                f"{path}: expected JSON with a step in line {number}, found {line[:40]!r}"
            )
        elif step is None or value["step"] <= step:
            if damaged is not None:
                raise damaged
            lines.append(value)
    if damaged is not None and step is None:
        raise damaged
    return lines


@contextmanager
def _written(path: Path) -> Iterator[None]:
    """Make a full disk a ``WorkError``."""
    try:
        yield
    except OSError as error:
        raise WorkError(f"{path}: the file could not be written: {error.strerror or error}") from None


def _is(path: Path, file: IO[str]) -> bool:
    """Whether an open file is still the one at ``path``."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except OSError:
        return False


@contextmanager
def _locked(folder: Path) -> Iterator[IO[str] | None]:
    """Hold the folder's lock; it falls when the process ends, however it ends."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield None
        return
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{folder}: expected a free folder, found another run at work in it") from None
        except OSError:  # a file system without locks
            pass
        yield lock
