"""Layouts: many vectors as points of the plane, by the distances between them or by their largest spread."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from counterpoint.core.errors import InputError


def mds(rows: Tensor, seed: int = 0, starts: int = 4) -> tuple[np.ndarray, float]:
    """Metric multidimensional scaling by SMACOF: (N, D) → points (N, 2), and their stress.

    Minimizes ``Σ_{i<j} (δ_ij − ‖u_i − u_j‖)²`` over the Euclidean distances δ, the best of ``starts`` random
    starts. The stress is Kruskal's first, ``sqrt(Σ (δ − d)² / Σ d²)``: 0 is exact, 0.2 is poor. Axes mean
    nothing and must not be compared between layouts. Source: Kruskal 1964; de Leeuw 1977; scikit-learn.

    Raises:
        InputError: fewer than three rows, or numbers that are not finite.
    """
    from sklearn.manifold import MDS

    x = _rows(rows)
    apart = torch.cdist(x, x).numpy()
    np.fill_diagonal(apart, 0.0)
    size = float(apart.max())
    if size == 0:  # all in one place
        return np.zeros((len(x), 2)), 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # on defaults that are given here or do not matter
        layout = MDS(**_precomputed(), n_init=starts, max_iter=300, random_state=seed)
        points = np.asarray(layout.fit_transform(apart / size)) * size
    near = np.linalg.norm(points[:, None] - points[None], axis=-1)
    total = float((near**2).sum())
    return points, float(np.sqrt(((apart - near) ** 2).sum() / total)) if total else 0.0


def pca(rows: Tensor) -> tuple[np.ndarray, float]:
    """The two directions of largest variance: (N, D) → points (N, 2), and the share of it they hold.

    Each axis points to where its largest weight is positive, so that the layout is one and the same.

    Raises:
        InputError: fewer than three rows, or numbers that are not finite.
    """
    x = _rows(rows)
    u, s, vt = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    points = torch.zeros(len(x), 2, dtype=x.dtype)
    for axis in range(min(2, len(s))):
        sign = vt[axis, vt[axis].abs().argmax()].sign()
        points[:, axis] = u[:, axis] * s[axis] * sign
    total = float(s.square().sum())
    return points.numpy(), float(s[:2].square().sum()) / total if total else 1.0


def _precomputed() -> dict[str, Any]:
    """How scikit-learn is told that it gets distances; the name of it changed with version 1.8."""
    from inspect import signature

    from sklearn.manifold import MDS

    known = signature(MDS).parameters
    if "metric_mds" in known:
        return {"metric": "precomputed", "init": "random"}
    return {"dissimilarity": "precomputed"}


def _rows(rows: Tensor) -> Tensor:
    if rows.ndim != 2 or len(rows) < 3:
        raise InputError(f"rows: expected (N, D) with N of at least 3, found {tuple(rows.shape)}")
    x = rows.detach().double()
    if not x.isfinite().all():
        raise InputError("rows: expected finite numbers, found others")
    return x
