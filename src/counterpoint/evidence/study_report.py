"""The report of a study: the answer, every arm's figures, how its representations lie, and all settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from counterpoint.core.networks import load_networks
from counterpoint.evidence.on_pairs import OUTPUT, positions
from counterpoint.evidence.study import Answer, Plan
from counterpoint.metrics.cka import linear_cka
from counterpoint.metrics.geometry import spectrum
from counterpoint.metrics.intervals import bootstrap_mean
from counterpoint.metrics.layout import mds, pca
from counterpoint.report.arms import arm_dots, gain_bars
from counterpoint.report.figures import success_bars
from counterpoint.report.page import Page
from counterpoint.report.spread import partners, spectra

GOOD = {"holds": True, "fails": False, "open": None}
WORDS = {
    "holds": "What the paper says holds here",
    "fails": "What the paper says fails here",
    "open": "Undecided here",
}


def write_report(
    path: Path, plan: Plan, answer: Answer, columns: Sequence[str], rows: Sequence[Sequence[object]],
    settings: Mapping[str, Any],
) -> None:  # fmt: skip
    """Write one self-contained HTML page; ``rows`` are the arms' means under ``columns``."""
    study, seeds = plan.study, answer.seeds
    page = Page(study.asks, str(study.paper))
    page.verdict(WORDS[answer.verdict], GOOD[answer.verdict], f"{_counted(answer)} {study.differs}")
    page.section("Arms", f"Means over {len(seeds)} seeds; the interval is a bootstrap over them.")
    page.table(columns, rows)
    page.figures(
        [
            ("Share of successful registrations; lines: 95 % of the mean over seeds", _bars(plan, answer)),
            ("Success: a dot a seed, the bar their mean", arm_dots(_of(plan, answer, "success"), "success")),
        ]
    )
    levels = [metric for metric in seeds[0][next(iter(plan.arms))] if metric.startswith("success ")]
    page.table(
        ("arm", *(f"level {level.removeprefix('success ')}" for level in levels)),
        [(arm, *(f"{fmean(s[arm][level] for s in seeds):.0%}" for level in levels)) for arm in plan.arms],
    )
    _expectations(page, answer)
    _features(page, plan, answer)
    page.section("What the arms are")
    page.table(("arm", "why"), [(name, arm.about) for name, arm in plan.arms.items()])
    page.settings(settings)
    numbers = {str(i): {arm: dict(of) for arm, of in seed.items()} for i, seed in enumerate(seeds)}
    page.settings(numbers, "All numbers, by seed and arm")
    page.write(path)


def _counted(answer: Answer) -> str:
    of = [f.verdict for f in answer.findings]
    counts = ", ".join(f"{of.count(v)} {v}" for v in ("holds", "fails", "open") if v in of)
    return f"Of {len(of)} comparisons: {counts}." if of else "The arms that it compares were not run."


def _of(plan: Plan, answer: Answer, metric: str) -> dict[str, list[float]]:
    return {arm: [seed[arm][metric] for seed in answer.seeds] for arm in plan.arms}


def _bars(plan: Plan, answer: Answer) -> bytes:
    bench = plan.jobs[0].bench
    trials = len(bench.test) * len(bench.levels) * bench.repeats * len(answer.seeds)
    counts = {}
    for arm, shares in _of(plan, answer, "success").items():
        low, high = bootstrap_mean(shares)
        counts[arm] = (round(fmean(shares) * trials), trials, low, high)
    return success_bars(counts)


def _expectations(page: Page, answer: Answer) -> None:
    if not answer.findings:
        return
    page.section("What the paper says, comparison by comparison")
    charts: dict[str, dict[str, Any]] = {}
    for f in answer.findings:
        gain = (f.mean, f.low, f.high, f.margin, f.verdict)
        charts.setdefault(f.metric, {})[f"{f.arm} over {f.than}"] = gain
    page.figures([(f"Gain in {metric}, 95 % intervals over the seeds", gain_bars(of, metric))
                  for metric, of in charts.items()])  # fmt: skip


def _features(page: Page, plan: Plan, answer: Answer) -> None:
    """Collapse, and where the representations lie, of the first seed's networks."""
    ends = ("alignment", "uniformity", "rank", "rank, maps", "alive", "mse", "ssim", "correlation")
    metrics = [m for m in answer.seeds[0][next(iter(plan.arms))] if m.endswith(ends)]
    page.section(
        "How the features lie",
        "Rank: effective rank of the features of single positions, or of whole maps; alive: share of the "
        "dimensions whose singular value exceeds 10⁻⁴ of the largest. Partner: both maps compared.",
    )
    page.table(("arm", *metrics), [(arm, *(f"{fmean(s[arm][m] for s in answer.seeds):.3g}" for m in metrics))
                                   for arm in plan.arms])  # fmt: skip
    seen = {arm: _maps(plan, arm) for arm in plan.arms}
    first = next(iter(seen))
    page.section("Likeness of layers", f"Linear CKA, debiased, with {first}, by position, of the first seed.")
    page.table(
        ("arm", *(f"{tap}, {role}" for tap in plan.study.taps for role in seen[first][tap])),
        [(arm, *(f"{_alike(of[tap][role], seen[first][tap][role]):.2f}"
                 for tap in plan.study.taps for role in of[tap])) for arm, of in seen.items()],
    )  # fmt: skip
    page.figures(
        [
            (
                f"Singular values of the {tap}, {role} network, first seed",
                spectra({arm: spectrum(positions(of[tap][role])).tolist() for arm, of in seen.items()}),
            )
            for tap in plan.study.taps
            for role in seen[first][tap]
        ]
    )
    for tap in (OUTPUT, *plan.study.taps):
        page.section(
            f"Maps of the test patches, {tap}",
            "Multidimensional scaling of the distances between whole maps; partners are joined. Short lines "
            "and spread patches are healthy; axes mean nothing and differ from picture to picture. For "
            "control, the two principal directions of the first arm.",
        )
        pictures = [(arm, _layout(of[tap], "mds")) for arm, of in seen.items()]
        page.figures([*pictures, (f"{first}, principal directions", _layout(seen[first][tap], "pca"))])


def _maps(plan: Plan, arm: str) -> dict[str, dict[str, torch.Tensor]]:
    job = plan.job(arm)
    return job.bench.features(load_networks(job.run), getattr(job.method, "size", 0), job.taps)


def _alike(maps: torch.Tensor, others: torch.Tensor) -> float:
    return linear_cka(positions(maps), positions(others), debiased=True)


def _layout(by_role: Mapping[str, torch.Tensor], how: str) -> bytes:
    names = (*by_role,)
    both = torch.cat([maps.flatten(1) for maps in by_role.values()])
    points, figure = mds(both) if how == "mds" else pca(both)
    words = f"stress {figure:.2f}" if how == "mds" else f"{figure:.0%} of the variance"
    half = len(points) // 2
    return partners(points[:half], points[half:], (names[0], names[1]), words)
