"""Confirm: which of many candidates stands out, once each has been allowed to improve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from counterpoint.core.grid import Grid
from counterpoint.registration.measure import Measure
from counterpoint.registration.refine import Kind, climb, look, sample

APART = 0.08
"""Candidates whose corners differ by less than this share of the image's width are the same."""
RIVALS = 12
"""How many other optima tell what a wrong answer scores."""


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Distinct optima of one measure, best first."""

    measure: Measure
    matrices: np.ndarray
    """(K, 3, 3) fixed physical → moving physical."""
    scores: np.ndarray
    """(K,) score times the square root of the overlap: chance agreement over few pixels is likelier."""

    @property
    def margin(self) -> float:
        """(best - second best) / best, in [0, 1]."""
        if len(self.scores) < 2 or self.scores[0] <= 0:
            return 0.0
        return float(np.clip((self.scores[0] - self.scores[1]) / self.scores[0], 0, 1))

    @property
    def standing(self) -> float:
        """How far the best stands out, for choosing between measures; comparable across them."""
        return self.margin * min(self.prominence, 10.0)

    @property
    def prominence(self) -> float:
        """How many standard deviations of the other optima the best lies above their mean."""
        if len(self.scores) < 3 or self.scores[0] <= 0:
            return 0.0
        rest = self.scores[1 : 1 + RIVALS]
        return float((self.scores[0] - rest.mean()) / (rest.std() + 0.02 * self.scores[0]))


def confirm(
    measure: Measure, candidates: np.ndarray, grid: Grid, spacing: float, kind: Kind, overlap: float
) -> Ranking:
    """Let all candidates (K, 3, 3) climb under ``measure`` and rank where they arrive."""
    fixed, moving = measure.fixed(spacing), measure.moving(spacing)
    points = sample(fixed, 4000)
    matrices, scores = climb(
        points,
        moving,
        candidates,
        fixed.matrix,
        kind,
        measure.score,
        measure.spin,
        steps=30,
        step=2.0,
        least=0.1,
    )
    pixel = torch.from_numpy(np.linalg.inv(moving.matrix) @ matrices @ fixed.matrix).float()
    _, weight = look(points, moving, pixel, measure.spin)
    share = (weight.sum(-1) / points.weight.sum()).numpy().clip(0, 1)
    # The overlap is measured on the fixed image; a smaller moving image can never cover all of it.
    possible = _area(moving.mask, moving.matrix) / _area(fixed.mask, fixed.matrix)
    scaled = np.abs(np.linalg.det(matrices[:, :2, :2]))
    own = np.minimum(possible / scaled, 1.0)
    enough = share >= 0.8 * overlap * own
    scores = np.where(enough, scores * np.sqrt(np.minimum(share / own.max(), 1.0)), -1.0)
    # What does not overlap enough is no rival: it tells nothing about what a wrong answer scores.
    keep = [i for i in distinct(matrices, scores, grid) if enough[i]] or [int(scores.argmax())]
    return Ranking(measure, matrices[keep], scores[keep])


def agreed(rankings: Sequence[Ranking], grid: Grid, spacing: float) -> Ranking:
    """The candidate that does best by several measures at once, where none of them is convincing by itself.

    Each measure puts the candidates of all in order, and places are added (Borda). Only measures that see the
    whole images vote, if there are such: what a frame hides may speak against a place. The ranking returned
    is that of the last voter, mutual information among the classical measures: where edges do not tell, they
    are no good for climbing either. If others score higher by it, its margin is 0.
    """
    matrices = np.concatenate([ranking.matrices for ranking in rankings])
    measures = {ranking.measure.name: ranking.measure for ranking in rankings}
    voters = [m for m in measures.values() if m.whole] or list(measures.values())
    votes = np.stack([_weighed(voter, matrices, spacing) for voter in voters])
    best = int(votes.argsort(1).argsort(1).sum(0).argmax())
    voter, scores = voters[-1], votes[-1]
    first = np.r_[best, np.delete(np.arange(len(matrices)), best)]
    raised = scores[first] + np.where(first == best, np.ptp(scores) + 1, 0)  # so that it stays the first
    keep = first[distinct(matrices[first], raised, grid)]
    return Ranking(voter, matrices[keep], scores[keep])


def _weighed(measure: Measure, matrices: np.ndarray, spacing: float) -> np.ndarray:
    """(K,) scores of candidates where they are, times the square root of the share they cover."""
    fixed, moving = measure.fixed(spacing), measure.moving(spacing)
    points = sample(fixed, 4000)
    pixel = torch.from_numpy(np.linalg.inv(moving.matrix) @ matrices @ fixed.matrix).float()
    maps, weight = look(points, moving, pixel, measure.spin)
    share = (weight.sum(-1) / points.weight.sum()).clamp(0, 1)
    return (measure.score(points.values, maps, weight) * share.sqrt()).numpy()


def distinct(matrices: np.ndarray, scores: np.ndarray, grid: Grid, most: int = 1 + RIVALS) -> list[int]:
    """Indices of the best candidates that differ from each other, best first."""
    corners = np.c_[grid.corners, np.ones(4)] @ grid.matrix.T
    images = corners @ np.swapaxes(matrices, 1, 2)
    apart = APART * grid.size[0] * np.sqrt(abs(np.linalg.det(grid.matrix[:2, :2])))
    keep: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        scale = np.sqrt(abs(np.linalg.det(matrices[i][:2, :2])))
        if all(np.linalg.norm(images[i] - images[k], axis=1).mean() > apart * scale for k in keep):
            keep.append(int(i))
        if len(keep) == most:
            break
    return keep


def _area(mask: torch.Tensor, matrix: np.ndarray) -> float:
    return float(mask.sum()) * abs(float(np.linalg.det(matrix[:2, :2])))
