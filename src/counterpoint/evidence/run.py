"""Run a claim: all its seeds, each in a process of its own, on one thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from counterpoint.core.claim import Arms, Claim
from counterpoint.core.config import names
from counterpoint.core.errors import InputError, unknown
from counterpoint.core.rooms import files, imported
from counterpoint.evidence.circumstances import commit, machine, versions
from counterpoint.evidence.source import PACKAGE, fingerprints
from counterpoint.evidence.store import Evidence
from counterpoint.evidence.verdict import judged, overall
from counterpoint.evidence.workers import each

ROOM = f"{PACKAGE}.claims"


def claims() -> dict[str, str]:
    """Method → "field/method", of all claims there are; imports none."""
    return {name: "/".join(module.split(".")[2:]) for name, module in names(ROOM).items()}


def load_claim(name: str) -> Claim:
    """The claim of a method, by "method" or "field/method".

    Raises:
        InputError: there is none, or its file has no ``CLAIM``, or is the user's own and cannot be imported.
    """
    path = module_of(name)
    module = imported(path, files(ROOM)[path.rpartition(".")[2]][1])
    claim = getattr(module, "CLAIM", None)
    if not isinstance(claim, Claim):
        raise InputError(f"{module.__name__}: expected a Claim under the name CLAIM, found {claim!r}")
    return claim


def module_of(name: str) -> str:
    """The module of a claim, by "method" or "field/method"; an ``InputError`` if there is none."""
    known = claims()
    method = name.rpartition("/")[2]
    if method not in known or name not in (method, known[method]):
        raise unknown("claim", name, known)
    return names(ROOM)[method]


def run(name: str, jobs: int = 0, said: Callable[[str], object] = lambda _: None) -> Evidence:
    """Run a claim and judge it; the numbers do not depend on ``jobs``.

    Args:
        name: "method" or "field/method".
        jobs: Processes at a time; 0 for as many as there are cores.
        said: Told a sentence after every seed.

    Raises:
        InputError: there is no such claim.
        WorkError: an arm failed, or gave numbers that the claim cannot be judged by.
    """
    claim, module = load_claim(name), module_of(name)
    code = fingerprints(module)
    began, seeds, cpu = time.perf_counter(), [], 0.0
    answers = each(partial(seed_of, name), range(claim.seeds), jobs, name)
    for seed, (arms, seconds) in enumerate(answers):
        seeds.append(arms)
        cpu += seconds
        said(f"  seed {seed}: {_brief(arms)}")
    findings = tuple(judged(expect, seeds) for expect in claim.expect)
    head, modified = commit()
    return Evidence(
        claim=claims()[module.rpartition(".")[2]],
        paper=str(claim.paper),
        says=claim.says,
        differs=claim.differs,
        verdict=overall(findings),
        findings=findings,
        seeds=tuple(seeds),
        code=code,
        commit=head,
        modified=modified,
        machine=machine(),
        versions=versions(),
        date=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        seconds=round(time.perf_counter() - began, 1),
        cpu_seconds=round(cpu, 1),
    )


def seed_of(name: str, seed: int) -> tuple[Arms, float]:
    """All numbers of one seed of a claim, and the CPU-seconds they took."""
    start = time.process_time()
    arms = load_claim(name).arms(seed)
    plain = {arm: {metric: float(value) for metric, value in of.items()} for arm, of in arms.items()}
    return plain, time.process_time() - start


def _brief(arms: Arms) -> str:
    """The first number of every arm."""
    return ", ".join(f"{arm} {next(iter(of.values())):.4g}" for arm, of in arms.items() if of)
