"""Run a study: every arm with every seed, each once; what is done is kept, so a killed study goes on."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from counterpoint.core.claim import Arms
from counterpoint.core.config import names
from counterpoint.core.errors import InputError, unknown
from counterpoint.core.files import output_folder, write_text
from counterpoint.core.method import MethodConfig
from counterpoint.core.rooms import files, imported
from counterpoint.core.study import Arm, Study
from counterpoint.core.untrusted import parse_json
from counterpoint.evidence.circumstances import commit, machine, versions
from counterpoint.evidence.on_pairs import OnPairs
from counterpoint.evidence.source import PACKAGE
from counterpoint.evidence.verdict import Finding, judged, overall
from counterpoint.evidence.workers import each
from counterpoint.train.config import TrainConfig
from counterpoint.train.loop import fit, fresh

ROOM = f"{PACKAGE}.studies"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One arm with one seed."""

    arm: str
    method: MethodConfig
    train: TrainConfig
    bench: OnPairs
    taps: tuple[str, ...]
    folder: Path
    """Of the study."""

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.folder / "runs" / f"{slug(self.arm)}-{self.train.seed}"

    @property
    def stamp(self) -> str:
        """A hash of all that the numbers depend on, but for the code."""
        said = [self.method.to_dict(), self.train.to_dict(), asdict(self.bench), list(self.taps)]
        return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A study on data, with some of its arms."""

    study: Study
    arms: Mapping[str, Arm]
    jobs: tuple[Job, ...]
    """Seed after seed, in each all arms."""

    def job(self, arm: str, seed: int = 0) -> Job:
        """The job of an arm and a seed."""
        return next(job for job in self.jobs if job.arm == arm and job.train.seed == seed)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of a study."""

    seeds: tuple[Arms, ...]
    """Arm → metric → number, seed by seed."""
    findings: tuple[Finding, ...]
    verdict: str


def studies() -> dict[str, str]:
    """Name → module of all studies there are; imports none."""
    return names(ROOM)


def load_study(name: str) -> Study:
    """A study by the name of its file, "-" standing for "_" as well; an ``InputError`` if there is none."""
    known = studies()
    wanted = name.replace("-", "_")
    if wanted not in known:
        raise unknown("study", name, known)
    study = getattr(imported(known[wanted], files(ROOM)[wanted][1]), "STUDY", None)
    if not isinstance(study, Study):
        raise InputError(f"{known[wanted]}: expected a Study under the name STUDY, found {study!r}")
    return study


def planned(
    study: Study, base: MethodConfig, train: TrainConfig, bench: OnPairs, seeds: int,
    only: Sequence[str], folder: Path,
) -> Plan:  # fmt: skip
    """All arms (or ``only`` some) with all seeds.

    Raises:
        InputError: an arm that the study has not, fewer than two seeds, or training by epochs.
    """
    arms = study.arms(bench.configured(base))
    for name in only:
        if name not in arms:
            raise unknown("arm", name, arms)
    if seeds < 2 or train.steps < 1:
        raise InputError(f"study: expected at least 2 seeds and 1 step, found {seeds} and {train.steps}")
    arms = {name: arm for name, arm in arms.items() if not only or name in only}
    jobs = tuple(
        Job(
            arm=name, method=arm.method, bench=bench, taps=study.taps, folder=folder,
            train=replace(train, steps=round(train.steps * arm.longer), seed=seed),
        )
        for seed in range(seeds)
        for name, arm in arms.items()
    )  # fmt: skip
    return Plan(study=study, arms=arms, jobs=jobs)


def run(plan: Plan, processes: int, said: Callable[[str], object] = lambda _: None) -> Answer:
    """Train and judge what is not done yet, and answer the study's question.

    Raises:
        InputError: data that do not fit, or a folder that holds another study's runs.
        WorkError: a training failed.
    """
    output_folder(plan.jobs[0].folder / "results")
    began, todo = time.perf_counter(), [job for job in plan.jobs if _kept(job) is None]
    if len(todo) < len(plan.jobs):
        said(f"{len(plan.jobs) - len(todo)} of {len(plan.jobs)} trainings were done before")
    for i, (job, found) in enumerate(zip(todo, each(_made, todo, processes, "study"), strict=True)):
        left = (time.perf_counter() - began) / (i + 1) * (len(todo) - i - 1) / 60
        said(f"  {job.arm}, seed {job.train.seed}: {_brief(found)}; {left:.0f} minutes to go")
    return answered(plan)


def answered(plan: Plan) -> Answer:
    """The answer from what is kept."""
    seeds: dict[int, dict[str, Mapping[str, float]]] = {}
    for job in plan.jobs:
        found = _kept(job)
        assert found is not None  # all were made
        seeds.setdefault(job.train.seed, {})[job.arm] = found
    numbers = tuple(seeds.values())
    findings = tuple(judged(e, numbers) for e in plan.study.expect if {e.arm, e.than} <= set(plan.arms))
    return Answer(seeds=numbers, findings=findings, verdict=overall(findings) if findings else "open")


def updates(plan: Plan, arm: str) -> tuple[int, int]:
    """(updates made, those among them that trained what is taken away) of an arm."""
    steps = plan.job(arm).train.steps
    return steps, plan.arms[arm].updates(steps)


def write(path: Path, name: str, plan: Plan, answer: Answer, settings: Mapping[str, Any]) -> None:
    """Keep an answer as JSON, with what it was made with."""
    study, (head, modified) = plan.study, commit()
    arms = {
        arm: {"about": of.about, "updates": updates(plan, arm)[0], "of the output": updates(plan, arm)[1],
              "seeds": [dict(seed[arm]) for seed in answer.seeds]}
        for arm, of in plan.arms.items()
    }  # fmt: skip
    plain = {
        "study": name, "asks": study.asks, "paper": str(study.paper), "differs": study.differs,
        "verdict": answer.verdict, "findings": [asdict(f) for f in answer.findings], "arms": arms,
        "settings": dict(settings), "commit": head, "modified": modified, "machine": machine(),
        "versions": versions(),
    }  # fmt: skip
    write_text(path, json.dumps(plain, indent=1, default=str, ensure_ascii=False) + "\n")


def slug(arm: str) -> str:
    """An arm's name as part of a file name."""
    return re.sub(r"[^a-z0-9.]+", "-", arm.lower()).strip("-")


def _made(job: Job) -> dict[str, float]:
    """Train and judge one arm with one seed, and keep the numbers."""
    method = fresh(job.method, job.train.seed)
    fit(method, job.bench.data(method), job.train, job.run, about=job.bench.about(), progress=False)
    found = job.bench.judged(job.run, getattr(job.method, "size", 0), job.taps)
    kept = {"stamp": job.stamp, "numbers": found}
    write_text(_result(job), json.dumps(kept, indent=1))
    return found


def _kept(job: Job) -> dict[str, float] | None:
    """The numbers of a job made before; none if there are none, or not of these settings."""
    try:
        kept = parse_json(_result(job).read_text(encoding="utf-8"))
        return kept["numbers"] if kept["stamp"] == job.stamp else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _result(job: Job) -> Path:
    return job.folder / "results" / f"{job.run.name}.json"


def _brief(found: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in list(found.items())[:2])
