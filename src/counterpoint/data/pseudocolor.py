"""Pseudocolor: images that show one quantity by a color map, taken back to that quantity.

Emission tomography, thermal images and depth maps are often stored so. The brightness of such colors goes up
and down along the map, and shows rings where the quantity only rises; the place of a color along the map does
not.
"""

from __future__ import annotations

import numpy as np

COLORS = 24
"""Colors by which the map is drawn."""
CURVE = 0.9
"""Least share of the tree of colors that must lie on one curve; pictures of things branch."""
COLORFUL = 0.15
"""Least mean difference between channels, of a full scale, of the colors of a map: gray is none."""
SAMPLED = 20_000
"""Pixels that are looked at."""


def unrolled(image: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray | None:
    """The quantity that a color map shows, or None if the colors are not those of one.

    The colors' minimum spanning tree must be one curve in the main. A color's value is the length of that
    curve up to the point next to it, from the darker end.

    Args:
        image: (H, W, 3) float in [0, 1].
        counts: (H, W) bool, the pixels that tell; all without it.

    Returns:
        (H, W) float32 in [0, 1], rising along the map.
    """
    curve = _curve(_some(image, counts))
    if curve is None:
        return None
    start, step = curve[:-1], np.diff(curve, axis=0)
    length = np.linalg.norm(step, axis=1)
    before = np.concatenate([[0], np.cumsum(length)])
    flat = image.reshape(-1, 3).astype(np.float32)
    nearest, value = np.full(len(flat), np.inf, np.float32), np.zeros(len(flat), np.float32)
    for i in range(len(step)):
        # both ends go on: the centers of colors do not reach the last ones
        low, high = -float(i == 0), 1.0 + (i == len(step) - 1)
        along = ((flat - start[i]) @ step[i] / length[i] ** 2).clip(low, high)
        far = np.square(flat - start[i] - along[:, None] * step[i]).sum(1)
        closer = far < nearest
        nearest[closer] = far[closer]
        value[closer] = (before[i] + along * length[i])[closer]
    value -= value.min()
    return (value / value.max()).reshape(image.shape[:2]).astype(np.float32)


def _some(image: np.ndarray, counts: np.ndarray | None) -> np.ndarray:
    """(N, 3): colors of pixels spread evenly over the image."""
    colors = image.reshape(-1, 3) if counts is None else image[counts]
    return colors[:: max(1, len(colors) // SAMPLED)]


def _curve(colors: np.ndarray) -> np.ndarray | None:
    """(K, 3) the colors of the map in order, from the darker end; None if they do not lie on one curve."""
    from scipy.sparse.csgraph import minimum_spanning_tree, shortest_path
    from scipy.spatial.distance import cdist
    from sklearn.cluster import KMeans

    different = np.unique(np.round(colors * 32), axis=0) / 32  # each color once: a background must not rule
    if len(different) < COLORS or np.ptp(different, axis=1).mean() < COLORFUL:
        return None
    centers = KMeans(COLORS, n_init="auto", random_state=0, max_iter=50).fit(different).cluster_centers_
    tree = minimum_spanning_tree(cdist(centers, centers))
    ways, before = shortest_path(tree, directed=False, return_predecessors=True)
    one, other = np.unravel_index(ways.argmax(), ways.shape)
    if ways[one, other] < CURVE * tree.sum():
        return None
    order = [int(other)]
    while order[-1] != one:
        order.append(int(before[one, order[-1]]))
    curve = centers[order]
    return curve if curve[0].sum() <= curve[-1].sum() else curve[::-1]
