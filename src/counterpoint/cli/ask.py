"""Ask a trained run a question that a task answers in numbers: "score" for all tasks but registration."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Any

from counterpoint.cli.console import Flag, Out, Word, outputs, parsed, say, show
from counterpoint.cli.model import given
from counterpoint.core.config import Config, load, names
from counterpoint.core.errors import InputError, unknown
from counterpoint.core.files import write_text
from counterpoint.core.networks import about, load_networks
from counterpoint.core.task import Task, TaskConfig
from counterpoint.data.open import open_data
from counterpoint.data.split import train_test
from counterpoint.integrations.hub import fetched


@dataclass(frozen=True, kw_only=True)
class _Asked:
    data: Word = None
    """Samples to learn from: a folder, a table, .npz or .npy, or the name of a set that comes with us."""
    test: Word = None
    """Samples to be judged by; without it the data's own test part, or a fifth of each class."""
    side: int | None = None
    """Pixels of a side that images are resized to; by default what the run was trained on."""
    seed: int = 0
    """Of the split and of whatever else the task draws."""
    out: Out = Path("counterpoint-score")
    """Folder for TASK.json."""
    json: Flag = False
    """Print one JSON object on standard output."""


def tasks() -> list[str]:
    """The tasks there are."""
    return sorted(names(TaskConfig.room))


def asked(run: str, argv: list[str]) -> tuple[dict[str, Any], int]:
    """``counterpoint score RUN TASK …``: returns the JSON answer and the exit code."""
    known = tasks()
    if not argv or argv[0].startswith("-"):
        raise InputError(f"score: expected a task after the run, one of {', '.join(known)}")
    kind, rest = argv[0], argv[1:]
    if kind not in known:
        raise unknown("task", kind, known)
    config: Any = load(TaskConfig.room, kind).Config()
    args: Any = parsed(_flags(config), rest, f"score {run} {kind}")
    if args.data is None:
        raise InputError("score: expected --data FOLDER, FILE or NAME, found none")
    run = given(run)
    file = fetched(run)
    networks = load_networks(file)
    role = args.task.role
    if role not in networks:
        raise unknown("role", role, networks)
    shape = about(file).get("data", {}).get("shape", [None, None, None])
    size = args.side or shape[1]
    train = open_data(args.data, size=size, channels=shape[0])
    if args.test is None:
        train, test = train_test(train, seed=args.seed)
    else:
        test = open_data(args.test, size=size, channels=shape[0])
    task: Task = args.task.build()
    missing = task.needs - train.provides
    if missing:
        raise InputError(f"{args.data}: expected {' and '.join(sorted(missing))} for {kind}, found none")
    say(f"{kind} of {run}: {len(train)} samples to learn from, {len(test)} to be judged by")
    numbers = {name: float(v) for name, v in task(networks.__getitem__, train, test, args.seed).items()}
    settings = {k: getattr(args, k) for k in ("data", "test", "seed")} | {"task": args.task.to_dict()}
    answer = {
        "run": run, "task": kind, "scores": numbers,
        "train": len(train), "test": len(test), "settings": settings,
    }  # fmt: skip
    with outputs(args.out) as folder:
        write_text(folder / f"{kind}.json", json.dumps(answer, indent=1))
    rows = [(name, f"{value:.4f}") for name, value in numbers.items()]
    show(f"{kind} of {run}", ("metric", "value"), rows, args.json)
    return answer, 0


def _flags(config: Config) -> type[Any]:
    return make_dataclass(
        "Flags",
        [("task", type(config), field(default=config))],
        bases=(_Asked,),
        frozen=True,
        kw_only=True,
        namespace={"__doc__": config.owner.__doc__},
    )
