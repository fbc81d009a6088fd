"""Regression on a target: the prediction of one view looks where the other view's embedding lies."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cosine_similarity

from counterpoint.objectives.precision import full_precision, wide


def negative_cosine(prediction: Tensor, target: Tensor) -> Tensor:
    """``−cos(p, z)``, mean over rows: SimSiam (Chen and He 2021, arXiv:2011.10566, eq. 1).

    Args:
        prediction: (..., D).
        target: (..., D), detached by the caller: without that (or a predictor and a slow teacher) all
            embeddings may become one.

    Returns:
        A scalar in [−1, 1]; a vector of zeros counts as 0.

    Raises:
        ValueError: the shapes differ.
    """
    if prediction.shape != target.shape:
        raise ValueError(f"target: expected {tuple(prediction.shape)}, found {tuple(target.shape)}")
    with full_precision(prediction):
        return -cosine_similarity(wide(prediction), wide(target), dim=-1).sum() / max(_rows(prediction), 1)


def cosine_regression(prediction: Tensor, target: Tensor) -> Tensor:
    """``|p/|p| − z/|z||² = 2 − 2 cos(p, z)``, mean over rows.

    Grill et al. 2020 (BYOL), arXiv:2006.07733, eq. 2; the paper sums both directions. Arguments as
    ``negative_cosine``, of which it is twice, plus 2: in [0, 4].
    """
    return 2 + 2 * negative_cosine(prediction, target)


def _rows(x: Tensor) -> int:
    return x.shape[:-1].numel()
