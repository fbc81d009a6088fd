"""Train a method on aligned pairs of images; the run folder is then a model for "register"."""

from __future__ import annotations

import dataclasses
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from counterpoint.cli.console import File, Flag, Folder, Out, Word, parsed, plain, say
from counterpoint.cli.pairs import channel, listed
from counterpoint.core.config import Config, load, names
from counterpoint.core.errors import InputError, unknown
from counterpoint.core.method import MethodConfig
from counterpoint.data.aligned import Aligned, AlignedPatches, read_aligned
from counterpoint.data.pairs import Pair
from counterpoint.train.config import TrainConfig
from counterpoint.train.loop import fit, fresh
from counterpoint.train.optim import OptimConfig

SHORT = TrainConfig(
    steps=1000,
    batch=24,
    clip_each="role",
    optim=OptimConfig(name="adam", lr=4e-3, weight_decay=0.0, schedule="onecycle", warmup=0.1),
)
"""A few minutes on a processor."""
ROOM = f"{MethodConfig.room}.registration"
USAGE = """usage: counterpoint train METHOD --fixed DIR --moving DIR -o RUN [options]

Learn a representation from aligned pairs of images. METHOD is one of: {methods}.

"counterpoint train METHOD --help" lists all settings.
"""
ABOUT = """Learn a representation from aligned pairs of images.

Besides the options below, --config FILE takes settings from the run.yaml of another run, and
--use PART=KIND puts another kind of part in its place, e.g. --use method.fixed=tiramisu;
options then override them.
"""


def command(argv: list[str]) -> tuple[dict[str, Any], int]:
    """Run the command; returns the JSON answer and the exit code."""
    known = names(ROOM)
    if argv and argv[0] in ("-h", "--help"):
        print(USAGE.format(methods=", ".join(sorted(known))))  # noqa: T201
        return {}, 0
    if not argv or argv[0].startswith("-"):
        raise InputError(f"train: expected a method first, one of {', '.join(sorted(known))}")
    kind, rest = argv[0], argv[1:]
    if kind not in known:
        raise unknown("method", kind, known)
    rest, chosen = _taken(rest, "--use")
    rest, files = _taken(rest, "--config")
    settings = {"method": load(ROOM, kind).Config(), "train": SHORT}
    for file in files:
        settings |= _read(Path(file), kind)
    for part in chosen:
        settings = _used(settings, part)
    return _train(parsed(_flags(settings), rest, f"train {kind}"))


@dataclass(frozen=True, kw_only=True)
class _Data:
    fixed: Folder = None
    """Folder of fixed images."""
    moving: Folder = None
    """Folder of moving images, each aligned with its fixed image pixel by pixel."""
    pairs: File = None
    """Instead of two folders: a CSV table with columns fixed, moving."""
    pattern: Word = None
    """Regular expression whose group is what the names of a pair have in common, e.g. "(core_[0-9]+)"."""
    fixed_channel: Word = None
    """Channel of the fixed images to train on, as a number from 0 or a name; all by default."""
    moving_channel: Word = None
    """Channel of the moving images to train on."""
    patches: int = 1024
    """Patches an epoch has."""
    out: Out = Path("counterpoint-run")
    """Run folder; a run that was stopped goes on, a finished one is left alone."""
    json: Flag = False
    """Print one JSON object on standard output."""


def _flags(settings: dict[str, Config]) -> type[Any]:
    """A dataclass whose fields become the flags: those of the data, and all settings with their defaults."""
    fields = [(k, type(v), field(default=v)) for k, v in settings.items()]
    flags = make_dataclass("Flags", fields, bases=(_Data,), frozen=True, kw_only=True)
    flags.__doc__ = ABOUT
    return flags


def _train(args: Any) -> tuple[dict[str, Any], int]:
    found = listed("train", args.fixed, args.moving, args.pairs, args.pattern)
    images = read_aligned(
        [(p.fixed, p.moving) for p in found.pairs], channel(args.fixed_channel), channel(args.moving_channel)
    )
    _check_contrast(found.pairs, images)
    channels = {role: images[0][i].shape[2] for i, role in enumerate(("fixed", "moving"))}
    method = fresh(_with_channels(args.method, channels), args.train.seed)
    views = getattr(method, "views", None)
    data = AlignedPatches(images, side=getattr(views, "tile", 0), length=args.patches)
    about = {
        "pairs": [p.name for p in found.pairs], "sizes": [list(f.shape) for f, _ in images],
        "channels": channels, "patches": args.patches,
    }  # fmt: skip
    start = time.perf_counter()
    done = fit(method, data, args.train, args.out, about=about)
    if done.already_done:
        say(f"{args.out}: this run was finished before")
    say(f"loss {done.loss:.4f} after {done.steps} steps")
    say(f"use it with: counterpoint register FIXED MOVING --model {shlex.quote(str(args.out))}")
    answer = {
        "run": args.out, "networks": done.networks, "steps": done.steps, "loss": done.loss,
        "resumed_from": done.resumed_from, "seconds": time.perf_counter() - start,
        "paired": about["pairs"], "left": found.left,
    }  # fmt: skip
    return plain(answer), 0


def _check_contrast(pairs: Sequence[Pair], images: Sequence[Aligned]) -> None:
    for pair, both in zip(pairs, images, strict=True):
        for path, image in zip((pair.fixed, pair.moving), both, strict=True):
            if np.ptp(image) == 0:
                raise InputError(
                    f"{path}: expected an image with contrast, found the same value at every pixel"
                )


def _with_channels(method: MethodConfig, channels: dict[str, int]) -> MethodConfig:
    """The networks' input channels as the data have them."""
    parts = {role: dataclasses.replace(getattr(method, role), channels=n) for role, n in channels.items()}
    return dataclasses.replace(method, **parts)


def _taken(argv: Sequence[str], flag: str) -> tuple[list[str], list[str]]:
    """``argv`` without ``flag VALUE`` (or ``flag=VALUE``), and the values."""
    rest, values, i = [], [], 0
    while i < len(argv):
        if argv[i] == flag:
            if i + 1 == len(argv):
                raise InputError(f"{flag}: expected a value after it, found nothing")
            values.append(argv[i + 1])
            i += 1
        elif argv[i].startswith(f"{flag}="):
            values.append(argv[i].partition("=")[2])
        else:
            rest.append(argv[i])
        i += 1
    return rest, values


def _read(file: Path, kind: str) -> dict[str, Config]:
    """Method and training settings from a run.yaml or a recipe of the same form."""
    try:
        read = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{file}: expected settings as YAML, found: {str(error).splitlines()[0]}") from None
    if not isinstance(read, dict):
        raise InputError(f"{file}: expected a table of settings, found {type(read).__name__}")
    read = read.get("settings", read)
    found: dict[str, Config] = {}
    if "method" in read:
        method = MethodConfig.from_dict(read["method"], f"{file}: method")
        if method.kind != kind:
            raise InputError(f"{file}: expected settings of {kind}, found those of {method.kind}")
        found["method"] = method
    if "train" in read:
        found["train"] = TrainConfig.from_dict(read["train"], f"{file}: train")
    return found


def _used(settings: dict[str, Config], part: str) -> dict[str, Config]:
    """``settings`` with the part at "method.fixed=tiramisu" replaced by the defaults of that kind."""
    path, _, kind = part.partition("=")
    first, _, name = path.partition(".")
    if not kind or first not in settings or not name:
        raise InputError(f"--use: expected a part and a kind such as method.fixed=tiramisu, found {part!r}")
    whole = settings[first]
    old = getattr(whole, name, None)
    if not isinstance(old, Config) or not old.room:
        parts = [f.name for f in dataclasses.fields(whole) if isinstance(getattr(whole, f.name), Config)]
        raise unknown("part", path, [f"{first}.{p}" for p in parts])
    new = load(old.room, kind).Config()
    return settings | {first: dataclasses.replace(whole, **{name: new})}
