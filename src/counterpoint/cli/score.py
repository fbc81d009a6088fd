"""Score registration by the public protocol: your pairs, any methods, success with intervals, error, time."""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from counterpoint.cli.ask import asked
from counterpoint.cli.console import (
    Flag,
    Folder,
    Out,
    Table,
    Word,
    outputs,
    parsed,
    plain,
    say,
    show,
    to_json,
)
from counterpoint.cli.model import given
from counterpoint.cli.pairs import listed
from counterpoint.core.config import Config, load, names
from counterpoint.core.errors import InputError, unknown
from counterpoint.core.files import write_text
from counterpoint.core.networks import about, load_networks
from counterpoint.core.procedure import ProcedureConfig
from counterpoint.core.untrusted import parse_yaml
from counterpoint.data.pairs import Pair
from counterpoint.data.read import read_image
from counterpoint.integrations.hub import fetched, is_reference
from counterpoint.registration.options import Options
from counterpoint.registration.protocol import Images, Landmarks, Trial, drawn_trials
from counterpoint.registration.refine import Kind
from counterpoint.registration.register import GENERAL, Model, register
from counterpoint.registration.scoring import TOLERANCE, Outcome, Score, score, summary
from counterpoint.report.figures import error_scatter, success_bars, success_by_level
from counterpoint.report.page import Page

Method = Callable[[np.ndarray, np.ndarray], Any]
OURS = ("counterpoint", GENERAL, "learned")
LEVELS = {"1": 1, "2": 2, "3": 3, "4": 4, "full": "full"}


@dataclass(frozen=True)
class Args:
    """Ask registration methods questions whose answer is known.

    Aligned pairs are moved apart by known transforms on four levels of difficulty (up to ±20° and 9 % of the
    width; "full" is ±180°) and must be found again; success is a mean corner error of at most 2 % of the
    width. A table with columns a11 a12 a13 a21 a22 a23 (fixed → moving, pixels) or landmarks (a CSV file with
    x_fixed, y_fixed, x_moving, y_moving) is taken as it is. Protocol: Lu et al. 2022 (MultiRegEval).

    Other tasks ask a trained run: "counterpoint score RUN TASK --help".
    """

    task: Annotated[Literal["registration"], tyro.conf.Positional]
    """What is scored."""
    fixed: Folder = None
    """Folder of fixed images."""
    moving: Folder = None
    """Folder of moving images, aligned with the fixed ones."""
    pattern: Word = None
    """Regular expression whose group is what the names of a pair have in common."""
    pairs: Table = None
    """Instead of two folders: a CSV table with columns fixed, moving, and perhaps a truth, or a folder that
    holds either."""
    methods: Annotated[tuple[str, ...], tyro.conf.arg(metavar="METHOD ...")] = (
        "counterpoint",
        "mattes",
        "mattes:starts=12",
    )
    """What is compared: counterpoint (no model), general (the model it comes with, alone), learned (needs
    --model; that alone), mattes, sift, elastix, ants; with settings after a colon, as in
    mattes:starts=12,bins=50."""
    model: Annotated[Word, tyro.conf.arg(metavar="RUN")] = None
    """The trained run that "learned" uses; or one on the Hugging Face hub, hf://OWNER/NAME[@REVISION]."""
    transform: Kind = "rigid"
    """What the methods may find."""
    levels: tuple[Literal["1", "2", "3", "4", "full"], ...] = ("1", "2", "3", "4")
    """Levels of difficulty."""
    repeats: int = 1
    """Draws per pair and level."""
    seed: int = 0
    """Of the draws."""
    border: Literal["reflect", "constant"] = "reflect"
    """What is seen beyond the warped image."""
    out: Out = Path("counterpoint-score")
    """Folder for rows (one file a method; goes on where it was stopped), scores and report."""
    json: Flag = False
    """Print one JSON object on standard output."""

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise InputError(f"repeats: expected at least 1, found {self.repeats}")
        if not self.methods or not self.levels:
            raise InputError("methods, levels: expected at least one of each, found none")


@dataclass(frozen=True, kw_only=True)
class _Ours(Options, Config):
    """The options of a registration as settings that are checked like those of any other method."""


def command(argv: list[str]) -> tuple[dict[str, Any], int]:
    """Run the command; returns the JSON answer and the exit code."""
    if argv and argv[0] != "registration" and not argv[0].startswith("-"):
        return asked(argv[0], argv[1:])
    args = parsed(Args, argv, "score")
    if args.model is not None:
        args = replace(args, model=given(args.model))
    model = None if args.model is None else load_networks(fetched(args.model))
    methods = {name: _method(name, args.transform, model) for name in args.methods}
    found = listed("score", args.fixed, args.moving, args.pairs, args.pattern)
    trials = _trials(args, found.pairs)
    rows: list[Outcome] = []
    with outputs(args.out):
        for name, method in methods.items():
            say(f"scoring {name} on {len(trials)} trials")
            rows += score(method, trials, args.out, _file_name(name), _settings(args), each=_said)
        scores = summary(rows)
        report = _write_report(args, rows, scores)
        write_text(args.out / "scores.json", to_json([asdict(s) for s in scores], indent=1))
    title = f"{len(found.pairs)} pairs, {args.transform}"
    show(title, COLUMNS, [_cells(s) for s in scores], as_json=args.json)
    return {"scores": [asdict(s) for s in scores], "report": report}, 0


COLUMNS = ("method", "level", "success", "95 % interval", "median px", "95 % interval px", "CPU s")


def _cells(s: Score) -> tuple[object, ...]:
    low, high = s.interval
    a, b = s.median_interval
    return (s.method, s.level, f"{s.success} of {s.of}", f"{low:.0%} – {high:.0%}", f"{s.median:.2f}",
            f"{a:.2f} – {b:.2f}", f"{s.cpu:.2f}")  # fmt: skip


def _said(row: Outcome) -> None:
    result = row.failure or f"{row.error:.2f} px" + ("" if row.success else ", no success")
    say(f"  {row.trial}: {result} ({row.cpu:.1f} CPU-s)")


def _settings(args: Args) -> dict[str, Any]:
    """What all rows of a folder have in common, beside what stands in the rows themselves."""
    images = [p and str(p.resolve()) for p in (args.fixed, args.moving, args.pairs)]
    model = None
    if args.model is not None:
        file = fetched(args.model)
        model = [args.model if is_reference(args.model) else str(file.resolve()), about(file)]
    return {"transform": args.transform, "border": args.border, "images": images, "model": model}


def _trials(args: Args, pairs: Sequence[Pair]) -> list[Trial]:
    """The questions; raises ``InputError`` if an image cannot be read or does not fit its partner."""
    truths = [_truth(p, listed_in=args.pairs) for p in pairs]
    if any(t is None for t in truths) and not all(t is None for t in truths):
        found = sum(t is not None for t in truths)
        raise InputError(
            f"{args.pairs}: expected a truth for all {len(pairs)} pairs or for none, found {found}"
        )
    for pair, truth in zip(pairs, truths, strict=True):
        fixed, moving = (image.shape[1::-1] for image in _images(pair))
        if truth is None and fixed != moving:
            raise InputError(
                f"{pair.moving}: expected {fixed[0]} × {fixed[1]} pixels as in {pair.fixed}, with which it "
                f"must be aligned, found {moving[0]} × {moving[1]}"
            )
    real = [Trial(p.name, _loader(p), t) for p, t in zip(pairs, truths, strict=True) if t is not None]
    levels = [LEVELS[level] for level in args.levels]
    loaders = {p.name: _loader(p) for p in pairs}
    return real or drawn_trials(loaders, levels, args.seed, args.repeats, border=args.border)  # pyright: ignore[reportArgumentType]


def _loader(pair: Pair) -> Callable[[], Images]:
    return functools.partial(_images, pair)


def _images(pair: Pair) -> Images:
    return read_image(pair.fixed).array, read_image(pair.moving).array


def _truth(pair: Pair, listed_in: Path | None) -> Landmarks | np.ndarray | None:
    """The known answer that a table's row states, if it does."""
    entries = [pair.extra.get(f"a{i}{j}", "") for i in (1, 2) for j in (1, 2, 3)]
    landmarks = pair.extra.get("landmarks")
    if not any(entries) and not landmarks:
        return None
    try:
        if any(entries):
            matrix = np.vstack((np.array(entries, float).reshape(2, 3), (0.0, 0.0, 1.0)))
            np.linalg.inv(matrix)
            points = [matrix]
        else:
            table = listed_in or Path()
            folder = table if table.is_dir() else table.parent
            with (folder / str(landmarks)).open(newline="", encoding="utf-8-sig") as f:
                rows = list(csv.DictReader(f))
            points = [
                np.array([[r[f"x_{s}"], r[f"y_{s}"]] for r in rows], float) for s in ("fixed", "moving")
            ]
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{pair.name}: expected a truth as numbers, found: {error!r}") from None
    if not all(p.size and np.isfinite(p).all() for p in points):
        raise InputError(f"{pair.name}: expected a truth of finite numbers, found none or others")
    return Landmarks(*points) if len(points) == 2 else points[0]


def _method(name: str, transform: Kind, model: Model | None) -> Method:
    """A method by its name and settings, e.g. "mattes:starts=12"."""
    kind, _, rest = name.partition(":")
    try:
        settings = parse_yaml(f"{{{rest.replace('=', ': ')}}}")
    except ValueError:
        raise InputError(
            f"method {kind}: expected settings such as starts=12,bins=50, found {rest!r}"
        ) from None
    room = f"{ProcedureConfig.room}.registration"
    if kind not in OURS and kind not in names(room):
        raise unknown("method", kind, [*OURS, *names(room)])
    if kind not in OURS:
        procedure = load(room, kind).Config.from_dict(settings, f"method {kind}").build()
        return lambda f, m: procedure(f, m, transform)
    if kind == "learned" and model is None:
        raise InputError("method learned: expected --model RUN, found none")
    usual = {"transform": transform, "only": kind in ("learned", GENERAL)}
    options = _Ours.from_dict(usual | settings, f"method {kind}")
    use = {"learned": model, GENERAL: GENERAL}.get(kind)
    return lambda f, m: register(f, m, use, options.transform, options=options).matrix


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.+=,()-]+", " ", name).strip()


def _write_report(args: Args, rows: Sequence[Outcome], scores: Sequence[Score]) -> Path:
    page = Page(
        "How well methods register these pairs",
        f"{len({r.pair for r in rows})} pairs, {args.transform}, success: error ≤ 2 % of the width.",
    )
    totals = [s for s in scores if s.level == "total"]
    counts = {s.method: (s.success, s.of, *s.interval) for s in totals}
    initial = [r.initial for r in rows if r.method == totals[0].method]
    errors = {s.method: [_error(r) for r in rows if r.method == s.method] for s in totals}
    page.section("All levels")
    page.table(
        COLUMNS, [_cells(s) for s in totals], best={"success": "max", "median px": "min", "CPU s": "min"}
    )
    page.figures(
        [
            ("Share of successful registrations, with 95 % intervals", success_bars(counts)),
            (
                "Error of each registration against the displacement it started from",
                error_scatter(initial, errors, threshold=TOLERANCE * rows[0].width),
            ),
        ]
    )
    levels = {
        method: {
            s.level: (s.success, s.of, *s.interval)
            for s in scores
            if s.method == method and s.level != "total"
        }
        for method in counts
    }
    page.section("By level of difficulty")
    page.figures([("Share of successful registrations", success_by_level(levels))])
    page.table(COLUMNS, [_cells(s) for s in scores if s.level != "total"])
    page.settings(plain(asdict(args)))
    page.write(args.out / "report.html")
    return args.out / "report.html"


def _error(row: Outcome) -> float:
    return np.nan if row.error is None else row.error
