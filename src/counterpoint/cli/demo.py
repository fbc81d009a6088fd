"""Learn from one part of a tissue section, register another part at any rotation, report how well it went."""

from __future__ import annotations

import importlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import product
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import torch

from counterpoint.cli.console import Flag, Out, outputs, parsed, say, show, to_json
from counterpoint.core.errors import InputError, WorkError
from counterpoint.core.files import write_text
from counterpoint.core.networks import load_networks
from counterpoint.core.rng import fold
from counterpoint.data.aligned import AlignedPatches
from counterpoint.data.stains import stains
from counterpoint.methods.registration.comir import CoMIR
from counterpoint.procedures.registration.mattes import Mattes
from counterpoint.registration.align import align
from counterpoint.registration.measure import Measure, gradient, raw
from counterpoint.registration.options import Options
from counterpoint.registration.prepare import prepare
from counterpoint.registration.protocol import Draw, Trial, make_pair
from counterpoint.registration.register import as_image, register
from counterpoint.registration.report import add_overlays, versions
from counterpoint.registration.scoring import TOLERANCE, Outcome, Score, run, summary
from counterpoint.report.figures import error_scatter, loss_curve, success_bars
from counterpoint.report.page import Page
from counterpoint.train.config import TrainConfig
from counterpoint.train.loop import fit, fresh
from counterpoint.train.optim import OptimConfig
from counterpoint.train.record import read_log

TRAINED, TESTED = slice(0, 224), slice(256, 512)
"""Columns of the image: what is trained on and what is tested on share no pixel."""
SIZE, SHIFT = 256, 28.0
"""Side of a test image, and the largest shift, in pixels."""
ARMS = {
    "learned": "representation learned by contrast (CoMIR), this package",
    "untrained": "this package without a model",
    "gradient": "normalized gradient, correlated over all shifts and rotations",
    "raw": "raw intensities, correlated over all shifts and rotations",
    "mi": "mutual information (SimpleITK, tuned), one start",
    "mi 12 starts": "mutual information (SimpleITK, tuned), 12 starts around the circle",
}
ABOUT = (
    "Hematoxylin (fixed) and DAB (moving) of an immunohistochemistry image. A representation is learned from "
    "the left part of the image; the pairs below are cut from the right part, turned by any angle and "
    f"shifted by up to {SHIFT:.0f} pixels. The stains are blurred differently and given independent noise, "
    "so that no pixel noise is shared."
)
METHOD = CoMIR.Config(size=32, noise=0.1)
TRAIN = TrainConfig(
    steps=400, batch=48, clip_each="role", save_every=100,
    optim=OptimConfig(name="adam", lr=4e-3, weight_decay=0.0, schedule="onecycle", warmup=0.1),
)  # fmt: skip


@dataclass(frozen=True)
class Args:
    """Hematoxylin and DAB, two stains of one tissue section: learn to register them, see how well it works.

    Trains on the left part of the image that comes with scikit-image and registers pairs cut from the right
    part, turned by any angle and shifted, beside mutual information and classical representations.
    """

    out: Out = Path("counterpoint-demo")
    """Folder for the trained run, the figures and report.html."""
    seed: int = 0
    """Of the training; the test pairs stay the same."""
    pairs: int = 20
    """How many test pairs."""
    json: Flag = False
    """Print one JSON object on standard output."""

    def __post_init__(self) -> None:
        if self.pairs < 1:
            raise InputError(f"pairs: expected at least 1, found {self.pairs}")


def command(argv: list[str]) -> tuple[dict[str, Any], int]:
    """Run the command; returns the JSON answer and the exit code."""
    args = parsed(Args, argv, "demo")
    began = time.perf_counter()
    with outputs(args.out):
        with _deaf():  # ctrl-C in the middle of it is lost: libraries take it for one that is missing
            importlib.import_module("lightning_fabric")
        say("learning a representation from the left part of the image (1 of 2)")
        training = train(args.out / "run", args.seed)
        say(f"registering {args.pairs} pairs of the right part in {len(ARMS)} ways (2 of 2)")
        rows = list(_rows(args))
        scores = [s for s in summary(rows) if s.level == "total"]
        arms = {
            s.method: {"success": s.success, "of": s.of, "median_px": s.median, "cpu_seconds": s.cpu}
            for s in scores
        }
        report = write_report(args, rows, scores, training)
        seconds = time.perf_counter() - began
        answer = {"arms": arms, "training_cpu_seconds": training, "seconds": seconds, "report": report}
        write_text(args.out / "results.json", to_json(answer, indent=1))
    title = "Registrations within 2 % of the width, at ±180°"
    show(title, COLUMNS, [_cells(s) for s in scores], as_json=args.json)
    say(f"the report is {report} ({seconds:.0f} s in all)")
    return answer, 0


def train(folder: Path, seed: int) -> float | None:
    """Train CoMIR on the left part; returns the CPU-seconds it took, None if some was done before."""
    method = fresh(METHOD, seed)
    pair = tuple(stain[:, TRAINED] for stain in stains())
    config = replace(TRAIN, seed=seed)
    data = AlignedPatches([(pair[0], pair[1])], side=method.views.tile, length=TRAIN.batch * 100)  # pyright: ignore[reportAttributeAccessIssue]
    start = time.process_time()
    done = fit(method, data, config, folder, about={"image": "immunohistochemistry, columns 0 to 223"})
    return None if done.resumed_from else time.process_time() - start


def test_pair(index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(fixed, moving, true matrix fixed → moving) of one test pair; depends on ``index`` alone."""
    rng = np.random.default_rng(fold(0, "demo pair", index))
    drawn = Draw(rng.uniform(-180, 180), rng.uniform(-SHIFT, SHIFT), rng.uniform(-SHIFT, SHIFT))
    margin = SIZE // 4
    top = int(rng.integers(0, 512 - SIZE - 2 * margin + 1))
    window = slice(top, top + SIZE + 2 * margin)
    fixed, moving = (stain[window, TESTED] for stain in _stains())
    return make_pair(fixed, moving, drawn, patch=(SIZE, SIZE))


@cache
def _stains() -> tuple[np.ndarray, np.ndarray]:
    return stains()


def _rows(args: Args) -> Iterator[Outcome]:
    """All trials, worked off by as many processes as there are cores; each measures its own CPU time."""
    jobs = list(product(ARMS, range(args.pairs)))
    workers = max(1, min(os.cpu_count() or 1, 8))
    with ProcessPoolExecutor(workers, get_context("spawn"), _begin) as pool:
        try:
            with _deaf():
                futures = [pool.submit(trial, arm, i, str(args.out / "run")) for arm, i in jobs]
            for (arm, i), future in zip(jobs, futures, strict=True):
                yield future.result()
                if i == args.pairs - 1:
                    say(f"  {arm}: done")
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in active_children():  # what they are at is no longer wanted
                worker.terminate()
            if isinstance(error, BrokenProcessPool):
                raise WorkError("a process that registered pairs was ended from outside") from None
            raise


@contextmanager
def _deaf() -> Iterator[None]:
    """Ctrl-C is heard when the block is over, and by processes that it started never: this one ends them."""
    mask = getattr(signal, "pthread_sigmask", None)  # not on Windows
    before = mask(signal.SIG_BLOCK, {signal.SIGINT}) if mask else None  # is handed down
    try:
        yield
    finally:
        if mask:
            mask(signal.SIG_SETMASK, before)


def _begin() -> None:
    """Make this process a worker: one thread, and an end when the process that started it is no more."""
    torch.set_num_threads(1)
    Thread(target=_end_with, args=(parent_process(),), daemon=True).start()


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


def trial(arm: str, index: int, folder: str) -> Outcome:
    """One arm on one pair."""
    fixed, moving, true = test_pair(index)
    return run(_arm(arm, folder), Trial(f"pair {index + 1}", lambda: (fixed, moving), true), arm)


def _arm(arm: str, folder: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    if arm == "learned":
        model = load_networks(folder)
        return lambda f, m: register(f, m, model, options=Options(only=True)).matrix
    if arm == "untrained":
        return lambda f, m: register(f, m).matrix
    if arm in ("gradient", "raw"):
        measure = gradient if arm == "gradient" else raw
        return lambda f, m: _by(measure, f, m)
    return Mattes.Config(starts=12 if arm == "mi 12 starts" else 1).build()


def _by(measure: Callable[..., Measure], fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    pair = prepare(as_image(fixed), None, "fixed"), prepare(as_image(moving), None, "moving")
    return align(pair, lambda f, m: [measure(f, m)], Options()).matrix


COLUMNS = ("method", "success", "95 % interval", "median px", "CPU s a pair")


def _cells(s: Score) -> tuple[object, ...]:
    low, high = s.interval
    return (s.method, f"{s.success} of {s.of}", f"{low:.0%} – {high:.0%}", f"{s.median:.2f}", f"{s.cpu:.2f}")


def write_report(
    args: Args, rows: Sequence[Outcome], scores: Sequence[Score], training: float | None
) -> Path:
    """The page a new user looks at; returns where it is."""
    learned = next(s for s in scores if s.method == "learned")
    page = Page("Two stains of one tissue, registered at any rotation", ABOUT)
    page.verdict(
        f"{learned.success} of {learned.of} pairs registered, median error {learned.median:.2f} pixels",
        learned.success >= 0.95 * learned.of,
        f"Trained in {training:.0f} CPU-seconds." if training is not None else "Trained before.",
    )
    threshold = TOLERANCE * SIZE
    page.section(
        "Beside other ways",
        f"Success: mean corner error of at most 2 % of the width ({threshold:.1f} pixels).",
    )
    page.table(
        ("method", "what it is", *COLUMNS[1:]),
        [(s.method, ARMS[s.method], *_cells(s)[1:]) for s in scores],
        best={"success": "max", "median px": "min"},
    )
    shares = success_bars({s.method: (s.success, s.of, *s.interval) for s in scores})
    initial = [r.initial for r in rows if r.method == "learned"]
    errors = {
        s.method: [np.nan if r.error is None else r.error for r in rows if r.method == s.method]
        for s in scores
    }
    scatter = error_scatter(initial, errors, threshold=threshold)
    page.figures(
        [
            ("Share of successful registrations, with 95 % intervals", shares),
            ("Error of each registration against the displacement it started from", scatter),
        ]
    )
    fixed, moving, _ = test_pair(0)
    one = register(fixed, moving, args.out / "run", options=Options(only=True))
    add_overlays(page, one, "One of the pairs")
    log = read_log(args.out / "run")
    losses = {"loss": [line["loss"] for line in log]}
    page.section("Training")
    page.figures([("Contrastive loss", loss_curve([line["step"] for line in log], losses, smooth=10))])
    settings = {"method": METHOD.to_dict(), "train": TRAIN.to_dict() | {"seed": args.seed}}
    page.settings(settings | {"versions": versions()})
    every = {f"{r.method}, {r.pair}": r.failure or f"{r.error:.2f} px" for r in rows}
    page.settings({"rows": every}, "Every registration")
    page.write(args.out / "report.html")
    write_text(args.out / "rows.jsonl", "".join(to_json(asdict(r)) + "\n" for r in rows))
    return args.out / "report.html"
