"""Figures of experiments that compare arms over several seeds: PNG bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from counterpoint.report.figures import INK, OKABE_ITO, SOFT, WARN, WIDTH, _axes, _label, _png

Gain = tuple[float, float, float, float, str]
"""(mean, low, high, margin, verdict): low and high bound the mean."""
LOOKS = {"holds": (OKABE_ITO[2], "o"), "fails": (WARN, "X"), "open": (SOFT, "D")}
"""Color and marker of a verdict; the marker tells them apart in gray print."""


def arm_dots(arms: Mapping[str, Sequence[float]], metric: str) -> bytes:
    """One row an arm: a dot for every seed and a bar at their mean: PNG."""
    figure, ax = _axes(WIDTH, 0.9 + 0.42 * len(arms), metric, "", grid="x")
    for row, values in enumerate(arms.values()):
        shift = np.linspace(-0.12, 0.12, len(values)) if len(values) > 1 else [0.0]  # so that none is hidden
        ax.scatter(values, row + np.asarray(shift), s=24, c=OKABE_ITO[0], alpha=0.75, lw=0)
        mean = float(np.mean(values))
        ax.plot([mean, mean], [row - 0.3, row + 0.3], color=INK, lw=2)
        ax.text(
            1.02, row, f"{mean:.3g}", va="center", color=INK, fontsize=9, transform=ax.get_yaxis_transform()
        )
    ax.set_yticks(range(len(arms)), [_label(name) for name in arms])
    ax.set(ylim=(len(arms) - 0.5, -0.5))
    return _png(figure)


def gain_bars(gains: Mapping[str, Gain], metric: str) -> bytes:
    """One row a gain: its mean with the interval, and a short line at the margin it had to exceed: PNG."""
    figure, ax = _axes(WIDTH, 0.9 + 0.55 * len(gains), f"gain in {metric}", "", grid="x")
    across = ax.get_yaxis_transform()  # x as a share of the width, y in rows
    for row, (name, (mean, low, high, margin, verdict)) in enumerate(gains.items()):
        color, marker = LOOKS[verdict]
        ax.plot([low, high], [row, row], color=color, lw=1.8)
        ax.plot(mean, row, marker=marker, color=color, ms=6.5)
        ax.plot([margin, margin], [row - 0.2, row + 0.2], color=INK, lw=1.4, ls="--")
        # above its row, not beside the axis: names of comparisons are long
        ax.text(0.01, row - 0.4, _label(name), va="center", color=INK, fontsize=9, transform=across)
        ax.text(1.02, row, verdict, va="center", color=color, fontsize=9, transform=across)
    ax.axvline(0, color=SOFT, lw=0.8)
    ax.set(ylim=(len(gains) - 0.5, -0.7), yticks=[])
    return _png(figure)
