"""Register two images, or every pair of a table: transform, aligned image, report, and how sure it is."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from counterpoint.cli.console import (
    Address,
    File,
    Flag,
    Out,
    Spacing,
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
from counterpoint.cli.pairs import channel
from counterpoint.core.cluster import DIED, Cluster, connected
from counterpoint.core.errors import InputError, WorkError
from counterpoint.core.files import sweep, write_text
from counterpoint.core.networks import FILE, load_networks
from counterpoint.core.untrusted import parse_json
from counterpoint.data.image import Image
from counterpoint.data.pairs import Pair, read_pairs
from counterpoint.data.read import read_image
from counterpoint.data.write import suffix_like
from counterpoint.integrations.hub import fetched
from counterpoint.registration.aligned import write_aligned
from counterpoint.registration.options import Options
from counterpoint.registration.register import GENERAL, NONE, Model, register
from counterpoint.registration.report import write_report
from counterpoint.registration.result import Registration

RESULT, TABLE = "result.json", "summary.csv"
FILES = ("transform.tfm", "transform.json", "transform_3d.tfm", "report.html", RESULT)
"""Beside the registered image."""
ENTRIES = [(f"a{i + 1}{j + 1}", i, j) for i in range(2) for j in range(3)]
"""Columns of the table that hold the matrix, as "score" reads them."""
COLUMNS = (
    "name", "error", "trust", "trusted", "reason", *(name for name, _, _ in ENTRIES),
    "transform_file", "registered", "report", "seconds",
)  # fmt: skip
"""Of the table."""


@dataclass(frozen=True)
class Args:
    """Find the transform that brings MOVING onto FIXED, from any rotation.

    Writes into the output folder: the moving image on the fixed image's pixels, the transform as .tfm (ITK,
    SimpleITK, elastix), _3d.tfm (3D Slicer) and .json, result.json, and a report to look at.
    """

    fixed: Annotated[File, tyro.conf.Positional, tyro.conf.arg(metavar="FIXED")] = None
    """The image that stays: PNG, JPEG, TIFF, OME-TIFF, NIfTI, NRRD, MHA; 2-D."""
    moving: Annotated[File, tyro.conf.Positional, tyro.conf.arg(metavar="MOVING")] = None
    """The image that is brought onto it; of any other modality."""
    pairs: Table = None
    """Instead of two images: a CSV table with columns fixed, moving (and name), or a folder
    that holds one or two folders of images. Each pair gets a folder, all
    get a table; what was done before with the same settings is not done again."""
    out: Out = Path("counterpoint-out")
    """Folder for the results."""
    cluster: Address = None
    """A dask scheduler, as tcp://HOST:PORT or the file it wrote, whose workers register the pairs; of two
    images they bring a moving one that is large onto the fixed one."""
    model: Annotated[str, tyro.conf.arg(metavar="RUN|general|none")] = NONE
    """A trained run (see "counterpoint train"), or one on the Hugging Face hub, hf://OWNER/NAME[@REVISION];
    general is the model that comes with the package; none compares gradients and intensities. Where a model's
    result cannot be trusted, gradients and intensities are asked as well (but for --only)."""
    search: tyro.conf.OmitArgPrefixes[tyro.conf.FlagCreatePairsOff[Options]] = field(default_factory=Options)
    fixed_mask: File = None
    """Image that is not zero where the fixed image counts."""
    moving_mask: File = None
    """Image that is not zero where the moving image counts."""
    fixed_spacing: Spacing = None
    """Size of a pixel of the fixed image; overrides the file's."""
    moving_spacing: Spacing = None
    """Size of a pixel of the moving image, in the same unit."""
    fixed_channel: Word = None
    """Channel of the fixed image to compare by, as a number from 0 or a name; all by default."""
    moving_channel: Word = None
    """Channel of the moving image to compare by; all of them are brought along."""
    labels: Flag = False
    """The moving image is a label image: take nearest pixels when bringing it onto the fixed one."""
    report: Literal["yes", "no"] = "yes"
    """Whether to write report.html."""
    json: Flag = False
    """Print one JSON object on standard output."""


def command(argv: list[str]) -> tuple[dict[str, Any], int]:
    """Run the command; returns the JSON answer and the exit code."""
    args = parsed(Args, argv, "register")
    args = replace(args, model=given(args.model))
    if args.pairs is not None and args.fixed is not None:
        raise InputError("register: expected either two images or --pairs, found both")
    if args.pairs is not None:
        return _many(args, args.pairs)
    if args.fixed is None or args.moving is None:
        raise InputError("register: expected two images FIXED MOVING, or --pairs TABLE.csv")
    return _single(args, Pair(args.fixed, args.moving, args.fixed.name))


def _single(args: Args, pair: Pair) -> tuple[dict[str, Any], int]:
    model = _model(args)
    with connected(args.cluster, say) as cluster, outputs(args.out):
        answer = _registered(args, pair, args.out, model, _made_with(args, pair), say, cluster)
    word = "trusted" if answer["trusted"] else "NOT to be trusted without a look"
    say(answer["transform"])
    say(f"{word} (trust {answer['trust']:.2f}): {answer['reason']}")
    say(f"results in {args.out}")
    if not args.json:
        rows = [(i + 1, *(f"{v:.6f}" for v in row)) for i, row in enumerate(answer["matrix"])]
        show("fixed → moving, pixels (x, y, 1)", ("", "x", "y", "1"), rows)
    return answer, 0


def _registered(
    args: Args,
    pair: Pair,
    out: Path,
    model: Model,
    made_with: dict[str, Any],
    progress: Callable[[str], None],
    cluster: Cluster | None = None,
) -> dict[str, Any]:
    """Register one pair and write everything into ``out``."""
    registered = out / f"registered{suffix_like(pair.moving)}"
    if registered.resolve() in (p.resolve() for p in _inputs(args, pair)):
        raise InputError(f"{registered}: expected an output folder without the images that are read from it")
    sweep(registered, *(out / name for name in FILES))
    fixed = read_image(pair.fixed, channel=channel(args.fixed_channel))
    result = register(
        fixed, read_image(pair.moving, channel=channel(args.moving_channel)), model, args.search.transform,
        options=args.search, fixed_mask=_mask(args.fixed_mask), moving_mask=_mask(args.moving_mask),
        fixed_spacing=args.fixed_spacing, moving_spacing=args.moving_spacing, progress=progress,
    )  # fmt: skip
    progress("writing")
    (out / RESULT).unlink(missing_ok=True)  # of other settings: it must not stand beside what is written now
    whole = _whole(args, pair, result)
    write_aligned(registered, whole, result.transform, result.fixed.grid, labels=args.labels, cluster=cluster)
    for name in FILES[:2]:
        result.save(out / name)
    result.save(out / FILES[2], dimension=3)
    report = out / FILES[3] if args.report == "yes" else None
    if report:
        write_report(result, report, settings=plain(_settings(args)))
    answer = summary(result) | {
        "fixed": pair.fixed, "moving": pair.moving, "registered": registered,
        "transform_file": out / "transform.tfm", "report": report, "made_with": made_with,
    }  # fmt: skip
    write_text(out / RESULT, to_json(answer, indent=1))  # last: where it stands, all the others do
    return plain(answer)


def summary(result: Registration) -> dict[str, Any]:
    """A registration as plain values; ``matrix`` maps fixed → moving pixels (x, y), 0-based."""
    unit = result.fixed.unit if result.fixed.calibrated else "px"
    return {
        "matrix": result.matrix.tolist(),
        "transform": result.transform.describe(unit=unit),
        "kind": result.transform.kind,
        "unit": unit,
        "trust": result.quality.trust,
        "trusted": result.quality.trusted,
        "reason": result.quality.reason,
        "quality": asdict(result.quality),
        "seconds": result.seconds,
    }


def _whole(args: Args, pair: Pair, result: Registration) -> Image:
    """The moving image with all its channels, in the place that the registered one has."""
    if args.moving_channel is None:
        return result.moving
    whole = read_image(pair.moving)
    return replace(result.moving, array=whole.array, channels=whole.channels)


def _many(args: Args, table: Path) -> tuple[dict[str, Any], int]:
    listed = read_pairs(table)
    if any(pair.name in ("", TABLE) for pair in listed.pairs):
        raise InputError(
            f"{table}: expected names that can be folders beside {TABLE}, found that name or none"
        )
    model = _model(args)
    found: dict[int, dict[str, Any]] = {}
    with connected(args.cluster, say) as cluster, outputs(args.out):
        sweep(args.out / TABLE)
        alone = cluster is None
        made = _in_turn(args, listed.pairs, model) if alone else _at_once(args, listed.pairs, cluster)
        for number, row in made:
            found[number] = row
            _write_table(args.out / TABLE, [found[i] for i in sorted(found)])
    rows = [found[i] for i in sorted(found)]
    failed = [row["name"] for row in rows if row["error"]]
    doubted = [row["name"] for row in rows if not row["error"] and not row["trusted"]]
    trusted = len(rows) - len(failed) - len(doubted)
    show(
        f"{len(rows)} pairs: {trusted} trusted, {len(doubted)} to be looked at, {len(failed)} failed",
        ("pair", "trust", "trusted", "seconds", "note"),
        [
            (r["name"], f"{r['trust']:.2f}", "yes" if r["trusted"] else "no", r["seconds"],
             r["error"] or r["reason"])
            for r in rows
        ],
        as_json=args.json,
    )  # fmt: skip
    answer = {"pairs": rows, "failed": failed, "not_trusted": doubted, "table": args.out / TABLE}
    return answer, 1 if failed else 0


Rows = Iterator[tuple[int, dict[str, Any]]]
"""Number of the pair and its row of the table, as they are done."""


def _in_turn(args: Args, pairs: Sequence[Pair], model: Model) -> Rows:
    """One pair after the other."""
    for i, pair in enumerate(pairs):
        say(f"[{i + 1}/{len(pairs)}] {pair.name}")
        made_with = _made_with(args, pair)
        before = _done_before(args, pair, made_with)
        yield i, _told(before or _row(args, pair, model, made_with), before is not None)


def _at_once(args: Args, pairs: Sequence[Pair], cluster: Cluster) -> Rows:
    """What was not done before, on a cluster."""
    jobs: dict[int, _Job] = {}
    for i, pair in enumerate(pairs):
        made_with = _made_with(args, pair)
        if before := _done_before(args, pair, made_with):
            say(f"[{i + 1 - len(jobs)}/{len(pairs)}] {pair.name}")
            yield i, _told(before, True)
        else:
            jobs[i] = _Job(args, pair, made_with)
    numbers = list(jobs)
    ended = cluster.each(_worked, list(jobs.values()), args.out)
    for count, (which, row) in enumerate(ended, len(pairs) - len(jobs) + 1):
        i = numbers[which]
        say(f"[{count}/{len(pairs)}] {pairs[i].name}")
        yield i, _told(row or _failed(pairs[i], DIED, 0.0), False)


@dataclass(frozen=True)
class _Job:
    """A pair for a worker of a cluster."""

    args: Args
    pair: Pair
    made_with: dict[str, Any]


def _worked(job: _Job) -> dict[str, Any]:
    """The row of a pair, in a worker of a cluster."""
    return _row(job.args, job.pair, _model(job.args), job.made_with, wait=True)


def _row(
    args: Args, pair: Pair, model: Model, made_with: dict[str, Any], wait: bool = False
) -> dict[str, Any]:
    """One row of the table; whatever goes wrong with a pair, the others are still to be done.

    ``wait``: for who is at the same pair, for a command that was killed perhaps, and take over what it did.
    """
    start = time.perf_counter()
    try:
        with outputs(out := args.out / pair.name, wait):
            if wait and (before := _done_before(args, pair, made_with)):
                return before
            return _kept(pair, _registered(args, pair, out, model, made_with, lambda _: None))
    except Exception as error:
        expected = isinstance(error, InputError | WorkError)
        reason = str(error) if expected else f"{type(error).__name__}: {error}"
        return _failed(pair, reason, time.perf_counter() - start)


def _kept(pair: Pair, answer: dict[str, Any]) -> dict[str, Any]:
    """What the table keeps of an answer."""
    keep = ("trusted", "reason", "matrix", "transform_file", "registered", "report")
    rounded = {"trust": round(answer["trust"], 4), "seconds": round(answer["seconds"], 2)}
    return {"name": pair.name, "error": ""} | {k: answer[k] for k in keep} | rounded


def _failed(pair: Pair, error: str, seconds: float) -> dict[str, Any]:
    empty = {"trust": 0.0, "trusted": False, "reason": ""}
    return {"name": pair.name, "error": error} | empty | {"seconds": round(seconds, 2)}


def _told(row: dict[str, Any], before: bool) -> dict[str, Any]:
    """The row, after the user was told what is worth telling."""
    if before:
        say("already done")
    elif row["error"]:
        say(f"failed: {row['error']}")
    return row


def _done_before(args: Args, pair: Pair, made_with: dict[str, Any]) -> dict[str, Any] | None:
    """The row of a pair that was made of these images with these settings and stands there whole."""
    out = args.out / pair.name
    try:
        answer = parse_json((out / RESULT).read_text(encoding="utf-8"))
        kinds = [kind for kind in ("transform_file", "registered", "report") if answer[kind]]
        files = {kind: out / Path(answer[kind]).name for kind in kinds}  # the folder may have been moved
        same = answer["made_with"] == json.loads(to_json(made_with))
        if same and all(file.is_file() for file in files.values()):
            return _kept(pair, plain(answer | files))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        matrix = row.get("matrix")
        writer.writerow(row | ({name: matrix[i][j] for name, i, j in ENTRIES} if matrix else {}))
    write_text(path, text.getvalue())


def _settings(args: Args) -> dict[str, Any]:
    """The settings that a result depends on."""
    others = ("fixed", "moving", "pairs", "out", "cluster", "json")
    return {k: v for k, v in asdict(args).items() if k not in others}


def _inputs(args: Args, pair: Pair) -> list[Path]:
    """The files that a result depends on."""
    model = None if args.model in (GENERAL, NONE) else fetched(args.model)
    model = model / FILE if model and model.is_dir() else model
    return [p for p in (pair.fixed, pair.moving, args.fixed_mask, args.moving_mask, model) if p is not None]


def _made_with(args: Args, pair: Pair) -> dict[str, Any]:
    """All that a result depends on, files by place, size and time."""
    files = []
    for path in _inputs(args, pair):
        with suppress(OSError):  # whoever reads it says why it cannot be read
            stat = path.stat()
            files.append([path.resolve(), stat.st_size, stat.st_mtime_ns])
    return {"version": version("counterpoint"), "settings": _settings(args), "files": files}


def _model(args: Args) -> Model:
    """The networks, or the name of what needs none from a file."""
    if args.model in (GENERAL, NONE):
        return args.model
    folder = fetched(args.model)
    file = folder / FILE if folder.is_dir() else folder
    return _loaded(folder, file.absolute(), file.stat().st_mtime_ns if file.is_file() else 0)


@lru_cache(maxsize=1)
def _loaded(folder: Path, _file: Path, _written: int) -> Model:
    """Read once in a process, which may be a worker's and register many pairs."""
    return load_networks(folder)


def _mask(path: Path | None) -> np.ndarray | None:
    if path is None:
        return None
    counts = np.nan_to_num(read_image(path).array) != 0
    return counts if counts.ndim == 2 else counts.any(axis=2)
