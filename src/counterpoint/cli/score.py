"""Score registration by the public protocol: your pairs, any methods, success with intervals, error, time."""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro
import yaml

from counterpoint.cli.console import outputs, parsed, plain, say, show
from counterpoint.core.config import load, names
from counterpoint.core.errors import InputError, unknown
from counterpoint.core.files import write_text
from counterpoint.core.networks import load_networks
from counterpoint.core.procedure import ProcedureConfig
from counterpoint.data.pairs import Pair, PairList, pair_folders, read_pairs_csv
from counterpoint.data.read import read_image
from counterpoint.registration.protocol import Drawn, Images, Landmarks, Trial, drawn_trials
from counterpoint.registration.refine import Kind
from counterpoint.registration.register import Model, Options, register
from counterpoint.registration.scoring import Outcome, Score, score, summary
from counterpoint.report.figures import error_scatter, success_bars, success_by_level
from counterpoint.report.page import Page

Method = Callable[[np.ndarray, np.ndarray], Any]
OURS = ("counterpoint", "learned")
LEVELS = {"1": 1, "2": 2, "3": 3, "4": 4, "full": "full"}


@dataclass(frozen=True)
class Args:
    """Ask registration methods questions whose answer is known.

    Aligned pairs are moved apart by known transforms on four levels of difficulty (up to ±20° and 9 % of the
    width; "full" is ±180°) and must be found again; success is a mean corner error of at most 2 % of the
    width. A table with columns a11 a12 a13 a21 a22 a23 (fixed → moving, pixels) or landmarks (a CSV file with
    x_fixed, y_fixed, x_moving, y_moving) is taken as it is. Protocol: Lu et al. 2022 (MultiRegEval).
    """

    task: Annotated[Literal["registration"], tyro.conf.Positional]
    """What is scored."""
    fixed: Path | None = None
    """Folder of fixed images."""
    moving: Path | None = None
    """Folder of moving images, aligned with the fixed ones."""
    pattern: str | None = None
    """Regular expression whose group is what the names of a pair have in common."""
    pairs: Path | None = None
    """Instead of two folders: a CSV table with columns fixed, moving, and perhaps a truth."""
    methods: tuple[str, ...] = ("counterpoint", "mattes", "mattes:starts=12")
    """What is compared: counterpoint (no model), learned (needs --model), or mattes, sift, elastix, ants; with
    settings after a colon, as in mattes:starts=12,bins=50."""
    model: Path | None = None
    """The trained run that "learned" uses."""
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
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("counterpoint-score")
    """Folder for rows (one file a method; goes on where it was stopped), scores and report."""
    json: bool = False
    """Print one JSON object on standard output."""


def command(argv: list[str]) -> tuple[dict[str, Any], int]:
    """Run the command; returns the JSON answer and the exit code."""
    args = parsed(Args, argv, "score")
    listed = _listed(args)
    model = None if args.model is None else load_networks(args.model)
    methods = {name: _method(name, args.transform, model) for name in args.methods}
    trials = _trials(args, listed)
    settings = {"transform": args.transform, "model": str(args.model)}
    rows: list[Outcome] = []
    with outputs(args.out):
        for name, method in methods.items():
            say(f"{name}: {len(trials)} trials")
            rows += score(method, trials, args.out, _file_name(name), settings, each=_said)
        scores = summary(rows)
        _write_report(args, rows, scores)
        answer = {"scores": [asdict(s) for s in scores], "report": str(args.out / "report.html")}
    show(
        f"{len(listed.pairs)} pairs, {args.transform}",
        COLUMNS,
        [_cells(s) for s in scores],
        as_json=args.json,
    )
    return answer, 0


COLUMNS = ("method", "level", "success", "95 % interval", "median px", "95 % interval px", "CPU s")


def _cells(s: Score) -> tuple[object, ...]:
    low, high = s.interval
    a, b = s.median_interval
    return (s.method, s.level, f"{s.success} of {s.of}", f"{low:.0%} – {high:.0%}", f"{s.median:.2f}",
            f"{a:.2f} – {b:.2f}", f"{s.cpu:.2f}")  # fmt: skip


def _said(row: Outcome) -> None:
    result = row.failure or f"{row.error:.2f} px" + ("" if row.success else ", no success")
    say(f"  {row.trial}: {result} ({row.cpu:.1f} CPU-s)")


def _listed(args: Args) -> PairList:
    if args.pairs is not None:
        return read_pairs_csv(args.pairs)
    if args.fixed is None or args.moving is None:
        raise InputError("score: expected --fixed DIR and --moving DIR, or --pairs TABLE.csv")
    return pair_folders(args.fixed, args.moving, args.pattern)


def _trials(args: Args, listed: PairList) -> list[Trial]:
    real = [
        Trial(p.name, _loader(p), t)
        for p in listed.pairs
        if (t := _truth(p, listed_in=args.pairs)) is not None
    ]
    if real and len(real) < len(listed.pairs):
        raise InputError(f"{args.pairs}: expected a truth for all pairs or for none, found {len(real)}")
    if real:
        return real
    levels = [LEVELS[level] for level in args.levels]
    loaders = {p.name: _loader(p) for p in listed.pairs}
    return drawn_trials(loaders, levels, args.seed, args.repeats, border=args.border)  # pyright: ignore[reportArgumentType]


def _loader(pair: Pair) -> Callable[[], Images]:
    return functools.partial(_images, pair)


def _images(pair: Pair) -> Images:
    return read_image(pair.fixed).array, read_image(pair.moving).array


def _truth(pair: Pair, listed_in: Path | None) -> Drawn | Landmarks | np.ndarray | None:
    """The known answer that a table's row states, if it does."""
    entries = [pair.extra.get(f"a{i}{j}", "") for i in (1, 2) for j in (1, 2, 3)]
    try:
        if all(entries):
            return np.vstack((np.array(entries, float).reshape(2, 3), (0.0, 0.0, 1.0)))
        if not pair.extra.get("landmarks"):
            return None
        file = (listed_in or Path()).parent / pair.extra["landmarks"]
        with file.open(newline="", encoding="utf-8-sig") as f:
            points = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(f)]
        sides = [np.array([[p[f"x_{s}"], p[f"y_{s}"]] for p in points]) for s in ("fixed", "moving")]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{pair.name}: expected a truth as numbers, found: {error!r}") from None
    return Landmarks(sides[0], sides[1])


def _method(name: str, transform: Kind, model: Model | None) -> Method:
    """A method by its name and settings, e.g. "mattes:starts=12"."""
    kind, _, settings = name.partition(":")
    if kind in OURS:
        if kind == "learned" and model is None:
            raise InputError("method learned: expected --model RUN, found none")
        options = Options.chosen(transform, yaml.safe_load(_as_yaml(settings)) or {})
        use = model if kind == "learned" else None
        return lambda f, m: register(f, m, use, transform, options=options).matrix
    room = f"{ProcedureConfig.room}.registration"
    if kind not in names(room):
        raise unknown("method", kind, [*OURS, *names(room)])
    config = load(room, kind).Config.from_dict(yaml.safe_load(_as_yaml(settings)) or {}, f"method {kind}")
    procedure = config.build()
    return lambda f, m: procedure(f, m, transform)


def _as_yaml(settings: str) -> str:
    return "\n".join(f"{k}: {v}" for k, _, v in (part.partition("=") for part in settings.split(",")) if k)


def _file_name(name: str) -> str:
    return name.replace(":", " ")


def _write_report(args: Args, rows: list[Outcome], scores: list[Score]) -> None:
    page = Page("How well methods register these pairs",
                f"{len({r.pair for r in rows})} pairs, {args.transform}, success: error ≤ 2 % of the width.")  # fmt: skip
    totals = [s for s in scores if s.level == "total"]
    counts = {s.method: (s.success, s.of, *s.interval) for s in totals}
    page.section("All levels")
    page.table(
        COLUMNS, [_cells(s) for s in totals], best={"success": "max", "median px": "min", "CPU s": "min"}
    )
    page.figures([
        ("Share of successful registrations, with 95 % intervals", success_bars(counts)),
        ("Error of each registration against the displacement it started from", error_scatter(
            [r.initial for r in rows if r.method == totals[0].method],
            {s.method: [np.nan if r.error is None else r.error for r in rows if r.method == s.method] for s in totals},
            threshold=0.02 * rows[0].width)),
    ])  # fmt: skip
    levels = {s.method: {t.level: (t.success, t.of, *t.interval) for t in scores
                         if t.method == s.method and t.level != "total"} for s in totals}  # fmt: skip
    page.section("By level of difficulty")
    page.figures([("Share of successful registrations", success_by_level(levels))])
    page.table(COLUMNS, [_cells(s) for s in scores if s.level != "total"])
    page.settings(plain(asdict(args)))
    page.write(args.out / "report.html")
    import json

    write_text(args.out / "scores.json", json.dumps([asdict(s) for s in scores], indent=1))
