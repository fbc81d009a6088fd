"""Repeat: one seed of a claim with today's code, so that evidence outlives changes that change no number.

A training is a function of its seed and its code. If a whole seed gives its numbers again, what changed in
the code did not change what the claim measures, and the other seeds need not be run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from counterpoint.core.claim import Arms
from counterpoint.evidence.circumstances import commit
from counterpoint.evidence.run import load_claim, module_of, seed_of
from counterpoint.evidence.source import fingerprints
from counterpoint.evidence.store import Evidence, Repeat
from counterpoint.evidence.verdict import judged, overall
from counterpoint.evidence.workers import each

SEED = 0
"""Which seed is repeated."""
CLOSE = 1e-6
"""Relative difference at which a number is the same: nothing but the order of sums may have changed."""


def repeated(evidence: Mapping[str, Evidence], jobs: int = 0) -> Iterator[tuple[str, Evidence | None, str]]:
    """(claim, its evidence as of today's code or None, what differs) of every claim, in order.

    The findings are judged anew, since what is expected may have changed.

    Args:
        evidence: "field/method" → what is known.
        jobs: Processes at a time; 0 for as many as there are cores.

    Raises:
        WorkError: an arm failed.
    """
    code = {claim: fingerprints(module_of(claim)) for claim in evidence}
    answers = each(partial(seed_of, seed=SEED), list(evidence), jobs, "claim")
    for (claim, known), (arms, _) in zip(evidence.items(), answers, strict=True):
        asked = load_claim(claim)
        differs = different(known.seeds[SEED], arms)
        if len(known.seeds) != asked.seeds:
            differs = f"{asked.seeds} seeds are asked for, {len(known.seeds)} are known"
        if differs:
            yield claim, None, differs
            continue
        head, modified = commit()
        findings = tuple(judged(expect, known.seeds) for expect in asked.expect)
        again = Repeat(
            seed=SEED, commit=head, modified=modified, date=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        )
        today = replace(
            known, code=code[claim], findings=findings, verdict=overall(findings), repeated=again,
            paper=str(asked.paper), says=asked.says, differs=asked.differs,
        )  # fmt: skip
        yield claim, today, ""


def different(then: Arms, now: Arms) -> str:
    """The first number that is not what it was, in words; empty if all are the same."""
    for arm in dict.fromkeys([*then, *now]):
        for metric in dict.fromkeys([*then.get(arm, {}), *now.get(arm, {})]):
            old, new = (numbers.get(arm, {}).get(metric) for numbers in (then, now))
            if old is None or new is None or not _same(old, new):
                return f"{metric} of {arm} was {_shown(old)} and is {_shown(new)}"
    return ""


def _same(old: float, new: float) -> bool:
    return math.isclose(old, new, rel_tol=CLOSE, abs_tol=1e-12) or (math.isnan(old) and math.isnan(new))


def _shown(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.6g}"
