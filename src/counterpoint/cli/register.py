"""Register two images, or every pair of a table: transform, aligned image, report, and how sure it is."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from counterpoint.cli.console import outputs, parsed, plain, say, show
from counterpoint.core.errors import InputError, WorkError
from counterpoint.core.files import write_text
from counterpoint.core.networks import load_networks
from counterpoint.data.pairs import Pair, read_pairs_csv
from counterpoint.data.read import read_image
from counterpoint.data.write import suffix_like, write_image
from counterpoint.registration.register import Model, Options, register
from counterpoint.registration.report import write_report
from counterpoint.registration.result import Registration


@dataclass(frozen=True)
class Args:
    """Find the transform that brings MOVING onto FIXED, from any rotation.

    Writes into the output folder: the moving image on the fixed image's pixels, the transform as .tfm (ITK,
    SimpleITK, elastix), _3d.tfm (3D Slicer) and .json, and a report to look at.
    """

    fixed: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="FIXED")] = None
    """The image that stays: PNG, JPEG, TIFF, OME-TIFF, NIfTI, NRRD, MHA; 2-D."""
    moving: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="MOVING")] = None
    """The image that is brought onto it; of any other modality."""
    pairs: Path | None = None
    """Instead of two images: a CSV table with columns fixed, moving (and name). Goes on where it was stopped."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("counterpoint-out")
    """Folder for the results."""
    model: Path | None = None
    """A trained run (see "counterpoint train"); without it gradients and intensities are compared."""
    search: tyro.conf.OmitArgPrefixes[Options] = field(default_factory=Options)
    fixed_mask: Path | None = None
    """Image that is not zero where the fixed image counts."""
    moving_mask: Path | None = None
    """Image that is not zero where the moving image counts."""
    fixed_spacing: tuple[float, float] | None = None
    """Size of a pixel of the fixed image (x, y); overrides the file's."""
    moving_spacing: tuple[float, float] | None = None
    """Size of a pixel of the moving image (x, y), in the same unit."""
    fixed_channel: str | None = None
    """Channel of the fixed image to compare by, as a number from 0 or a name; all by default."""
    moving_channel: str | None = None
    """Channel of the moving image to compare by; all of them are brought along."""
    labels: bool = False
    """The moving image is a label image: take nearest pixels when bringing it onto the fixed one."""
    report: Literal["yes", "no"] = "yes"
    """Whether to write report.html."""
    json: bool = False
    """Print one JSON object on standard output."""


def command(argv: list[str]) -> tuple[dict[str, Any], int]:
    """Run the command; returns the JSON answer and the exit code."""
    args = parsed(Args, argv, "register")
    if args.pairs is None:
        if args.fixed is None or args.moving is None:
            raise InputError("register: expected two images FIXED MOVING, or --pairs TABLE.csv")
        return _single(args, args.fixed, args.moving)
    if args.fixed is not None:
        raise InputError("register: expected either two images or --pairs, found both")
    return _many(args, args.pairs)


def _single(args: Args, fixed: Path, moving: Path) -> tuple[dict[str, Any], int]:
    model = None if args.model is None else load_networks(args.model)
    read_image(fixed), read_image(moving)  # a file that cannot be read is found before a folder is made
    with outputs(args.out):
        answer = _registered(args, fixed, moving, args.out, model, say)
    word = "trusted" if answer["trusted"] else "NOT to be trusted without a look"
    say(f"{answer['transform']}")
    say(f"{word} (trust {answer['trust']:.2f}): {answer['reason']}")
    say(f"results in {args.out}")
    if not args.json:
        show("fixed → moving, pixels (x, y, 1)", ("", "x", "y", "1"),
             [(i + 1, *(f"{v:.6f}" for v in row)) for i, row in enumerate(answer["matrix"])])  # fmt: skip
    return answer, 0


def _registered(
    args: Args,
    fixed: Path,
    moving: Path,
    out: Path,
    model: Model | None,
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """Register one pair and write everything into ``out``."""
    compare = {
        "fixed": read_image(fixed, channel=_channel(args.fixed_channel)),
        "moving": read_image(moving, channel=_channel(args.moving_channel)),
    }
    result = register(
        **compare, model=model, transform=args.search.transform, options=args.search,
        fixed_mask=_mask(args.fixed_mask), moving_mask=_mask(args.moving_mask),
        fixed_spacing=args.fixed_spacing, moving_spacing=args.moving_spacing, progress=progress,
    )  # fmt: skip
    whole = result.moving if args.moving_channel is None else read_image(moving, spacing=args.moving_spacing)
    progress("writing")
    registered = out / f"registered{suffix_like(moving)}"
    write_image(registered, result.warp(whole, labels=args.labels))
    for name in ("transform.tfm", "transform.json"):
        result.save(out / name)
    result.save(out / "transform_3d.tfm", dimension=3)
    if args.report == "yes":
        write_report(result, out / "report.html", settings=plain(_settings(args)))
    answer = summary(result) | {
        "fixed": str(fixed), "moving": str(moving), "registered": str(registered),
        "transform_file": str(out / "transform.tfm"),
        "report": str(out / "report.html") if args.report == "yes" else None,
    }  # fmt: skip
    write_text(out / "result.json", json.dumps(answer, indent=1))
    return answer


def summary(result: Registration) -> dict[str, Any]:
    """A registration as plain values; ``matrix`` maps fixed → moving pixels (x, y), 0-based."""
    quality = result.quality
    return {
        "matrix": result.matrix.tolist(),
        "transform": result.transform.describe(unit=result.fixed.unit if result.fixed.calibrated else "px"),
        "kind": result.transform.kind,
        "trust": quality.trust,
        "trusted": quality.trusted,
        "reason": quality.reason,
        "quality": asdict(quality),
        "seconds": result.seconds,
    }


def _many(args: Args, table: Path) -> tuple[dict[str, Any], int]:
    listed = read_pairs_csv(table)
    model = None if args.model is None else load_networks(args.model)
    rows: list[dict[str, Any]] = []
    with outputs(args.out):
        for i, pair in enumerate(listed.pairs):
            say(f"[{i + 1}/{len(listed.pairs)}] {pair.name}")
            rows.append(_one_of_many(args, pair, model))
            _write_table(args.out / "summary.csv", rows)
    failed = [row["name"] for row in rows if row["error"]]
    doubted = [row["name"] for row in rows if not row["error"] and not row["trusted"]]
    show(f"{len(rows)} pairs: {len(rows) - len(failed) - len(doubted)} trusted, {len(doubted)} to be looked at, "
         f"{len(failed)} failed", ("pair", "trust", "trusted", "seconds", "note"),
         [(r["name"], r["trust"], r["trusted"], r["seconds"], r["error"] or r["reason"]) for r in rows],
         as_json=args.json)  # fmt: skip
    answer = {"pairs": rows, "failed": failed, "not_trusted": doubted, "table": str(args.out / "summary.csv")}
    return answer, 1 if failed else 0


def _one_of_many(args: Args, pair: Pair, model: Model | None) -> dict[str, Any]:
    """One row of the table; a pair already done with these settings is not done again."""
    out, row = args.out / pair.name, {"name": pair.name, "error": ""}
    made_with = json.dumps([plain(_settings(args)), *(_stamp(p) for p in (pair.fixed, pair.moving))])
    done = out / "done.json"
    start = time.perf_counter()
    try:
        if done.is_file() and json.loads(done.read_text(encoding="utf-8")).get("made_with") == made_with:
            say("already done")
            answer = json.loads((out / "result.json").read_text(encoding="utf-8"))
        else:
            read_image(pair.fixed), read_image(pair.moving)
            with outputs(out):
                answer = _registered(args, pair.fixed, pair.moving, out, model, lambda _: None)
                write_text(done, json.dumps({"made_with": made_with}))
        keep = ("matrix", "trust", "trusted", "reason", "transform_file", "registered", "report")
        row |= {k: answer[k] for k in keep}
        row["trust"] = round(answer["trust"], 4)
    except (InputError, WorkError, OSError, MemoryError) as error:
        say(f"failed: {error}")
        row |= {"error": str(error), "trust": 0.0, "trusted": False, "reason": ""}
    return row | {"seconds": round(time.perf_counter() - start, 2)}


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    text = io.StringIO()
    names = list(dict.fromkeys(k for row in rows for k in row))
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _settings(args: Args) -> dict[str, Any]:
    """The settings that a result depends on."""
    return {k: v for k, v in asdict(args).items() if k not in ("fixed", "moving", "pairs", "out", "json")}


def _stamp(path: Path) -> list[Any]:
    stat = path.stat()
    return [str(path), stat.st_size, stat.st_mtime_ns]


def _channel(name: str | None) -> int | str | None:
    return int(name) if name is not None and name.lstrip("-").isdigit() else name


def _mask(path: Path | None) -> Any:
    if path is None:
        return None
    array = read_image(path).array
    return (array if array.ndim == 2 else array.any(axis=2)) != 0
