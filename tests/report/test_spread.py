from __future__ import annotations

import numpy as np
from imagecodecs import png_decode

from counterpoint.report.figures import OKABE_ITO
from counterpoint.report.spread import partners, spectra


def dark(png: bytes, color: str) -> np.ndarray:
    rgb = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return np.argwhere((np.abs(png_decode(png)[..., :3].astype(int) - rgb) <= 3).all(axis=2))


def test_both_sets_are_drawn_in_colors_and_partners_joined():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(9, 2))
    png = partners(first, first + 3, ("a", "b"), "stress 0.10")
    assert all(len(dark(png, color)) > 200 for color in OKABE_ITO[:2])
    assert len(png) > len(partners(first, first, ("a", "b"), "stress 0.10"))


def test_a_spectrum_that_falls_is_drawn_falling_and_zeros_are_no_trouble():
    seen = dark(spectra({"one": [4.0, 1.0, 0.1, 0.0]}), OKABE_ITO[0])
    seen = seen[seen[:, 0] > 0.15 * seen[:, 0].max()]
    assert np.corrcoef(seen.T)[0, 1] > 0.8  # rows grow downwards
    assert spectra({"empty": [], "zeros": [0.0, 0.0]})
