"""Quality: figures computed by hand, and words that follow from them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from counterpoint.core.grid import Grid
from counterpoint.registration.confirm import Ranking
from counterpoint.registration.quality import TRUSTED, judge
from counterpoint.registration.transform import Transform

FIXED, MOVING = Grid((100, 50), (0.5, 0.5), (7, 8)), Grid((60, 50), (0.25, 0.25), (1, 2))


CLOSE = (0.4, 0.36, 0.33, 0.3)
"""Scores of a best that hardly stands out."""


class Named:
    name = "gradient"


def judged(scores=(0.9, 0.3, 0.28, 0.2), move=(0.0, 0.0), scale=0.5, covers=1.0):
    """A result that takes a fixed pixel onto ``scale``·0.5/0.25 moving pixels, found back ``move`` away."""
    m = np.diag([scale, scale, 1.0])
    m[:2, 2] = np.array([1 - 0.125 + 30 * 0.25 * (1 - covers), 2 - 0.125]) - scale * (np.array([7, 8]) - 0.25)
    back = m.copy()
    back[:2, 2] += move
    matrices = np.stack([m] * len(scores))
    ranking = Ranking(cast(Any, Named()), matrices, np.array(scores))
    return judge(ranking, Transform(m, "similarity"), back, FIXED, MOVING)


def test_figures_are_those_of_the_ranking():
    found = judged()
    assert (found.measure, found.score) == ("gradient", 0.9)
    assert found.margin == pytest.approx(2 / 3) and found.prominence > 5


def test_agreement_is_measured_in_fixed_pixels():
    found = judged(move=(0.75, 1.0))  # 1.25 in moving space are 5 moving pixels; a fixed one covers one
    assert found.agreement == pytest.approx(5) and found.share == pytest.approx(0.05)
    assert judged(move=(0.75, 1.0), scale=1.0).agreement == pytest.approx(2.5)
    assert judged().agreement == 0


def test_the_overlap_is_the_covered_share_of_the_fixed_image():
    assert judged().overlap == pytest.approx(0.6)
    assert judged(scale=1.0).overlap == pytest.approx(0.3 * 0.5)


def test_a_clear_result_is_trusted_and_others_are_not():
    assert judged().trusted and judged().trust > 0.9
    for doubtful in (
        judged(scores=(0.3, 0.295, 0.29, 0.28)),
        judged(CLOSE, (10, 0)),
        judged(scores=(-1.0, -1, -1)),
    ):
        assert 0 <= doubtful.trust < 0.5 and not doubtful.trusted
    assert judged(move=(10, 0)).trust < judged(move=(0.5, 0)).trust < judged().trust
    assert judged(scores=(0.9, 0.6, 0.28, 0.2)).trust < judged().trust
    assert replace(judged(), trust=TRUSTED).trusted and not replace(judged(), trust=TRUSTED - 1e-9).trusted


def test_the_reason_names_what_is_wrong():
    assert "stands out" in judged().reason and "67%" in judged().reason
    assert "scores almost as well" in judged(scores=(0.3, 0.295, 0.29)).reason
    assert "exchanging the images gives a result that is 40.0 pixels away" in judged(CLOSE, (10, 0)).reason
    assert "overlap by only 12%" in replace(judged(), trust=0.1, overlap=0.12).reason
    for found in (judged(), judged(CLOSE, (10, 0)), replace(judged(), trust=0.0)):
        assert found.reason[0].islower() and not found.reason.endswith(".") and "\n" not in found.reason
