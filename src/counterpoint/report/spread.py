"""Spread: how features lie – layouts with partners joined by lines, and spectra of singular values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from counterpoint.report.figures import (
    INK,
    LINE,
    OKABE_ITO,
    SOFT,
    WIDTH,
    _axes,
    _label,
    _legend,
    _looks,
    _png,
)


def partners(first: np.ndarray, second: np.ndarray, names: tuple[str, str], words: str = "") -> bytes:
    """Two sets of points (N, 2), row by row the same thing in two renditions, joined by lines: PNG.

    ``names`` are those of the sets, told apart by color and marker; ``words`` stand above. The axes have one
    scale and no numbers, because they mean nothing.
    """
    figure, ax = _axes(0.62 * WIDTH, 0.62 * WIDTH, "", "", grid="")
    for a, b in zip(first, second, strict=True):
        ax.plot(*zip(a, b, strict=True), color=SOFT, lw=0.7, alpha=0.6, zorder=1)
    for points, name, color, marker in zip((first, second), names, OKABE_ITO, "os", strict=False):
        ax.scatter(
            *points.T, s=18, c=color, marker=marker, lw=0.4, edgecolors="white", label=_label(name), zorder=2
        )
    ax.set_aspect("equal", adjustable="datalim")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_color(LINE)
    ax.spines[:].set_visible(True)
    if words:
        ax.set_title(words, color=INK, fontsize=9)
    _legend(figure)
    return _png(figure)


def spectra(values: Mapping[str, Sequence[float]]) -> bytes:
    """Singular values, largest first, divided by the largest, on a logarithmic axis, a line a name: PNG.

    Values of 0 are drawn at the lower edge, 10⁻⁸.
    """
    # The names stand above the chart, one in a row where they are long.
    figure, ax = _axes(WIDTH, 3.0 + 0.2 * len(values), "dimension", "singular value / the largest")
    styles = ("-", "--", ":", "-.")
    for i, ((name, of), (color, _)) in enumerate(zip(values.items(), _looks(), strict=False)):
        y = np.asarray(of, float)
        y = np.clip(y / y.max() if len(y) and y.max() > 0 else y, 1e-8, None)
        ax.plot(np.arange(1, len(y) + 1), y, color=color, lw=1.6, ls=styles[i // len(OKABE_ITO) % 4],
                label=_label(name))  # fmt: skip
    ax.set(yscale="log")
    ax.set_ylim(top=1.6)
    _legend(figure)
    return _png(figure)
