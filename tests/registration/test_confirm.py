"""Confirm: candidates climb, those that arrive at one place count once, and the best comes first."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from counterpoint.core.grid import Grid
from counterpoint.registration.confirm import Ranking, agreed, confirm, distinct
from counterpoint.registration.levels import Level
from counterpoint.registration.measure import Measure
from counterpoint.registration.refine import ncc

GRID = Grid((100, 80), (0.5, 0.5), (3, -4), ((0.6, -0.8), (0.8, 0.6)))


def shifted(x=0.0, y=0.0, degrees=0.0):
    """Fixed physical → moving physical; the shift is in pixels of GRID."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    step = np.array([[c, -s, x], [s, c, y], [0, 0, 1]])
    return GRID.matrix @ step @ np.linalg.inv(GRID.matrix)


def measure():
    """The same scene on both sides, in gray values: the truth is the identity."""
    rng = np.random.default_rng(0)
    k, phase = rng.normal(size=(40, 2)) * 0.15, rng.random(40) * 6.3
    y, x = np.mgrid[:80, :100]
    maps = torch.from_numpy(np.cos(np.stack((x, y), -1) @ k.T + phase).sum(-1)[None]).float()
    level = Level(maps, torch.ones(80, 100), GRID.matrix)
    return Measure("intensity", lambda _: level, lambda _: level, ncc)


def ranking(*scores):
    return Ranking(measure(), np.stack([np.eye(3)] * len(scores)), np.array(scores))


def test_the_margin_is_the_share_by_which_the_best_is_better():
    assert ranking(0.8, 0.6, 0.1).margin == pytest.approx(0.25)
    assert 0.25 < ranking(0.8, -1.0).margin <= 1
    assert ranking(0.8).margin == ranking(-0.1, -1.0).margin == 0


def test_prominence_grows_with_the_distance_to_the_others():
    near, far = ranking(0.6, 0.5, 0.48, 0.46), ranking(0.9, 0.5, 0.48, 0.46)
    assert 0 < near.prominence < far.prominence and near.standing < far.standing
    assert ranking(0.9, 0.5).prominence == ranking(-0.5, -0.6, -0.7).prominence == 0


def test_candidates_near_each_other_count_once_and_the_best_of_them_stays():
    matrices = np.stack([shifted(2), shifted(), shifted(40), shifted(degrees=60), shifted(41, 1)])
    assert distinct(matrices, np.array([0.7, 0.9, 0.8, 0.1, 0.85]), GRID) == [1, 4, 3]
    assert distinct(matrices, np.array([0.7, 0.9, 0.8, 0.1, 0.85]), GRID, most=2) == [1, 4]


def test_the_right_candidate_climbs_home_and_comes_first():
    truth = np.eye(3)
    begin = np.stack([shifted(20, 30), shifted(3, -2, 2), shifted(1, 2), shifted(0, 0, 120), shifted(-30)])
    found = confirm(measure(), begin, GRID, 0.5, "rigid", overlap=0.3)
    ends = np.c_[GRID.corners, np.ones(4)] @ GRID.matrix.T
    assert np.abs(ends @ (found.matrices[0] - truth).T).max() < 0.1
    assert found.scores[0] == pytest.approx(1, abs=0.02)
    assert list(found.scores) == sorted(found.scores, reverse=True)
    assert 3 <= len(found.matrices) <= 4 and found.margin > 0.2  # two of them met


def test_what_overlaps_too_little_does_not_win():
    begin = np.stack([shifted(90), shifted(), shifted(0, 75)])
    found = confirm(measure(), begin, GRID, 0.5, "rigid", overlap=0.5)
    assert np.abs(found.matrices[0] - np.eye(3)).max() < 0.1
    assert (found.scores[1:] <= 0).all()


def scored(name: str, scores: list[float], whole: bool = True) -> Measure:
    """A measure that gives three candidates, each shifted by 10 pixels more, the given scores."""
    level = measure().fixed(1.0)

    def score(_fixed, moving, _weight):
        return torch.tensor([scores[i % 3] for i in range(len(moving))])

    return Measure(name, lambda _: level, lambda _: level, score, whole=whole)


def own(measure_: Measure, *order: int) -> Ranking:
    candidates = np.stack([shifted(), shifted(x=10), shifted(x=20)])
    return Ranking(measure_, candidates[list(order)], np.ones(len(order)))


def test_what_several_measures_place_well_is_elected():
    """Each has its own favorite, 1 and 2; the other's second is 1. The third measure does not see all."""
    one, other = scored("one", [0.8, 0.9, 0.1]), scored("other", [0.1, 0.8, 0.9])
    blind = scored("blind", [0.9, 0.1, 0.1], whole=False)
    candidates = (0, 1, 2)
    found = agreed([own(one, *candidates), own(blind, *candidates), own(other, *candidates)], GRID, 1.0)
    np.testing.assert_allclose(found.matrices[0], shifted(x=10))
    assert found.measure is other and found.margin == 0  # another scores higher: no reason to trust
    assert len(found.matrices) == 3  # those of all three are the same


def test_without_a_measure_that_sees_all_the_others_vote():
    blind = scored("blind", [0.2, 0.9, 0.1], whole=False)
    found = agreed([own(blind, 0, 1, 2)], GRID, 1.0)
    np.testing.assert_allclose(found.matrices[0], shifted(x=10))
    assert found.measure is blind and found.margin > 0.5
