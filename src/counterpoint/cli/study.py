"""Study: several ways of training a method on your own pairs, judged alike, with one report of the answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, make_dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, Literal

import tyro

from counterpoint.cli.console import Flag, Out, outputs, parsed, plain, say, show
from counterpoint.cli.pairs import channel, listed
from counterpoint.cli.trainable import PairFlags
from counterpoint.core.config import Config, load
from counterpoint.core.errors import InputError, unknown
from counterpoint.core.method import MethodConfig
from counterpoint.core.rng import generator
from counterpoint.core.study import Study
from counterpoint.data.pairs import Pair
from counterpoint.evidence.on_pairs import OnPairs
from counterpoint.evidence.study import Answer, Plan, load_study, planned, run, studies, updates, write
from counterpoint.evidence.study_report import write_report
from counterpoint.metrics.intervals import bootstrap_mean
from counterpoint.train.config import TrainConfig
from counterpoint.train.optim import OptimConfig

LEVELS = {"1": 1, "2": 2, "3": 3, "4": 4, "full": "full"}
SHORT = TrainConfig(
    steps=300, batch=16, clip_each="role", log_every=10, device="cpu",
    optim=OptimConfig(name="adam", lr=4e-3, weight_decay=0.0, schedule="onecycle", warmup=0.1),
)  # fmt: skip
"""Short, because there are many arms."""
USAGE = """usage: counterpoint study NAME --pairs DIR [options]

Train the arms of a study with several seeds, judge them alike, and answer its question. NAME is one of:
{names}.

"counterpoint study NAME --help" lists all settings.
"""


@dataclass(frozen=True, kw_only=True)
class Flags(PairFlags):
    """Train every arm of a study with every seed on aligned pairs, register others, and answer.

    A table may say in a column "part" which pairs are "train" and which "test"; else a share of them is drawn
    for the test. What is done is kept: the same command goes on where it was stopped.
    """

    test: float = 0.5
    """Share of the pairs that is registered and not trained on, if no table says."""
    seeds: int = 5
    """Trainings of every arm."""
    arms: Annotated[tuple[str, ...], tyro.conf.arg(metavar="ARM ...", help_behavior_hint="")] = ()
    """Only these arms; all if none is named."""
    levels: tuple[Literal["1", "2", "3", "4", "full"], ...] = ("1", "2", "3", "4")
    """Levels of displacement at which the test pairs are registered."""
    repeats: int = 1
    """Draws per test pair and level."""
    patch: int = 0
    """Side in pixels of the middle part of the test images that is registered, 0 for all: a small part is
    harder, and arms are told apart only where not all of them succeed always."""
    jobs: int = 0
    """Trainings at a time; 0 for as many as there are cores."""
    draws: int = 0
    """Seed of the displacements, and of the choice of test pairs."""
    out: Out = Path("counterpoint-study")
    """Folder for runs, results, study.json and report.html."""
    json: Flag = False
    """Print one JSON object on standard output."""


def command(argv: list[str]) -> tuple[dict[str, Any], int]:
    """Run the command; returns the JSON answer and the exit code."""
    known = sorted(name.replace("_", "-") for name in studies())
    if argv and argv[0] in ("-h", "--help"):
        print(USAGE.format(names=", ".join(known)))  # noqa: T201
        return {}, 0
    if not argv or argv[0].startswith("-"):
        raise InputError(f"study: expected a study first, one of {', '.join(known)}")
    study = load_study(argv[0])
    base = load(MethodConfig.room, study.method).Config()
    fields = [("method", type(base), field(default=base)), ("train", TrainConfig, field(default=SHORT))]
    kind = make_dataclass("StudyFlags", fields, bases=(Flags,), frozen=True, kw_only=True)
    kind.__doc__ = Flags.__doc__
    args = parsed(kind, argv[1:], f"study {argv[0]}")
    plan = _plan(study, args)
    with outputs(args.out):
        say(f"{len(plan.arms)} arms with {args.seeds} seeds each: {len(plan.jobs)} trainings")
        answer = run(plan, args.jobs, say)
        values = {f.name: getattr(args, f.name) for f in dataclasses.fields(args)}
        settings = plain({k: v.to_dict() if isinstance(v, Config) else v for k, v in values.items()})
        write(args.out / "study.json", argv[0], plan, answer, settings)
        report = args.out / "report.html"
        write_report(report, plan, answer, columns(study), rows(plan, answer), settings)
    show(study.asks, columns(study), rows(plan, answer), as_json=args.json)
    say(f"what the paper says: {answer.verdict}; the report is {report}")
    findings = [asdict(f) for f in answer.findings]
    return {"verdict": answer.verdict, "findings": findings, "report": str(report)}, 0


def columns(study: Study) -> tuple[str, ...]:
    """What stands in ``rows``."""
    ranks = [f"{tap} rank" for tap in study.taps]
    return ("arm", "updates", "of the output", "success", "95 % interval", "median px", *ranks)


def rows(plan: Plan, answer: Answer) -> list[tuple[object, ...]]:
    """One row an arm: means over the seeds."""
    found: list[tuple[object, ...]] = []
    for arm in plan.arms:
        of = {metric: [seed[arm][metric] for seed in answer.seeds] for metric in answer.seeds[0][arm]}
        low, high = bootstrap_mean(of["success"])
        ranks = [f"{fmean(of[f'{tap} rank']):.1f}" for tap in plan.study.taps]
        found.append((arm, *updates(plan, arm), f"{fmean(of['success']):.0%}", f"{low:.0%} – {high:.0%}",
                      f"{fmean(of['median']):.2f}", *ranks))  # fmt: skip
    return found


def _plan(study: Study, args: Any) -> Plan:
    if study.judge != "registration":
        raise unknown("judge", study.judge, ["registration"])
    found = listed("study", args.fixed, args.moving, args.pairs, args.pattern)
    train, test = divided(found.pairs, args.test, args.draws)
    say(f"{len(train)} pairs to train on, {len(test)} to register: {', '.join(p.name for p in test)}")
    bench = OnPairs(
        train=tuple((str(p.fixed), str(p.moving)) for p in train),
        test=tuple((p.name, str(p.fixed), str(p.moving)) for p in test),
        channels=(channel(args.fixed_channel), channel(args.moving_channel)),
        patches=args.patches,
        levels=tuple(LEVELS[level] for level in args.levels),  # pyright: ignore[reportArgumentType]
        repeats=args.repeats,
        patch=args.patch,
        seed=args.draws,
    )
    return planned(study, args.method, args.train, bench, args.seeds, args.arms, args.out)


def divided(pairs: Sequence[Pair], share: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """What to train on and what to register: by the column "part", or drawn.

    Raises:
        InputError: a share out of range, a part that is neither "train" nor "test", or one of them empty.
    """
    import torch

    parts = [pair.extra.get("part", "") for pair in pairs]
    if any(parts):
        wrong = sorted({part for part in parts if part not in ("train", "test")})
        if wrong:
            raise InputError(f"part: expected train or test for every pair, found {wrong[0]!r}")
        chosen = [part == "test" for part in parts]
    else:
        if not 0 < share < 1:
            raise InputError(f"test: expected a share between 0 and 1, found {share}")
        order = torch.randperm(len(pairs), generator=generator(seed, "test pairs")).tolist()
        count = min(max(round(share * len(pairs)), 1), len(pairs) - 1)
        chosen = [i in order[:count] for i in range(len(pairs))]
    train = [pair for pair, test in zip(pairs, chosen, strict=True) if not test]
    test = [pair for pair, test in zip(pairs, chosen, strict=True) if test]
    if not train or not test:
        raise InputError(f"pairs: expected some to train on and some to test, found {len(pairs)} in all")
    return train, test
