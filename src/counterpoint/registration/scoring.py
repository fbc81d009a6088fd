"""Scores: put trials to a method, keep one row each, and say how often and how well it succeeded."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from counterpoint.core.errors import InputError
from counterpoint.core.files import output_folder, write_text
from counterpoint.core.rng import fold
from counterpoint.metrics.registration import bootstrap_median, wilson
from counterpoint.registration.protocol import Trial, pose

TOLERANCE = 0.02
"""Success is an error of at most this share of the width of the fixed image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One row of the result; lengths in pixels, of the fixed image where the pair is real."""

    method: str
    settings: str
    """Hash of the method's settings."""
    trial: str
    pair: str
    fold: str
    level: str
    angle: float | None
    """Degrees; none unless drawn, as the two shifts."""
    tx: float | None
    ty: float | None
    width: int
    """Of the fixed image."""
    initial: float
    """Error of doing nothing."""
    error: float | None
    """Mean over corners or landmarks; none when the method gave no transform."""
    success: bool
    cpu: float
    """CPU-seconds of this process, all its threads, and the child processes it waited for."""
    wall: float
    """Seconds."""
    failure: str = ""
    """Why there is no transform, one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A method on one level, or on all; a trial without a transform counts, with an infinite error."""

    method: str
    level: str
    """"total" for all levels together."""
    success: int
    of: int
    interval: tuple[float, float]
    """Wilson, 95 %."""
    median: float
    """Of the errors, in pixels."""
    median_interval: tuple[float, float]
    """Bootstrap, 95 %."""
    cpu: float
    """Median CPU-seconds."""
    folds: int = 0
    fold_mean: float | None = None
    """Mean of the folds' success rates, if there are folds."""
    fold_sd: float | None = None
    """Their population standard deviation."""


def score(
    method: Callable[[np.ndarray, np.ndarray], Any],
    trials: Sequence[Trial],
    folder: Path | str,
    name: str,
    settings: Mapping[str, Any] | None = None,
    each: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Put every trial to ``method`` and return one row each, in order.

    ``method(fixed, moving)`` gets two (H, W[, C]) arrays and returns a (3, 3) matrix fixed → moving in
    pixels, or raises. Rows are appended to ``folder/name.jsonl`` as they come, and trials found there are not
    run again, so a killed run goes on where it stood. ``each`` is called with every new row.

    Raises:
        InputError: two trials of one key, a name that is no file name, or rows in the folder that were made
            with other ``settings``.
    """
    if not re.fullmatch(r"[\w][\w .+=,()-]*", name):
        raise InputError(f"name: expected letters, digits, spaces and . + = , ( ) -, found {name!r}")
    if len({t.key for t in trials}) < len(trials):
        raise InputError("trials: expected pairs of different names, found two trials of one key")
    stamp = f"{fold(0, json.dumps(settings or {}, sort_keys=True, default=str)):016x}"
    file = output_folder(folder) / f"{name}.jsonl"
    done = {row.trial: row for row in _read(file, repair=True)}
    if any(row.settings != stamp for row in done.values()):
        raise InputError(
            f"{file}: expected rows made with the settings now given, found rows made with others"
        )
    for trial in trials:
        if trial.key not in done:
            row = run(method, trial, name, stamp)
            with file.open("a", encoding="utf-8") as f:
                f.write(json.dumps(asdict(row)) + "\n")
            done[trial.key] = row
            if each:
                each(row)
    return [done[trial.key] for trial in trials]


def read_rows(folder: Path | str) -> list[Outcome]:
    """All rows that ``score`` has left in a folder; a line cut short by a kill is passed over.

    Raises:
        InputError: a line that is no row.
    """
    return [row for file in sorted(Path(folder).glob("*.jsonl")) for row in _read(file)]


def summary(rows: Iterable[Outcome], seed: int = 0) -> list[Score]:
    """Per method: one ``Score`` for each level and, last, one for all levels ("total")."""
    rows = list(rows)
    scores = []
    for method in dict.fromkeys(row.method for row in rows):
        own = [row for row in rows if row.method == method]
        levels = {
            level: [row for row in own if row.level == level] for level in dict.fromkeys(r.level for r in own)
        }
        scores += [_score(method, level, part, seed) for level, part in levels.items()]
        scores.append(_score(method, "total", own, seed))
    return scores


def run(method: Callable[[np.ndarray, np.ndarray], Any], trial: Trial, name: str, stamp: str = "") -> Outcome:
    """Put one trial to ``method``; ``stamp`` is the hash of its settings that goes into the row."""
    fixed, moving, drawn, off = pose(trial)
    width = fixed.shape[1]
    error, failure = None, ""
    cpu, wall = _cpu(), time.perf_counter()
    try:
        found = method(fixed, moving)
    except Exception as reason:  # whatever a rival throws is its failure and stays in the denominator
        found, failure = None, f"{type(reason).__name__}: {reason}".splitlines()[0]
    cpu, wall = _cpu() - cpu, time.perf_counter() - wall
    if not failure:
        try:
            error = off(np.asarray(found, float))
        except (InputError, TypeError, ValueError) as reason:
            failure = f"no transform: {reason}".splitlines()[0]
        if error is not None and not np.isfinite(error):
            error, failure = None, "no transform: it sends a corner to infinity"
    return Outcome(
        method=name,
        settings=stamp,
        trial=trial.key,
        pair=trial.pair,
        fold=trial.fold,
        level=trial.level,
        angle=drawn.angle if drawn else None,
        tx=drawn.tx if drawn else None,
        ty=drawn.ty if drawn else None,
        width=width,
        initial=off(np.eye(3)),
        error=error,
        success=error is not None and error <= TOLERANCE * width,
        cpu=round(cpu, 4),
        wall=round(wall, 4),
        failure=failure,
    )


def _cpu() -> float:
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


def _read(file: Path, repair: bool = False) -> list[Outcome]:
    """The rows of a file; ``repair`` also removes a last line that a kill cut short."""
    content = file.read_bytes() if file.is_file() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if repair and whole != content:
        write_text(file, whole.decode())
    known = {f.name for f in fields(Outcome)}
    rows = []
    for number, line in enumerate(whole.split(b"\n")[:-1], 1):
        try:
            values = json.loads(line)
            if set(values) != known:
                raise ValueError("other fields")
            rows.append(Outcome(**values))
        except (ValueError, TypeError) as reason:
            raise InputError(f"{file}: line {number}: expected a row of scores, found: {reason}") from None
    return rows


def _score(method: str, level: str, rows: list[Outcome], seed: int) -> Score:
    errors = [np.inf if row.error is None else row.error for row in rows]
    by_fold: dict[str, list[bool]] = {}
    for row in rows:
        if row.fold:
            by_fold.setdefault(row.fold, []).append(row.success)
    rates = [float(np.mean(v)) for v in by_fold.values()]
    success = sum(row.success for row in rows)
    return Score(
        method=method,
        level=level,
        success=success,
        of=len(rows),
        interval=wilson(success, len(rows)),
        median=float(np.median(errors)),
        median_interval=bootstrap_median(errors, seed),
        cpu=float(np.median([row.cpu for row in rows])),
        folds=len(rates),
        fold_mean=float(np.mean(rates)) if rates else None,
        fold_sd=float(np.std(rates)) if rates else None,
    )
