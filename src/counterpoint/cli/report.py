"""One page on all methods and claims: what papers say, and what came of the experiments that check it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterpoint.cli.claim import cells
from counterpoint.cli.console import Flag, Folder, Out, parsed, say
from counterpoint.core.files import output_folder
from counterpoint.evidence.catalogue import Entry, entries
from counterpoint.evidence.run import ROOM as CLAIMS
from counterpoint.evidence.store import Evidence, Repeat
from counterpoint.report.arms import Gain, arm_dots, gain_bars
from counterpoint.report.page import Page

GOOD = {"holds": True, "fails": False, "open": None, "none": None}


@dataclass(frozen=True)
class Args:
    """Write one HTML page on all methods and the evidence for what their papers say. Runs nothing."""

    evidence: Folder = None
    """Folder of evidence, if not the package's own and that of your own folders."""
    out: Out = Path("counterpoint-report")
    """Folder for report.html."""
    json: Flag = False
    """Print one JSON object on standard output."""


def command(argv: list[str]) -> tuple[dict[str, Any], int]:
    """Run the command; returns the JSON answer and the exit code."""
    args = parsed(Args, argv, "report")
    found = entries(args.evidence, parts=True)
    output_folder(args.out)
    file = args.out / "report.html"
    page(found).write(file)
    counts = dict(Counter(entry.verdict for entry in found))
    say(f"the report is {file}")
    methods = sum(entry.room != CLAIMS for entry in found)
    return {"report": str(file), "methods": methods, "verdicts": counts}, 0


def page(found: list[Entry]) -> Page:
    """The page on some methods."""
    counts = Counter(entry.verdict for entry in found)
    made = Page(
        "Methods and the evidence for them",
        "Each method is checked by a small experiment on what its paper says, and so are parts of training "
        "(field train). A claim holds if the 95 % "
        "bootstrap interval of the mean gain over the seeds lies above the margin, fails if it lies below, "
        "and is open otherwise; none means that nothing was tried yet. These are experiments of minutes on a "
        "processor: a claim that fails here may hold at the paper's size.",
    )
    made.section("Overview", ", ".join(f"{n} {verdict}" for verdict, n in sorted(counts.items())))
    rows = [(e.name, e.field, e.idea, e.verdict, "yes" if e.stale else "") for e in found]
    made.table(("method", "field", "idea", "verdict", "code changed since"), rows)
    charts = [
        (
            f"Gains in {metric} with 95 % intervals; the dashed line is the margin to exceed",
            gain_bars(of, metric),
        )
        for metric, of in _gains(found).items()
    ]
    if charts:
        made.figures(charts)
    for entry in found:
        _method(made, entry)
    return made


def _gains(found: list[Entry]) -> dict[str, dict[str, Gain]]:
    """Metric → comparison → gain: a chart has one unit."""
    gains: dict[str, dict[str, Gain]] = {}
    for entry in found:
        for f in entry.evidence.findings if entry.evidence else ():
            own = f.arm.lower().replace(" ", "_") == entry.name
            name = f"{entry.name} over {f.than}" if own else f"{entry.name}: {f.arm} over {f.than}"
            gains.setdefault(f.metric, {})[name] = (f.mean, f.low, f.high, f.margin, f.verdict)
    return gains


def _method(page: Page, entry: Entry) -> None:
    page.section(
        f"{entry.name} ({entry.field})" if entry.field else entry.name, f"{entry.idea}\n\n{entry.paper}"
    )
    evidence = entry.evidence
    if evidence is None:
        detail = "It has a claim that was not run yet." if entry.claimed else "It has no claim yet."
        page.verdict("Nothing is shown yet", None, detail)
        return
    stale = f"\n\nChanged since: {', '.join(entry.stale)}." if entry.stale else ""
    differs = f"\n\nUnlike the paper: {evidence.differs}" if evidence.differs else ""
    words = {"holds": "The claim holds", "fails": "The claim fails", "open": "The claim is undecided"}
    page.verdict(words[entry.verdict], GOOD[entry.verdict], f"{evidence.says}{differs}{stale}")
    rows = [row[1:] for row in cells(evidence)]
    page.table(("expected", "gain", "95 % interval", "margin", "verdict"), rows)
    page.figures([(f"{metric}: a dot a seed, the bar their mean", arm_dots(arms, metric))
                  for metric, arms in _by_metric(evidence).items()])  # fmt: skip
    page.settings(
        {
            "commit": _commit(evidence),
            **({"seed run again": _again(evidence.repeated)} if evidence.repeated else {}),
            "date": evidence.date,
            "seconds": evidence.seconds,
            "machine": dict(evidence.machine),
            "versions": dict(evidence.versions),
            "seeds": {str(seed): dict(arms) for seed, arms in enumerate(evidence.seeds)},
        },
        "How it was made, and all numbers",
    )


def _commit(of: Evidence | Repeat) -> str:
    return of.commit + (" with changes" if of.modified else "")


def _again(repeated: Repeat) -> str:
    return f"{repeated.seed}, the same numbers at {_commit(repeated)}, {repeated.date}"


def _by_metric(evidence: Evidence) -> dict[str, dict[str, list[float]]]:
    """Metric → arm → its numbers over the seeds, for the metrics that are judged."""
    metrics = dict.fromkeys(finding.metric for finding in evidence.findings)
    arms = dict.fromkeys(arm for seed in evidence.seeds for arm in seed)
    return {
        metric: {
            arm: [seed[arm][metric] for seed in evidence.seeds]
            for arm in arms
            if all(metric in seed.get(arm, {}) for seed in evidence.seeds)
        }
        for metric in metrics
    }
