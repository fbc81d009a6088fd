"""Register two images, or every pair of a table: transform, aligned image, report, and how sure it is."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from counterpoint.cli.console import (
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
from counterpoint.core.errors import InputError, WorkError
from counterpoint.core.files import sweep, write_text
from counterpoint.core.networks import FILE, load_networks
from counterpoint.core.untrusted import parse_json
from counterpoint.data.image import Image
from counterpoint.data.pairs import Pair, read_pairs
from counterpoint.data.read import read_image
from counterpoint.data.write import suffix_like, write_image
from counterpoint.integrations.hub import fetched
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
    with outputs(args.out):
        answer = _registered(args, pair, args.out, model, say)
    word = "trusted" if answer["trusted"] else "NOT to be trusted without a look"
    say(answer["transform"])
    say(f"{word} (trust {answer['trust']:.2f}): {answer['reason']}")
    say(f"results in {args.out}")
    if not args.json:
        rows = [(i + 1, *(f"{v:.6f}" for v in row)) for i, row in enumerate(answer["matrix"])]
        show("fixed → moving, pixels (x, y, 1)", ("", "x", "y", "1"), rows)
    return answer, 0


def _registered(
    args: Args, pair: Pair, out: Path, model: Model | None, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Register one pair and write everything into ``out``."""
    registered = out / f"registered{suffix_like(pair.moving)}"
    if registered.resolve() in (p.resolve() for p in _inputs(args, pair)):
        raise InputError(f"{registered}: expected an output folder without the images that are read from it")
    sweep(registered, *(out / name for name in FILES))
    made_with = _made_with(args, pair)
    fixed = read_image(pair.fixed, channel=channel(args.fixed_channel))
    result = register(
        fixed, read_image(pair.moving, channel=channel(args.moving_channel)), model, args.search.transform,
        options=args.search, fixed_mask=_mask(args.fixed_mask), moving_mask=_mask(args.moving_mask),
        fixed_spacing=args.fixed_spacing, moving_spacing=args.moving_spacing, progress=progress,
    )  # fmt: skip
    progress("writing")
    (out / RESULT).unlink(missing_ok=True)  # of other settings: it must not stand beside what is written now
    write_image(registered, result.warp(_whole(args, pair, result), labels=args.labels))
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
    rows: list[dict[str, Any]] = []
    with outputs(args.out):
        sweep(args.out / TABLE)
        for i, pair in enumerate(listed.pairs):
            say(f"[{i + 1}/{len(listed.pairs)}] {pair.name}")
            rows.append(_one_of_many(args, pair, model))
            _write_table(args.out / TABLE, rows)
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


def _one_of_many(args: Args, pair: Pair, model: Model | None) -> dict[str, Any]:
    """One row of the table; whatever goes wrong with a pair, the others are still to be done."""
    out, start = args.out / pair.name, time.perf_counter()
    row = {"name": pair.name, "error": "", "trust": 0.0, "trusted": False, "reason": ""}
    try:
        answer = _done_before(args, pair, out)
        if answer:
            say("already done")
        else:
            with outputs(out):
                answer = _registered(args, pair, out, model, lambda _: None)
    except Exception as error:
        expected = isinstance(error, InputError | WorkError)
        row["error"] = str(error) if expected else f"{type(error).__name__}: {error}"
        say(f"failed: {row['error']}")
        return row | {"seconds": round(time.perf_counter() - start, 2)}
    keep = ("matrix", "trusted", "reason", "transform_file", "registered", "report")
    rounded = {"trust": round(answer["trust"], 4), "seconds": round(answer["seconds"], 2)}
    return row | {k: answer[k] for k in keep} | rounded


def _done_before(args: Args, pair: Pair, out: Path) -> dict[str, Any] | None:
    """The answer that stands in ``out``, if it was made of these images with these settings and is whole."""
    try:
        answer = parse_json((out / RESULT).read_text(encoding="utf-8"))
        kinds = [kind for kind in ("transform_file", "registered", "report") if answer[kind]]
        files = {kind: out / Path(answer[kind]).name for kind in kinds}  # the folder may have been moved
        made_with = json.loads(to_json(_made_with(args, pair)))
        if answer["made_with"] == made_with and all(file.is_file() for file in files.values()):
            return plain(answer | files)
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
    return {k: v for k, v in asdict(args).items() if k not in ("fixed", "moving", "pairs", "out", "json")}


def _inputs(args: Args, pair: Pair) -> list[Path]:
    """The files that a result depends on."""
    model = None if args.model in (GENERAL, NONE) else fetched(args.model)
    model = model / FILE if model and model.is_dir() else model
    return [p for p in (pair.fixed, pair.moving, args.fixed_mask, args.moving_mask, model) if p is not None]


def _made_with(args: Args, pair: Pair) -> dict[str, Any]:
    """All that a result depends on, files by place, size and time."""
    stats = [(p.resolve(), p.stat()) for p in _inputs(args, pair) if p.is_file()]
    files = [[path, stat.st_size, stat.st_mtime_ns] for path, stat in stats]
    return {"version": version("counterpoint"), "settings": _settings(args), "files": files}


def _model(args: Args) -> Model:
    """The networks, or the name of what needs none from a file."""
    return args.model if args.model in (GENERAL, NONE) else load_networks(fetched(args.model))


def _mask(path: Path | None) -> np.ndarray | None:
    if path is None:
        return None
    counts = np.nan_to_num(read_image(path).array) != 0
    return counts if counts.ndim == 2 else counts.any(axis=2)
