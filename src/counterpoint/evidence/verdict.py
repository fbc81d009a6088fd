"""From the numbers of all seeds to holds, fails or open."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from counterpoint.core.claim import Arms, Expect, Verdict
from counterpoint.core.errors import WorkError


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What came of one expectation."""

    arm: str
    than: str
    metric: str
    margin: float
    better: str
    gains: tuple[float, ...]
    """By how much ``arm`` was better, seed by seed."""
    mean: float
    low: float
    """Lower end of the 95 % interval of the mean gain."""
    high: float
    verdict: Verdict


def judged(expect: Expect, seeds: Sequence[Arms]) -> Finding:
    """One expectation against the numbers of every seed.

    It holds if the 95 % bootstrap interval of the mean gain lies above the margin, fails if it lies below,
    and is open otherwise.

    Raises:
        WorkError: the arms lack what is expected of them, or gave numbers that are not finite.
    """
    from counterpoint.metrics.intervals import bootstrap_mean  # and torch, which a listing does not need

    for seed, arms in enumerate(seeds):
        for arm in (expect.arm, expect.than):
            value = arms.get(arm, {}).get(expect.metric)
            if value is None or not math.isfinite(value):
                raise WorkError(
                    f"claim: expected a number for {expect.metric} of {arm}, seed {seed} gave {value}"
                )
    gains = tuple(float(expect.gain(arms)) for arms in seeds)
    low, high = bootstrap_mean(gains)
    verdict: Verdict = "holds" if low > expect.margin else "fails" if high < expect.margin else "open"
    return Finding(
        arm=expect.arm, than=expect.than, metric=expect.metric, margin=expect.margin, better=expect.better,
        gains=gains, mean=math.fsum(gains) / len(gains), low=low, high=high, verdict=verdict,
    )  # fmt: skip


def overall(findings: Sequence[Finding]) -> Verdict:
    """Of several expectations: fails if one fails, holds if all hold, else open."""
    verdicts = {finding.verdict for finding in findings}
    return "fails" if "fails" in verdicts else "open" if "open" in verdicts else "holds"
