"""Apply a procedure to a data set; a smaller set, or another one, comes out to train on."""

from __future__ import annotations

import csv
import io
import os
import time
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from counterpoint.cli.console import Flag, Out, Word, outputs, parsed, plain, say
from counterpoint.core.config import load, names
from counterpoint.core.errors import InputError, unknown
from counterpoint.core.files import aside, write_text
from counterpoint.core.procedure import ProcedureConfig
from counterpoint.data.arrays import PARTS
from counterpoint.data.folder import Files
from counterpoint.data.open import open_data

PAIRS = f"{ProcedureConfig.room}.registration."
"""Where procedures stand that take two images; score and register call those."""
USAGE = """usage: counterpoint apply PROCEDURE --data DATA -o DIR [options]

Make another data set of one. PROCEDURE is one of:
{procedures}.

"counterpoint show PROCEDURE" says what each is, "counterpoint apply PROCEDURE --help" lists all settings.
"""


@dataclass(frozen=True, kw_only=True)
class Given:
    """Apply a procedure to a data set. What comes out is DIR/data.csv or DIR/data.npz, to train on."""

    data: Word = None
    """Images: a folder (classes as subfolders, MNIST or CIFAR as they come), a table, .npz, .npy, archives;
    or digits or shapes, which come with the package."""
    part: Literal["train", "all"] = "train"
    """Which part of data that come in parts; data without parts are all training data."""
    side: int | None = None
    """Pixels of a side that images are resized to."""
    on_error: Literal["stop", "skip"] = "stop"
    """What to do at a file that cannot be read; those skipped are named."""
    out: Out = Path("counterpoint-data")
    """Folder for the new data set: a table of those files that are kept, or the images themselves."""
    json: Flag = False
    """Print one JSON object on standard output."""


def command(argv: list[str]) -> tuple[dict[str, Any], int]:
    """Run the command; returns the JSON answer and the exit code."""
    known = {name: path for name, path in names(ProcedureConfig.room).items() if not path.startswith(PAIRS)}
    if argv and argv[0] in ("-h", "--help"):
        print(USAGE.format(procedures=", ".join(sorted(known))))  # noqa: T201
        return {}, 0
    if not argv or argv[0].startswith("-"):
        raise InputError(f"apply: expected a procedure first, one of {', '.join(sorted(known))}")
    if argv[0] not in known:
        raise unknown("procedure on data", argv[0], known)
    config = load(ProcedureConfig.room, argv[0]).Config()
    flags = make_dataclass(
        "Flags",
        [("settings", type(config), field(default=config))],
        bases=(Given,),
        frozen=True,
        kw_only=True,
    )
    flags.__doc__ = Given.__doc__
    return _applied(parsed(flags, argv[1:], f"apply {argv[0]}"))


def _applied(args: Any) -> tuple[dict[str, Any], int]:
    if args.data is None:
        raise InputError("apply: expected --data FOLDER, FILE or NAME, found none")
    procedure = args.settings.build()
    part = None if args.part == "all" else args.part
    data = open_data(args.data, part, size=args.side, on_error=args.on_error)
    start = time.perf_counter()
    made = procedure(data)
    with outputs(args.out) as folder:
        file = _table(made, folder) if isinstance(made, Files) else _images(made, folder)
    seconds = time.perf_counter() - start
    say(f"{len(made)} images from {len(data)}: {file} ({seconds:.1f} s)")
    say(f"use it with: counterpoint train METHOD --data {file}")
    answer = {"data": args.data, "out": file, "before": len(data), "after": len(made), "seconds": seconds}
    return plain({**answer, "settings": args.settings.to_dict()}), 0


def _table(data: Files, folder: Path) -> Path:
    """Which files are in a set, with all that is known of them, as ``data.table`` reads it."""
    columns: dict[str, list[object]] = {"file": [os.path.relpath(file, folder) for file in data.files]}
    if data.label is not None:
        columns["label"] = [data.classes[i] for i in data.label.tolist()]
    if data.group is not None:
        columns["group"] = data.group.tolist()
    if data.part is not None:
        columns["part"] = [PARTS[i] for i in data.part.tolist()]
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerows([columns, *zip(*columns.values(), strict=True)])
    write_text(folder / "data.csv", text.getvalue())
    return folder / "data.csv"


def _images(data: Any, folder: Path) -> Path:
    """The images of a set, as ``data.arrays`` reads them: 8-bit ones as they are, if they lie in memory."""
    if not hasattr(data, "image"):
        found = np.concatenate([batch["image"].numpy() for batch in data.parts(256)])
    else:
        found = data.image.numpy()
    arrays = {"image": found}
    if data.label is not None:
        arrays |= {"label": data.label.numpy(), "classes": np.array(data.classes)}
    if data.group is not None:
        arrays["group"] = data.group.numpy()
    file = folder / "data.npz"
    with aside(file) as temporary:
        np.savez_compressed(temporary, **arrays)  # pyright: ignore[reportArgumentType] -- numpy's stub is wrong
    return file
