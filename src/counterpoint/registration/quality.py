"""Quality: how sure a registration is, from what it can see of itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from counterpoint.core.grid import Grid
from counterpoint.registration.confirm import Ranking
from counterpoint.registration.transform import Transform
from counterpoint.registration.warp import overlap

TRUSTED = 0.5
"""Trust from which a result is called trustworthy."""


@dataclass(frozen=True, slots=True)
class Quality:
    """The figures behind the word "trusted"."""

    trust: float
    """In [0, 1]: how likely the result is right, as seen on pairs whose truth is known."""
    measure: str
    """By what the images were compared in the end."""
    score: float
    """Score of the best candidate in the search."""
    margin: float
    """(best - second best) / best of the distinct candidates, in [0, 1]."""
    prominence: float
    """How many standard deviations the best lies above the other candidates."""
    overlap: float
    """Share of the fixed image that the moving one covers."""
    agreement: float
    """Mean distance at the corners of the fixed image, in its pixels, between the transform found and the one
    found with the images exchanged."""
    share: float
    """``agreement`` as a share of the fixed image's width."""

    @property
    def trusted(self) -> bool:
        """Whether the result should be used without being looked at."""
        return self.trust >= TRUSTED

    @property
    def reason(self) -> str:
        """One sentence on why it is trusted or not."""
        if self.trusted:
            return (
                f"one alignment stands out: it scores {self.margin:.0%} above the next best and is found "
                f"again, to {self.agreement:.1f} pixels, with the images exchanged"
            )
        reasons = []
        if self.margin < 0.15 or self.prominence < 4:
            reasons.append(f"another alignment scores almost as well (margin {self.margin:.0%})")
        if self.share > 0.02:
            reasons.append(f"exchanging the images gives a result that is {self.agreement:.1f} pixels away")
        if self.overlap < 0.3:
            reasons.append(f"the images overlap by only {self.overlap:.0%}")
        return " and ".join(reasons) or "no single alignment stands out clearly"


def judge(ranking: Ranking, result: Transform, back: np.ndarray, fixed: Grid, moving: Grid) -> Quality:
    """The quality of ``result``, given the ranking it came from and the matrix found backwards."""
    physical = np.c_[fixed.corners, np.ones(4)] @ fixed.matrix.T
    ahead = (physical @ result.matrix.T)[:, :2]
    behind = (physical @ back.T)[:, :2]
    pixel = np.sqrt(abs(np.linalg.det((result.matrix @ fixed.matrix)[:2, :2])))
    agreement = float(np.linalg.norm(ahead - behind, axis=1).mean() / pixel)
    share = agreement / fixed.size[0]
    covered = overlap(result, fixed, moving)
    trust = _trust(ranking.margin, ranking.prominence, share)
    return Quality(
        trust,
        ranking.measure.name,
        float(ranking.scores[0]),
        ranking.margin,
        ranking.prominence,
        covered,
        agreement,
        share,
    )


def _trust(margin: float, prominence: float, share: float) -> float:
    """The logistic of a weighted sum, set by hand on pairs with known truth (half of the cases of each set).

    From a disagreement of 2 % of the width on, no margin makes up for it.
    """
    apart = 60.0 * min(share, 0.1) + 400.0 * max(0.0, min(share, 0.5) - 0.02)
    logit = -6.0 + 18.0 * margin + 0.6 * min(prominence, 10.0) - apart
    return float(1 / (1 + np.exp(-logit)))
