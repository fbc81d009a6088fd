"""Train a method on aligned pairs of images; the run folder is then a model for "register"."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
import yaml

from counterpoint.cli.console import parsed, plain, say
from counterpoint.core.config import Config, load, names
from counterpoint.core.errors import InputError, unknown
from counterpoint.core.method import MethodConfig
from counterpoint.data.aligned import AlignedPatches, read_aligned
from counterpoint.data.pairs import PairList, pair_folders, read_pairs_csv
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
USAGE = """usage: counterpoint train METHOD --fixed DIR --moving DIR -o RUN [options]

Learn a representation from aligned pairs of images. METHOD is one of: {methods}.

"counterpoint train METHOD --help" lists all settings. Besides them:
  --config FILE        take settings from the run.yaml of another run; flags still override
  --use PART=KIND      put another kind of part in a setting's place, e.g. --use method.fixed=tiramisu
"""


def command(argv: list[str]) -> tuple[dict[str, Any], int]:
    """Run the command; returns the JSON answer and the exit code."""
    room = MethodConfig.room
    if not argv or argv[0].startswith("-"):
        text = USAGE.format(methods=", ".join(sorted(names(room))))
        if argv and argv[0] in ("-h", "--help"):
            print(text)  # noqa: T201
            return {}, 0
        raise InputError(f"train: expected a method first, one of {', '.join(sorted(names(room)))}")
    kind, rest = argv[0], argv[1:]
    method = load(room, kind).Config
    rest, chosen = _taken(rest, "--use")
    rest, config = _taken(rest, "--config")
    settings = {"method": method(), "train": SHORT}
    for file in config:
        settings |= _read(Path(file), kind)
    for part in chosen:
        settings = _used(settings, part)
    args = parsed(_flags(settings), rest, f"train {kind}")
    return _train(args)


@dataclass(frozen=True, kw_only=True)
class _Data:
    fixed: Path | None = None
    """Folder of fixed images."""
    moving: Path | None = None
    """Folder of moving images, each aligned with its fixed image pixel by pixel."""
    pairs: Path | None = None
    """Instead of two folders: a CSV table with columns fixed, moving."""
    pattern: str | None = None
    """Regular expression whose group is what the names of a pair have in common, e.g. "(core_[0-9]+)"."""
    fixed_channel: str | None = None
    """Channel of the fixed images to train on, as a number from 0 or a name; all by default."""
    moving_channel: str | None = None
    """Channel of the moving images to train on."""
    patches: int = 1024
    """Patches an epoch has."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("counterpoint-run")
    """Run folder; a run that was stopped goes on, a finished one is left alone."""
    json: bool = False
    """Print one JSON object on standard output."""


def _flags(settings: dict[str, Config]) -> type[Any]:
    """A dataclass whose fields become the flags: those of the data, and all settings with their defaults."""
    fields = [(k, type(v), field(default=v)) for k, v in settings.items()]
    flags = make_dataclass("Flags", fields, bases=(_Data,), frozen=True, kw_only=True)
    flags.__doc__ = "Learn a representation from aligned pairs of images."
    return flags


def _train(args: Any) -> tuple[dict[str, Any], int]:
    listed = _listed(args)
    say(f"{len(listed.pairs)} pairs, paired {listed.how}: {_some([p.name for p in listed.pairs])}")
    if listed.left:
        say(f"{len(listed.left)} left without a partner: {_some([p.name for p in listed.left])}")
    images = read_aligned(
        [(p.fixed, p.moving) for p in listed.pairs],
        _channel(args.fixed_channel),
        _channel(args.moving_channel),
    )
    channels = {role: images[0][i].shape[2] for i, role in enumerate(("fixed", "moving"))}
    method = fresh(_with_channels(args.method, channels), args.train.seed)
    views = getattr(method, "views", None)
    data = AlignedPatches(images, side=getattr(views, "tile", 0), length=args.patches)
    about = {
        "pairs": [p.name for p in listed.pairs], "sizes": [list(f.shape) for f, _ in images],
        "channels": channels, "patches": args.patches,
    }  # fmt: skip
    start = time.perf_counter()
    done = fit(method, data, args.train, args.out, about=about)
    if done.already_done:
        say(f"{args.out}: this run was finished before")
    say(
        f"loss {done.loss:.4f} after {done.steps} steps; use it with: counterpoint register --model {args.out} …"
    )
    answer = {
        "run": args.out, "networks": done.networks, "steps": done.steps, "loss": done.loss,
        "resumed_from": done.resumed_from, "seconds": time.perf_counter() - start,
        "paired": about["pairs"], "left": [str(p) for p in listed.left],
    }  # fmt: skip
    return plain(answer), 0


def _listed(args: Any) -> PairList:
    if args.pairs is not None:
        return read_pairs_csv(args.pairs)
    if args.fixed is None or args.moving is None:
        raise InputError("train: expected --fixed DIR and --moving DIR, or --pairs TABLE.csv")
    return pair_folders(args.fixed, args.moving, args.pattern)


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


def _channel(name: str | None) -> int | str | None:
    return int(name) if name is not None and name.lstrip("-").isdigit() else name


def _some(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
