"""k-means: clusters of the rows of a table."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.core.errors import InputError

CHUNK = 2**24
"""How many distances are held at once."""


@torch.no_grad()
def kmeans(
    rows: Tensor, k: int, rng: torch.Generator, rounds: int = 50, spherical: bool = False
) -> tuple[Tensor, Tensor]:
    """Lloyd's rounds from k-means++ seeds (Arthur and Vassilvitskii, 2007) until nothing changes.

    A cluster that loses all its rows starts again at the row that lies farthest from its own centroid.

    Args:
        rows: (N, D).
        k: How many clusters, at most N.
        rng: Draws the seeds; a CPU generator.
        rounds: At most so many rounds.
        spherical: Compare by cosine: rows and centroids are put on the sphere.

    Returns:
        The centroids, (k, D), and the cluster of each row, (N,) int64, which is that of the nearest centroid.

    Raises:
        InputError: ``k`` is not in 1 … N.
    """
    if not 1 <= k <= len(rows):
        raise InputError(f"k: expected 1 to {len(rows)} clusters of {len(rows)} rows, found {k}")
    rows = rows.detach().to(torch.promote_types(rows.dtype, torch.float32))
    # Distances are products of matrices: far from the origin their differences would drown in rounding.
    middle = rows.new_zeros(rows.shape[1]) if spherical else rows.mean(0)
    rows = normalize(rows, dim=1) if spherical else rows - middle
    centroids = _seeds(rows, k, rng)
    distance, cluster = _nearest(rows, centroids)
    for _ in range(rounds):
        before = cluster
        centroids = _means(rows, cluster, distance, k)
        centroids = normalize(centroids, dim=1) if spherical else centroids
        distance, cluster = _nearest(rows, centroids)
        if torch.equal(before, cluster):
            break
    return centroids + middle, cluster


def _seeds(rows: Tensor, k: int, rng: torch.Generator) -> Tensor:
    """Rows drawn one after the other, with a chance that grows with the squared distance to those drawn."""
    draws = torch.rand(k, generator=rng, dtype=torch.float64).tolist()
    chosen = [int(draws[0] * len(rows))]
    squared = (rows - rows[chosen[0]]).square().sum(1)
    for draw in draws[1:]:
        summed = squared.double().cumsum(0)
        # Where all rows lie on those drawn, the sum is 0 and any row will do.
        target = summed.new_tensor(draw) * summed[-1]
        chosen.append(min(int(torch.searchsorted(summed, target, right=True)), len(rows) - 1))
        squared = squared.minimum((rows - rows[chosen[-1]]).square().sum(1))
    return rows[chosen]


def _nearest(rows: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Distance to, and index of, each row's nearest centroid."""
    found = [torch.cdist(part, centroids).min(1) for part in rows.split(max(CHUNK // len(centroids), 1))]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def _means(rows: Tensor, cluster: Tensor, distance: Tensor, k: int) -> Tensor:
    """The mean of each cluster; of empty ones, the rows farthest from their centroids."""
    count = cluster.bincount(minlength=k)
    total = rows.new_zeros(k, rows.shape[1]).index_add_(0, cluster, rows)
    means = total / count.clamp(min=1)[:, None]
    empty = (count == 0).nonzero()[:, 0]
    if len(empty):
        means[empty] = rows[distance.topk(len(empty)).indices]
    return means
