"""Evidence on disk: one JSON a claim, at ``evidence/<field>/<method>.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from counterpoint.core.claim import Arms, Verdict
from counterpoint.core.errors import InputError, WorkError
from counterpoint.core.files import output_folder, write_text
from counterpoint.core.untrusted import parse_json
from counterpoint.evidence.verdict import Finding

FORMAT = "counterpoint-evidence-1"


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """That one seed was run again with later code and gave the same numbers."""

    seed: int
    commit: str
    """Of the checkout it ran in; empty if it was none."""
    modified: bool
    """Whether the sources differed from the commit."""
    date: str
    """UTC, to the second."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What came of a claim, with all that is needed to judge and repeat it. Names no host, user or path."""

    claim: str
    """Field and method, e.g. "image/simclr"."""
    paper: str
    says: str
    differs: str
    verdict: Verdict
    findings: tuple[Finding, ...]
    """One for each expectation."""
    seeds: tuple[Arms, ...]
    """All numbers of all arms, for the seeds from 0."""
    code: Mapping[str, str]
    """Module → digest, of the claim and all that it rests on."""
    commit: str
    """Of the checkout it ran in; empty if it was none."""
    modified: bool
    """Whether the sources differed from the commit."""
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    date: str
    """UTC, to the second."""
    seconds: float
    cpu_seconds: float
    repeated: Repeat | None = None
    """If set, ``code`` is that of the repetition; commit, date and machine are those of all the seeds."""


def checkout() -> Path | None:
    """The source checkout this file belongs to; None once installed."""
    root = Path(__file__).resolve().parents[3]
    return root if (root / "pyproject.toml").is_file() and (root / "src").is_dir() else None


def folder() -> Path:
    """Where evidence stands: ``evidence/`` of the source checkout, or beside this file once installed."""
    root = checkout()
    return Path(__file__).resolve().parent if root is None else root / "evidence"


def write(evidence: Evidence, where: Path) -> Path:
    """Write evidence into a folder of evidence; returns the file.

    Raises:
        InputError: a folder that cannot be written to.
        WorkError: the file cannot be written.
    """
    file = _file(evidence.claim, where)
    output_folder(file.parent)
    try:
        write_text(
            file, json.dumps({"format": FORMAT, **asdict(evidence)}, indent=1, ensure_ascii=False) + "\n"
        )
    except OSError as error:
        raise WorkError(f"{file}: the file could not be written: {error.strerror}") from None
    return file


def read(claim: str, where: Path) -> Evidence | None:
    """Evidence for "field/method"; None if there is none; an ``InputError`` if the file is not evidence."""
    file = _file(claim, where)
    if not file.is_file():
        return None
    try:
        plain = parse_json(file.read_text(encoding="utf-8"))
        plain.setdefault("repeated", None)  # older evidence does not speak of it
        if plain.pop("format") != FORMAT or plain.keys() != {field.name for field in fields(Evidence)}:
            raise ValueError("other entries")
        findings = tuple(Finding(**f | {"gains": tuple(f["gains"])}) for f in plain["findings"])
        again = plain["repeated"] and Repeat(**plain["repeated"])
        return Evidence(**plain | {"findings": findings, "seeds": tuple(plain["seeds"]), "repeated": again})
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{file}: expected evidence of format {FORMAT}, found: {reason}") from None


def _file(claim: str, where: Path) -> Path:
    return where / f"{claim}.json"
