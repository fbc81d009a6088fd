from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from imagecodecs import png_decode

from counterpoint.report import figures

POINT = "#4095c5"
"""The first color, three quarters opaque, on white."""
ARMS = {"ours": (9, 10, 0.6, 0.98), "other": (2, 10, 0.05, 0.5)}


def where(png: bytes, color: str) -> np.ndarray:
    """(N, 2): column and row, in shares of the picture, of the pixels of one color."""
    pixels = png_decode(png)
    rgb = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    rows, columns = np.nonzero((np.abs(pixels[..., :3].astype(int) - rgb) <= 3).all(axis=2))
    return np.stack([columns / pixels.shape[1], rows / pixels.shape[0]], axis=1)


def test_running_mean_by_hand_skips_what_is_unknown():
    values = np.array([0.0, 3.0, 6.0, np.nan, 2.0])
    assert figures.running_mean(values, 3).tolist() == [1.5, 3.0, 4.5, 4.0, 2.0]
    assert figures.running_mean(values, 1) is values
    assert np.isnan(figures.running_mean(np.full(4, np.nan), 3)).all()


def test_every_curve_has_its_color_and_falls_where_the_loss_falls():
    png = figures.loss_curve([0, 1, 2], {"a": [3, 2, 1], "b": [1, np.nan, 3]}, smooth=1)
    falling = where(png, figures.OKABE_ITO[0])
    falling = falling[falling[:, 1] > 0.15]  # without the legend
    assert len(falling) > 100 and np.corrcoef(falling.T)[0, 1] > 0.9
    assert len(where(png, figures.OKABE_ITO[1]))


def test_a_bar_is_as_long_as_its_share():
    longest = [
        np.ptp(where(figures.trust_bars({"x": (share, 0.0)}), figures.OKABE_ITO[0])[:, 0])
        for share in (1.0, 0.5, 0.25)
    ]
    assert longest[1] / longest[0] == pytest.approx(0.5, abs=0.03)
    assert longest[2] / longest[0] == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("score", [0.4, np.nan])
def test_what_falls_short_of_what_is_needed_is_not_blue(score):
    assert not len(where(figures.trust_bars({"x": (score, 0.5)}), figures.OKABE_ITO[0]))


@pytest.mark.parametrize("peak", [-90, 0, 90])
def test_the_chosen_angle_is_marked_where_it_lies(peak):
    angles = [90, -90, 0]
    png = figures.score_landscape(angles, [0.9 if angle == peak else 0.1 for angle in angles], chosen=peak)
    line, curve = where(png, figures.WARN), where(png, figures.OKABE_ITO[0])
    highest = curve[curve[:, 1] < curve[:, 1].min() + 0.01]
    assert np.median(line[:, 0]) == pytest.approx(np.median(highest[:, 0]), abs=0.02)


def test_errors_without_a_number_lie_at_the_upper_edge_and_zeros_at_the_lower():
    drawn = {e: figures.error_scatter([1, 10], {"a": [e, e]}, 5) for e in (np.inf, np.nan, 0.0)}
    assert drawn[np.inf] == drawn[np.nan]
    top, bottom = (np.max(where(drawn[e], POINT)[:, 1]) for e in (np.inf, 0.0))
    assert top < 0.3 and bottom > 0.7


def test_charts_are_drawn_twice_alike_and_survive_odd_names_and_little_data():
    odd = "_a$b$_<&"
    twice = [
        lambda: figures.success_bars({odd: (0, 0, 0.0, 1.0), **ARMS}),
        lambda: figures.success_by_level({odd: {"1": (1, 2, 0.1, 0.9), "full": (2, 2, 0.3, 1.0)}, "b": {}}),
        lambda: figures.loss_curve([0], {odd: [1.0]}, smooth=5),
        lambda: figures.loss_curve([], {}),
        lambda: figures.error_scatter([0.0], {odd: [0.0]}, 1.0),
        lambda: figures.score_landscape([0], [1.0], 0),
        lambda: figures.trust_bars({odd: (1.2, 0.5)}),
    ]
    for draw in twice:
        png = draw()
        assert png_decode(png).shape[1] == round(figures.WIDTH * figures.DPI)
        assert png == draw()


def test_nothing_global_is_touched():
    code = (
        "import sys; from counterpoint.report import figures; assert 'matplotlib' not in sys.modules;"
        "figures.trust_bars({'a': (1, 0)}); assert 'matplotlib.pyplot' not in sys.modules;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
