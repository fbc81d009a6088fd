"""Figures: numbers → charts as PNG bytes, in colors the color-blind can tell apart.

Drawn with matplotlib's object interface: no pyplot, no global state; two pixels per CSS pixel (192 per inch).
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
"""Okabe & Ito, "Color universal design" (2008), without yellow, which is too pale on paper."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DPI = 192
WIDTH = 5.2
"""Inches: about 500 CSS pixels, half of a page, so that letters keep their size."""
INK, SOFT, LINE, WARN = "#1f2328", "#59636e", "#d9dee3", "#D55E00"

Count = tuple[int, int, float, float]
"""(successes, trials, low, high): low and high bound the share of successes, in [0, 1]."""


def loss_curve(steps: Sequence[float], losses: Mapping[str, Sequence[float]], smooth: int = 1) -> bytes:
    """Losses over the steps of a training: PNG.

    ``losses`` are as long as ``steps`` and may hold NaN. With ``smooth`` > 1 the running mean over that many
    values is drawn over the pale values themselves.
    """
    figure, ax = _axes(WIDTH, 3.4, "step", "loss")
    for (name, values), (color, _) in zip(losses.items(), _looks(), strict=False):
        raw = np.asarray(values, float)
        if smooth > 1:
            ax.plot(steps, raw, color=color, lw=0.8, alpha=0.3)
        ax.plot(steps, running_mean(raw, smooth), color=color, lw=1.8, label=_label(name))
    _legend(figure)
    return _png(figure)


def success_bars(arms: Mapping[str, Count]) -> bytes:
    """Share of successes of each arm with its interval, one bar below the other: PNG."""
    figure, ax = _axes(WIDTH, 0.9 + 0.42 * len(arms), "success", "", grid="x")
    for row, (name, (success, of, low, high)) in enumerate(arms.items()):
        share = success / max(of, 1)
        ax.barh(row, share, height=0.62, color=OKABE_ITO[0], alpha=0.85)
        ax.plot([low, high], [row, row], color=INK, lw=1.4, solid_capstyle="butt")
        ax.plot([low, high], [row, row], "|", color=INK, ms=7, mew=1.4)
        ax.text(1.02, row, f"{success} of {of}", va="center", color=INK, fontsize=9)
        ax.text(-0.015, row, _label(name), va="center", ha="right", color=INK, fontsize=9)
    ax.set(xlim=(0, 1), ylim=(len(arms) - 0.5, -0.5), yticks=[])
    _percent(ax.xaxis)
    return _png(figure)


def success_by_level(arms: Mapping[str, Mapping[str, Count]]) -> bytes:
    """Share of successes by level of difficulty, one line per arm with its intervals: PNG.

    ``arms`` is arm → level → count; levels stand in the order in which they first occur.
    """
    levels = list(dict.fromkeys(level for counts in arms.values() for level in counts))
    figure, ax = _axes(WIDTH, 3.4, "", "success")
    for k, ((name, counts), (color, marker)) in enumerate(zip(arms.items(), _looks(), strict=False)):
        shift = (k - (len(arms) - 1) / 2) * min(0.08, 0.5 / len(arms))  # so that intervals stand side by side
        x = [levels.index(level) + shift for level in counts]
        y = [success / max(of, 1) for success, of, _, _ in counts.values()]
        ax.vlines(x, [c[2] for c in counts.values()], [c[3] for c in counts.values()], color=color, lw=1.4)
        ax.plot(x, y, color=color, marker=marker, ms=5.5, lw=1.4, label=_label(name))
    ax.set(ylim=(-0.03, 1.03), xlim=(-0.5, len(levels) - 0.5))
    ax.set_xticks(range(len(levels)), [_label(level) for level in levels])
    _percent(ax.yaxis)
    _legend(figure)
    return _png(figure)


def error_scatter(
    initial: Sequence[float], errors: Mapping[str, Sequence[float]], threshold: float, unit: str = "px"
) -> bytes:
    """Error after registration against the displacement before it, both logarithmic: PNG.

    ``initial`` (N,) ≥ 0 is shared by the arms; ``errors`` are (N,) per arm, in the same unit. Errors that are
    not finite are drawn at the upper edge, zeros at the lower. The dashed line is the threshold of success,
    the dotted one no change at all.
    """
    figure, ax = _axes(WIDTH, 4.4, f"displacement before ({unit})", f"error after ({unit})", grid="both")
    before = np.asarray(initial, float)
    after = {name: np.asarray(values, float) for name, values in errors.items()}
    bottom, top = _log_range([threshold, *before, *(v for values in after.values() for v in values)])
    left, right = _log_range(before)
    for (name, values), (color, marker) in zip(after.items(), _looks(), strict=False):
        y = np.clip(np.nan_to_num(values, nan=np.inf, posinf=np.inf), bottom, top)
        x = np.clip(before, left, right)
        ax.scatter(x, y, s=22, c=color, marker=marker, alpha=0.75, lw=0, label=_label(name), clip_on=False)
    ax.axhline(threshold, color=INK, lw=1.2, ls="--", label=f"success: at most {threshold:.3g} {unit}")
    ax.plot([bottom, top], [bottom, top], color=SOFT, lw=1.0, ls=":", label="no change")
    if not all(np.isfinite(values).all() for values in after.values()):
        ax.text(1.01, 1, "no result", va="center", color=SOFT, fontsize=8, transform=ax.transAxes)
    ax.set(xscale="log", yscale="log", xlim=(left, right), ylim=(bottom, top))
    _legend(figure)
    return _png(figure)


def score_landscape(angles: Sequence[float], scores: Sequence[float], chosen: float) -> bytes:
    """Best score for every angle (degrees, in any order) a search tried, and the angle it chose: PNG."""
    figure, ax = _axes(WIDTH, 3.0, "angle (degrees)", "best score")
    order = np.argsort(angles)
    x, y = np.asarray(angles, float)[order], np.asarray(scores, float)[order]
    ax.axvline(chosen, color=WARN, lw=1.4, ls="--")
    ax.plot(x, y, color=OKABE_ITO[0], lw=1.6, marker="o" if len(x) <= 72 else "", ms=3)
    words = f"chosen: {chosen:.1f}°".replace("-", "−")
    across = ax.get_xaxis_transform()  # x in degrees, y as a share of the height
    ax.text(chosen, 1.02, words, ha="center", va="bottom", color=WARN, fontsize=9, transform=across)
    return _png(figure)


def trust_bars(parts: Mapping[str, tuple[float, float]]) -> bytes:
    """What trust is made of, a bar per part with a mark at what is needed: PNG.

    ``parts`` are (score, needed), both in [0, 1]; one that falls short, or is NaN, is hatched and says so.
    """
    figure, ax = _axes(WIDTH, 0.6 + 0.42 * len(parts), "", "", grid="")
    for row, (name, (score, needed)) in enumerate(parts.items()):
        enough = bool(score >= needed)
        ax.barh(row, 1, height=0.5, color="#eceff2")
        width = float(np.clip(np.nan_to_num(score), 0, 1))
        color, hatch = (OKABE_ITO[0], None) if enough else (WARN, "////")
        ax.barh(row, width, height=0.5, lw=0, facecolor=color, edgecolor="white", hatch=hatch)
        ax.plot([needed, needed], [row - 0.36, row + 0.36], color=INK, lw=2)
        words = f"{score:.2f}  ✓" if enough else f"{score:.2f}  ✗ needs {needed:.2f}"
        ax.text(1.02, row, words, va="center", color=INK, fontsize=9)
        ax.text(-0.015, row, _label(name), va="center", ha="right", color=INK, fontsize=9)
    ax.set(xlim=(0, 1), ylim=(len(parts) - 0.5, -0.5), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return _png(figure)


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """(N,) → (N,): mean of the finite values at most ``window`` // 2 places away; NaN where none are."""
    if window <= 1:
        return values
    known, box = np.isfinite(values), np.ones(2 * (window // 2) + 1)
    reach = len(box) // 2
    total = np.convolve(np.where(known, values, 0), box)[reach : reach + len(values)]
    count = np.convolve(known, box)[reach : reach + len(values)]
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)


def _axes(width: float, height: float, x: str, y: str, grid: str = "y") -> tuple[Figure, Axes]:
    """An empty chart of a size in inches, with quiet axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    ax = figure.add_subplot()
    ax.set_xlabel(x, color=SOFT, fontsize=9)
    ax.set_ylabel(y, color=SOFT, fontsize=9)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(SOFT)
    ax.tick_params(which="both", colors=SOFT, labelsize=9)
    ax.set_axisbelow(True)
    if grid:
        ax.grid(axis=grid, color=LINE, lw=0.7)  # pyright: ignore[reportArgumentType]
    return figure, ax


def _looks() -> Iterable[tuple[str, str]]:
    """Color and marker of the first arm, the second, …; the marker tells them apart in gray print."""
    return zip(cycle(OKABE_ITO), cycle(MARKERS), strict=False)


def _label(name: str) -> str:
    """A name as matplotlib shows it: no formulas, and never hidden for its first character."""
    name = name.replace("$", r"\$")
    return f" {name}" if name.startswith("_") else name


def _legend(figure: Figure) -> None:
    """Names above the chart, as many in a row as fit."""
    handles, names = figure.axes[0].get_legend_handles_labels()
    if names:
        look = {"frameon": False, "fontsize": 9, "labelcolor": INK, "handlelength": 1.5, "columnspacing": 1.2}
        columns = max(1, min(len(names), 66 // (5 + max(map(len, names)))))
        figure.legend(handles, names, ncols=columns, loc="outside upper left", **look)


def _percent(axis) -> None:
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1.0))


def _log_range(values: Iterable[float]) -> tuple[float, float]:
    """A range for a logarithmic axis that holds all positive finite values with some air."""
    positive = [v for v in values if np.isfinite(v) and v > 0] or [1.0]
    return min(positive) / 1.5, max(positive) * 1.5


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()
