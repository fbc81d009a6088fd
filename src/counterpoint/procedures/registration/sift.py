"""scikit-image: SIFT keypoints matched by their descriptors, and a transform agreed on by RANSAC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from counterpoint.core.errors import WorkError, unknown
from counterpoint.core.procedure import Procedure, ProcedureConfig
from counterpoint.data.intensity import gray


class Sift(Procedure):
    """Local features: no start needed, any rotation, but gradients must point the same way in both images.

    Source: Lowe 2004; matching and RANSAC as in MultiRegEval (mutual best matches, 3 points, 2 px).
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(ProcedureConfig):
        """Settings of Sift."""

        ratio: float = 1.0
        """Best distance over second best must be below this; 1 accepts every mutual match, in (0, 1]."""
        residual: float = 2.0
        """A match agrees with a transform if it is off by less than this many pixels, > 0."""
        rounds: int = 1000
        """Random samples RANSAC tries, ≥ 1."""
        inliers: int = 5
        """Fewest matches that must agree, ≥ 3."""
        seed: int = 0
        """Of RANSAC."""

    config: Config

    def __call__(
        self,
        fixed: np.ndarray,
        moving: np.ndarray,
        transform: Literal["rigid", "similarity", "affine"] = "rigid",
    ) -> np.ndarray:
        """(3, 3) matrix fixed → moving in pixels, from images (H, W[, C]).

        Raises:
            InputError: an unknown ``transform``.
            WorkError: too few features, matches or matches in agreement.
        """
        from skimage.feature import match_descriptors
        from skimage.measure import ransac
        from skimage.transform import AffineTransform, EuclideanTransform, SimilarityTransform

        kinds = {"rigid": EuclideanTransform, "similarity": SimilarityTransform, "affine": AffineTransform}
        if transform not in kinds:
            raise unknown("transform", transform, kinds)
        c = self.config
        (points_a, features_a), (points_b, features_b) = _features(fixed), _features(moving)
        pairs = match_descriptors(features_a, features_b, cross_check=True, max_ratio=c.ratio)
        if len(pairs) < c.inliers:
            raise WorkError(f"sift: {len(pairs)} keypoints match, expected at least {c.inliers}")
        matched = points_a[pairs[:, 0]], points_b[pairs[:, 1]]
        model, agree = ransac(matched, kinds[transform], 3, c.residual, max_trials=c.rounds, rng=c.seed)
        count = 0 if agree is None else int(np.sum(agree))
        if not model or count < c.inliers:
            raise WorkError(f"sift: {count} of {len(pairs)} matches agree, expected at least {c.inliers}")
        return np.asarray(model.params, float)


def _features(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (N, 2), (x, y), and their descriptors (N, 128)."""
    from skimage.feature import SIFT

    plane = gray(image).astype(float)
    plane -= plane.min()
    detector = SIFT()
    try:
        detector.detect_and_extract(plane / (plane.max() or 1.0))
    except RuntimeError as error:
        raise WorkError(f"sift: {str(error).splitlines()[0]}") from None
    return np.asarray(detector.keypoints, float)[:, ::-1], np.asarray(detector.descriptors)
