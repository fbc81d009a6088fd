"""Run a claim: all its seeds, each in a process of its own, on one thread."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from counterpoint.core.claim import Arms, Claim
from counterpoint.core.config import names
from counterpoint.core.errors import InputError, WorkError, unknown
from counterpoint.evidence.source import PACKAGE, fingerprints
from counterpoint.evidence.store import Evidence, checkout
from counterpoint.evidence.verdict import judged, overall

ROOM = f"{PACKAGE}.claims"
PACKAGES = (PACKAGE, "torch", "numpy", "scipy", "scikit-learn")


def claims() -> dict[str, str]:
    """Method → "field/method", of all claims there are; imports none."""
    return {name: "/".join(module.split(".")[2:]) for name, module in names(ROOM).items()}


def load_claim(name: str) -> Claim:
    """The claim of a method, by "method" or "field/method".

    Raises:
        InputError: there is none, or its file has no ``CLAIM``.
    """
    module = importlib.import_module(module_of(name))
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
    workers = min(claim.seeds, jobs or os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _prepare, (_places(),)) as pool:
        futures = [pool.submit(_seed, name, seed) for seed in range(claim.seeds)]
        try:
            for seed, future in enumerate(futures):
                arms, seconds = future.result()
                seeds.append(arms)
                cpu += seconds
                said(f"  seed {seed}: {_brief(arms)}")
        except BrokenProcessPool:
            raise WorkError(f"{name}: a process ended early, perhaps for lack of memory") from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    findings = tuple(judged(expect, seeds) for expect in claim.expect)
    commit, modified = _commit()
    return Evidence(
        claim=claims()[module.rpartition(".")[2]],
        paper=str(claim.paper),
        says=claim.says,
        differs=claim.differs,
        verdict=overall(findings),
        findings=findings,
        seeds=tuple(seeds),
        code=code,
        commit=commit,
        modified=modified,
        machine=_machine(),
        versions=_versions(),
        date=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        seconds=round(time.perf_counter() - began, 1),
        cpu_seconds=round(cpu, 1),
    )


def _seed(name: str, seed: int) -> tuple[Arms, float]:
    start = time.process_time()
    arms = load_claim(name).arms(seed)
    plain = {arm: {metric: float(value) for metric, value in of.items()} for arm, of in arms.items()}
    return plain, time.process_time() - start


def _prepare(places: Mapping[str, list[str]]) -> None:
    """Make a new process like this one, with one thread, and the rooms with the folders they have here."""
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    import torch

    torch.set_num_threads(1)
    for room, path in places.items():
        importlib.import_module(room).__path__[:] = path


def _places() -> dict[str, list[str]]:
    """Room → its folders, where the user's own may be among them."""
    rooms = [name for name in sys.modules if name.startswith(f"{PACKAGE}.") and name.count(".") == 1]
    return {room: list(path) for room in rooms if (path := getattr(sys.modules[room], "__path__", None))}


def _brief(arms: Arms) -> str:
    """The first number of every arm."""
    return ", ".join(f"{arm} {next(iter(of.values())):.4g}" for arm, of in arms.items() if of)


def _commit() -> tuple[str, bool]:
    """(commit, do the sources differ from it) of the checkout; ("", False) if there is none."""
    root = checkout()
    if root is None:
        return "", False
    try:
        head, left = (
            subprocess.run(["git", *args], cwd=root, capture_output=True, text=True, check=True).stdout
            for args in (("rev-parse", "HEAD"), ("status", "--porcelain", "--", "src"))
        )
    except (OSError, subprocess.CalledProcessError):
        return "", False
    return head.strip(), bool(left.strip())


def _machine() -> dict[str, Any]:
    cpu = platform.processor() or platform.machine()
    with suppress(OSError, IndexError):
        cpu = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))[0]
    return {"cpu": cpu, "cores": os.cpu_count() or 1, "system": f"{platform.system()} {platform.machine()}"}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
