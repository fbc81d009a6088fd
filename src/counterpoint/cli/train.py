"""Train a method; the run folder is then a model for "register", or for "score" and "embed"."""

from __future__ import annotations

import dataclasses
import shlex
import time
from dataclasses import field, make_dataclass
from pathlib import Path
from typing import Any

from counterpoint.cli.argv import taken
from counterpoint.cli.console import parsed, plain, say, show
from counterpoint.cli.trainable import FromPairs, Ready, Run, kind_of_data
from counterpoint.core.config import Config, load, names
from counterpoint.core.errors import InputError, unknown
from counterpoint.core.method import MethodConfig
from counterpoint.core.untrusted import parse_yaml, read_text
from counterpoint.train.config import TrainConfig
from counterpoint.train.loop import fit
from counterpoint.train.processes import rank
from counterpoint.train.profile import Stages

ROOM = MethodConfig.room
USAGE = """usage: counterpoint train METHOD (--fixed DIR --moving DIR | --data DATA) -o RUN [options]

Learn a representation, from aligned pairs of images or from images, as METHOD needs. METHOD is one of:
{methods}.

"counterpoint methods" says what each is, "counterpoint train METHOD --help" lists all settings.
"""
ABOUT = """

Besides the options below, --config FILE takes settings from the run.yaml of another run, and
--use PART=KIND puts another kind of part in its place, e.g. --use method.{part}=KIND;
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
    rest, chosen = taken(rest, "--use")
    rest, files = taken(rest, "--config")
    method = load(ROOM, kind).Config()
    data, usual = kind_of_data(method)
    settings: dict[str, Config] = {"method": method, "train": usual}
    for file in files:
        settings |= _read(Path(file), kind)
    for part in chosen:
        settings = _used(settings, part)
    return _train(parsed(_flags(settings, data), rest, f"train {kind}"))


def _flags(settings: dict[str, Config], data: type[Run]) -> type[Any]:
    """A dataclass whose fields become the flags: those of the data, and all settings with their defaults."""
    fields = [(k, type(v), field(default=v)) for k, v in settings.items()]
    flags = make_dataclass("Flags", fields, bases=(data,), frozen=True, kw_only=True)
    whole = settings["method"]
    parts = [f.name for f in dataclasses.fields(whole) if isinstance(getattr(whole, f.name), Config)]
    flags.__doc__ = (data.__doc__ or "") + ABOUT.format(part=parts[0] if parts else "PART")
    return flags


def _train(args: Any) -> tuple[dict[str, Any], int]:
    ready: Ready = args.ready(args.method, args.train.seed)
    start, profile = time.perf_counter(), Stages(args.profile)
    try:
        done = fit(ready.method, ready.data, args.train, args.out, about=ready.about, profile=profile)
    finally:  # who interrupts a run may have seen enough of it
        _show(profile, args)
    if rank():  # the first of several processes says it for all
        return {}, 0
    if done.already_done:
        say(f"{args.out}: this run was finished before")
    say(f"loss {done.loss:.4f} after {done.steps} steps")
    run = shlex.quote(str(args.out))
    use = (
        f"register FIXED MOVING --model {run}"
        if isinstance(args, FromPairs)
        else f"score {run} knn --data DATA"
    )
    say(f"use it with: counterpoint {use}")
    answer = {
        "run": args.out, "networks": done.networks, "steps": done.steps, "loss": done.loss,
        "resumed_from": done.resumed_from, "seconds": time.perf_counter() - start,
        "warnings": done.warnings, **ready.answer, **({"profile": profile.to_dict()} if args.profile else {}),
    }  # fmt: skip
    return plain(answer), 0


def _show(profile: Stages, args: Any) -> None:
    """Where the time of the updates went, if it was asked for."""
    if not profile.on or rank():
        return
    if not (rows := profile.rows()):
        say("--profile: expected two updates or more, of which the first is not counted, found fewer")
        return
    cells = [(stage, f"{s:.2f}", f"{share:.1%}", f"{rate:.0f}") for stage, s, share, rate in rows]
    whole = profile.to_dict()
    cells.append(("all", f"{whole['seconds']:.2f}", "100.0%", f"{whole['samples_per_second']:.0f}"))
    title = f"Time of {profile.updates} updates (without the first, {profile.first:.2f} s)"
    show(title, ("stage", "seconds", "share", "samples/s by itself"), cells, args.json)
    say(profile.sentence())


def _read(file: Path, kind: str) -> dict[str, Config]:
    """Method and training settings from a run.yaml or a recipe of the same form."""
    text = read_text(file, "settings as YAML")
    try:
        read = parse_yaml(text)
    except ValueError as error:
        raise InputError(f"{file}: expected settings as YAML, found: {error}") from None
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
