"""What every benchmark here agrees on: how it measures, and what its result file says.

A result is a JSON file in ``results/``: one run on one machine at one commit, with everything needed to judge
and repeat it. It names no host, no user and no path. ``write`` makes one and ``check`` says what is wrong
with one; the tests check all that are committed. A clock is read here and never asserted in a test.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from counterpoint.core.files import output_folder, write_text

FORMAT = "counterpoint-benchmark-1"
RESULTS = Path(__file__).parent / "results"
PACKAGES = ("counterpoint", "torch", "numpy", "scipy", "scikit-image", "scikit-learn", "SimpleITK",
            "itk-elastix", "antspyx")  # fmt: skip
FIELDS: dict[str, type] = {
    "format": str, "name": str, "about": str, "date": str, "commit": str, "modified": bool, "machine": dict,
    "versions": dict, "settings": dict, "seeds": list, "warmup": int, "rows": list,
}  # fmt: skip
"""Of a result file; ``modified``: do the sources differ from the commit, ``warmup``: runs not counted."""
MACHINE: dict[str, type] = {"cpu": str, "cores": int, "memory_gib": float, "system": str, "python": str}
SPREAD = ("median", "q1", "q3", "runs")
PRIVATE = re.compile(r"(^|[\s\"'=(:])(/(home|root|tmp|work|Users|var|mnt|data)/|[A-Z]:\\|~/)")


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, quartiles (linear) and number of the runs of one thing."""
    q1, median, q3 = np.quantile(values, [0.25, 0.5, 0.75])
    return {"median": significant(median), "q1": significant(q1), "q3": significant(q3), "runs": len(values)}


def significant(value: float, digits: int = 4) -> float:
    """``value`` to so many significant digits: more would be noise that changes with every run."""
    return float(f"{float(value):.{digits}g}")


def measure(run: Callable[[Any], Any], inputs: Sequence[Any], warmup: int = 1) -> dict[str, Any]:
    """``run`` on every input, after ``warmup`` runs on the first that do not count.

    Returns "cpu" and "wall" (seconds, ``spread`` over the inputs) and "answers" (what the runs gave back).
    CPU-seconds are those of all threads and of child processes that were waited for.
    """
    for _ in range(warmup):
        run(inputs[0])
    cpu, wall, answers = [], [], []
    for given in inputs:
        start = _cpu(), time.perf_counter()
        answers.append(run(given))
        cpu.append(_cpu() - start[0])
        wall.append(time.perf_counter() - start[1])
    return {"cpu": spread(cpu), "wall": spread(wall), "answers": answers}


def peak_mib() -> float:
    """Most memory (MiB) this process ever held."""
    status = Path("/proc/self/status")
    if status.is_file():  # on Linux ru_maxrss begins with what the *parent* held
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0]) / 1024
    import resource

    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def memory_from_here() -> float:
    """MiB held now; where the system allows, ``peak_mib`` from now on counts from here (Linux)."""
    with suppress(
        OSError
    ):  # importing a library can take more than it keeps, which would hide a method's peak
        Path("/proc/self/clear_refs").write_text("5")
    return peak_mib()


def machine() -> dict[str, Any]:
    """What it ran on, without its name."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    model = re.search(r"model name\s*:\s*(.+)", info)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": model[1].strip() if model else platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 1,
        "memory_gib": round(memory, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Of those of ``PACKAGES`` that are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> tuple[str, bool]:
    """(hash of the commit checked out, whether the package's sources differ from it)."""
    root = Path(__file__).parent.parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout

    return git("rev-parse", "HEAD").strip(), bool(git("status", "--porcelain", "src", "benchmarks/*.py"))


def write(
    name: str,
    about: str,
    rows: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    seeds: Sequence[int],
    warmup: int,
    folder: Path = RESULTS,
) -> Path:
    """Write ``folder/name.json``; raises ``ValueError`` if it would break the contract."""
    head, modified = commit()
    result = {
        "format": FORMAT, "name": name, "about": about, "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": head, "modified": modified, "machine": machine(), "versions": versions(),
        "settings": dict(settings), "seeds": list(seeds), "warmup": warmup, "rows": list(rows),
    }  # fmt: skip
    if wrong := check(result):
        raise ValueError(f"{name}: {'; '.join(wrong)}")
    path = output_folder(folder) / f"{name}.json"
    # One row a line: a changed number is one changed line.
    lines = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in result["rows"])
    head_text = json.dumps({**result, "rows": []}, indent=1, ensure_ascii=False)
    write_text(path, f"{head_text.removesuffix('[]' + chr(10) + '}')}[\n{lines}\n ]\n}}\n")
    return path


def read(name: str, folder: Path = RESULTS) -> dict[str, Any]:
    """A result that ``write`` left; raises ``ValueError`` if it breaks the contract."""
    result = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    if wrong := check(result):
        raise ValueError(f"{name}: {'; '.join(wrong)}")
    return result


def check(result: Any) -> list[str]:
    """What is wrong with a result, a sentence each; empty if nothing is."""
    if not isinstance(result, dict):
        return ["expected an object"]
    wrong = _typed(result, FIELDS, "result")
    if not wrong:
        wrong = _typed(result["machine"], MACHINE, "machine")
        if result["format"] != FORMAT:
            wrong.append(f"format: expected {FORMAT}, found {result['format']}")
        if not re.fullmatch(r"[0-9a-f]{40}", result["commit"]):
            wrong.append(f"commit: expected 40 hexadecimal digits, found {result['commit']!r}")
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", result["date"]):
            wrong.append(f"date: expected YYYY-MM-DD, found {result['date']!r}")
        if not result["seeds"] or not result["rows"]:
            wrong.append("expected at least one seed and one row")
        for i, row in enumerate(result["rows"]):
            wrong += _row(row, f"row {i + 1}")
    texts = _texts(result)
    wrong += [f"expected no path or host name, found {t!r}" for t in texts if PRIVATE.search(t)]
    host = platform.node()
    return wrong + [f"expected no host name, found {t!r}" for t in texts if len(host) > 3 and host in t]


def _row(row: Any, name: str) -> list[str]:
    if not isinstance(row, dict) or not row:
        return [f"{name}: expected an object"]
    wrong = []
    for key in ("cpu", "wall"):
        if key in row:
            ordered = isinstance(row[key], dict) and set(row[key]) == set(SPREAD)
            if not ordered or not 0 <= row[key]["q1"] <= row[key]["median"] <= row[key]["q3"]:
                wrong.append(f"{name}: {key}: expected {', '.join(SPREAD)} in order, found {row[key]}")
    return wrong


def _typed(found: Mapping[str, Any], wanted: Mapping[str, type], name: str) -> list[str]:
    wrong = [f"{name}: unknown field {k}" for k in found if k not in wanted]
    for key, kind in wanted.items():
        if key not in found:
            wrong.append(f"{name}: no {key}")
        elif not isinstance(found[key], (int, float) if kind is float else kind):
            wrong.append(f"{name}: {key}: expected {kind.__name__}, found {found[key]!r}")
    return wrong


def _texts(value: Any) -> list[str]:
    """All strings in a JSON value, keys too."""
    if isinstance(value, dict):
        return [t for k, v in value.items() for t in (*_texts(k), *_texts(v))]
    if isinstance(value, list | tuple):
        return [t for v in value for t in _texts(v)]
    return [value] if isinstance(value, str) else []


def _cpu() -> float:
    children = os.times()
    return time.process_time() + children.children_user + children.children_system
