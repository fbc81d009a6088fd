"""Circumstances of numbers: commit, machine, versions."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from counterpoint.evidence.source import PACKAGE
from counterpoint.evidence.store import checkout

PACKAGES = (PACKAGE, "torch", "numpy", "scipy", "scikit-learn")


def commit() -> tuple[str, bool]:
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


def machine() -> dict[str, Any]:
    """Processor, cores and system."""
    cpu = platform.processor() or platform.machine()
    with suppress(OSError, IndexError):
        cpu = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))[0]
    return {"cpu": cpu, "cores": os.cpu_count() or 1, "system": f"{platform.system()} {platform.machine()}"}


def versions() -> dict[str, str]:
    """Of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
