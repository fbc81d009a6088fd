"""The page of results on real pairs, from the rows that real.py keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Row = Mapping[str, Any]
HEAD = """# Registration of real pairs

Made by `python benchmarks/real.py --markdown` from `benchmarks/results/real.json`; do not edit.

Success is a mean error of at most 2 % of the fixed image's width, measured on the fixed image at its
landmarks or, where the truth is a matrix, at its corners. In brackets the median error of all pairs, in
percent of the width. *As given*: the pair as published. *Turned*: the moving image turned by random angles
(full circle) onto a canvas that holds all of it. *Levels 1 – 4* and *any angle*: aligned pairs moved apart as
in MultiRegEval (up to ±20°) or by any angle. Affine transforms, for brain slices rigid ones.

Models were trained on half of a set's cases; every number is of the other half, on which no setting was
tuned (a regression check in development looked at all pairs once). The model for PET is that of SPECT: there
is one PET case. The SPECT pairs themselves are aligned only
to some 4 to 6 px of 256, which is about the margin of success.

"Alone" rows are the model that ships with the package, gradients or mutual information without the rest of
counterpoint. Of Mattes (SimpleITK) the better of two step lengths is shown, set by set; the brackets name it
where it is not 4. An empty cell was not asked. The truth of one pair of cells (quantitative phase and
fluorescence) was itself found by mutual information; all that call another place right agree with each other.
"""
TRUST = """
## What trust is worth

A result is called trusted from 0.5 on. AUROC: how often a right result has more trust than a wrong one (0.5:
chance; empty: all right or all wrong).
"""


def markdown(rows: Sequence[Row], titles: Mapping[str, str]) -> str:
    """The whole page."""
    rows = _better(rows)
    columns = list(dict.fromkeys((row["set"], row["pose"]) for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    cells = {(row["method"], row["set"], row["pose"]): row for row in rows}
    parts = [HEAD, "## Success\n", _table(
        ["set", "pose", "before", *methods],
        [[titles[s], pose, _before(rows, s, pose), *(_success(cells.get((m, s, pose))) for m in methods)]
         for s, pose in columns],
    )]  # fmt: skip
    parts += ["\n## CPU-seconds a pair\n\nMedian, one thread; training not counted.\n", _table(
        ["set", "pose", *methods],
        [[titles[s], pose, *(_cpu(cells.get((m, s, pose))) for m in methods)] for s, pose in columns],
    )]  # fmt: skip
    sure = [m for m in methods if any(t is not None for r in rows if r["method"] == m for t in r["trust"])]
    parts.append(TRUST)
    lines = []
    for m in sure:
        for s, pose in columns:
            if (m, s, pose) in cells:
                lines.append([m, titles[s], pose, *_trust([cells[m, s, pose]])])
        lines.append([f"**{m}**", "**all**", "", *_trust([r for r in rows if r["method"] == m])])
    parts.append(_table(["method", "set", "pose", "right", "trusted", "wrong among trusted", "AUROC"], lines))
    return "\n".join(parts) + "\n"


def auroc(trust: Sequence[float], right: Sequence[bool]) -> float | None:
    """P(trust of a right result > trust of a wrong one), ties counting half; None without both."""
    good = np.array([t for t, r in zip(trust, right, strict=True) if r])
    bad = np.array([t for t, r in zip(trust, right, strict=True) if not r])
    if not len(good) or not len(bad):
        return None
    return float((good[:, None] > bad).mean() + 0.5 * (good[:, None] == bad).mean())


def _better(rows: Sequence[Row]) -> list[Row]:
    """Of two step lengths of Mattes the one with more successes on the set, then the smaller error."""
    ending = ", rate 1"
    other = {
        (r["method"].removesuffix(ending), r["set"], r["pose"]): r
        for r in rows
        if r["method"].endswith(ending)
    }
    kept = []
    for row in rows:
        slow = other.get((row["method"], row["set"], row["pose"]))
        if slow and (-slow["success"], slow["median_percent"]) < (-row["success"], row["median_percent"]):
            row = {**slow, "method": row["method"], "note": "rate 1"}  # noqa: PLW2901
        if not row["method"].endswith(ending):
            kept.append(row)
    return kept


def _success(row: Row | None) -> str:
    if row is None:
        return ""
    median = f"{row['median_percent']:.2f}" if np.isfinite(row["median_percent"]) else "none"
    note = f", {row['note']}" if "note" in row else ""
    return f"{row['success']} of {row['of']} ({median}{note})"


def _before(rows: Sequence[Row], name: str, pose: str) -> str:
    row = next(r for r in rows if (r["set"], r["pose"]) == (name, pose))
    return f"{row['before']} of {row['of']}"


def _cpu(row: Row | None) -> str:
    return "" if row is None else f"{row['cpu']['median']:.1f}"


def _trust(rows: Sequence[Row]) -> list[str]:
    """Cells: right, trusted, wrong among trusted, AUROC."""
    said = [(t, r) for row in rows for t, r in zip(row["trust"], row["right"], strict=True) if t is not None]
    trusted = [r for t, r in said if t >= 0.5]
    area = auroc([t for t, _ in said], [r for _, r in said])
    wrong = f"{len(trusted) - sum(trusted)} of {len(trusted)}" if trusted else ""
    return [
        f"{sum(r for _, r in said)} of {len(said)}",
        str(len(trusted)),
        wrong,
        "" if area is None else f"{area:.2f}",
    ]


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *lines))
