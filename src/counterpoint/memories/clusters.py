"""Clusters: one row for each sample, each row in a cluster, labels and centroids following as rows change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from counterpoint.core.errors import InputError
from counterpoint.memories.kmeans import kmeans
from counterpoint.memories.table import Table


class Clusters(nn.Module):
    """Pseudo-labels kept up to date step by step, without stopping to cluster anew.

    Online clustering of Zhan et al. 2020 (ODC, arXiv:2006.10645), as Xie et al. 2022 (InterCLR,
    arXiv:2008.11702) use it: ``begin`` once by k-means, then at every step ``write`` what was seen, each row
    going to the centroid of the largest product, ``center`` now and then, and ``repair``, without which a few
    clusters swallow all others. Centroids are means, not of unit length: tight clusters attract more.

    Args:
        count: How many clusters C.
        dim: Width of a row.
        least: Rows that a cluster must have, else ``repair`` dissolves it.

    Raises:
        InputError: a number is less than 1.
    """

    label: Tensor
    centroids: Tensor

    def __init__(self, count: int, dim: int, least: int = 1) -> None:
        super().__init__()
        if min(count, dim, least) < 1:
            raise InputError(f"clusters: expected positive numbers, found {count}, {dim} and {least}")
        self.least, self.table = least, Table(0, dim)
        self.register_buffer("label", torch.zeros(0, dtype=torch.long))
        self.register_buffer("centroids", torch.zeros(count, dim))
        self.register_load_state_dict_pre_hook(_at_its_size)

    @property
    def begun(self) -> bool:
        """Whether any row has a label."""
        return bool((self.label >= 0).any())

    def read(self) -> Tensor:
        """(N, dim): the row of every sample, 0 where there is none. Not a copy: ``write`` changes it."""
        return self.table.rows

    def of(self, ids: Tensor) -> Tensor:
        """(B,) int64 labels of samples, −1 where one has none."""
        return torch.cat([self.label, self.label.new_full((1,), -1)])[ids.clamp(max=len(self.label))]

    def sizes(self) -> Tensor:
        """(C,) int64: how many rows each cluster has."""
        return self.label[self.label >= 0].bincount(minlength=len(self.centroids))

    @torch.no_grad()
    def write(self, ids: Tensor, rows: Tensor, label: Tensor | None = None) -> None:
        """Replace rows; each gets the label given, or the nearest centroid's once the clusters have begun.

        Args:
            ids: (B,) int64 ≥ 0.
            rows: (B, dim).
            label: (B,) int64; their present ones leave all labels as they are.
        """
        begun = self.begun
        self.table.write(ids, rows)
        self._resize(len(self.table))
        if label is None and begun:
            label = (self.table.read(ids) @ self.centroids.T).argmax(1)
        if label is not None:
            self.label[ids] = label.to(self.label)

    @torch.no_grad()
    def begin(self, rng: torch.Generator) -> None:
        """Cluster all rows there are anew, by k-means; raises ``InputError`` if they are fewer than C."""
        there = self.table.seen.nonzero()[:, 0]
        self.label[there] = kmeans(self.table.rows[there], len(self.centroids), rng)[1]
        self.center()

    @torch.no_grad()
    def center(self) -> None:
        """Centroids are the means of their rows again; an empty cluster's stays."""
        there, sizes = self.label >= 0, self.sizes()
        total = torch.zeros_like(self.centroids).index_add_(0, self.label[there], self.read()[there])
        self.centroids = torch.where(sizes[:, None] > 0, total / sizes.clamp(min=1)[:, None], self.centroids)

    @torch.no_grad()
    def repair(self, rng: torch.Generator) -> None:
        """Dissolve clusters of fewer than ``least`` rows, and give each half of what is then the largest.

        The rows go to the nearest of the other clusters. Nothing is done where all clusters are small.
        """
        small = self.sizes() < self.least
        if not small.any() or small.all():
            return
        large = (~small).nonzero()[:, 0]
        moved = ((self.label >= 0) & small[self.label]).nonzero()[:, 0]
        self.label[moved] = large[(self.read()[moved] @ self.centroids[large].T).argmax(1)]
        for empty in small.nonzero()[:, 0].tolist():
            self._split(int(self.sizes().argmax()), empty, rng)

    def _split(self, large: int, empty: int, rng: torch.Generator) -> None:
        """Two of one cluster, by 2-means; at random where its rows are all alike."""
        members = (self.label == large).nonzero()[:, 0]
        if len(members) < 2:
            return
        half = kmeans(self.read()[members], 2, rng)[1].bool()
        if half.all() or not half.any():
            half = (torch.randperm(len(members), generator=rng) < len(members) // 2).to(members.device)
        self.label[members[half]] = empty
        for cluster, part in ((large, ~half), (empty, half)):
            self.centroids[cluster] = self.read()[members[part]].mean(0)

    def _resize(self, size: int) -> None:
        """Labels for so many samples, those added being −1."""
        more = max(size - len(self.label), 0)
        self.label = torch.cat([self.label[:size], self.label.new_full((more,), -1)])


def _at_its_size(clusters: Clusters, state: Mapping[str, Tensor], prefix: str, *_rest: Any) -> None:
    """Before a state is loaded: take the size at which it was saved."""
    if (label := state.get(f"{prefix}label")) is not None:
        clusters._resize(len(label))
