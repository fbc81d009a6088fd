"""k-means on frozen features of the test data: do the clusters agree with the classes?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import normalize

from counterpoint.core.data import Data
from counterpoint.core.errors import InputError
from counterpoint.core.rng import fold
from counterpoint.core.task import Networks, Outcome, Task, TaskConfig
from counterpoint.metrics.clustering import ari, matched_accuracy, nmi
from counterpoint.tasks.features import Embedded, coded, features


class Clustering(Task):
    """Adjusted Rand index, normalized mutual information and matched accuracy of k-means (scikit-learn)."""

    @dataclass(frozen=True, kw_only=True)
    class Config(TaskConfig):
        """Settings of the clusters."""

        clusters: int = 0
        """How many; 0 for as many as there are classes."""
        starts: int = 10
        """Runs of k-means (k-means++), of which the one with the smallest spread counts."""
        sphere: bool = True
        """Bring the features to length 1 first."""

    needs = frozenset({"label"})
    headline = "ari"

    def __call__(self, network: Networks, train: Data, test: Data, seed: int) -> Outcome:  # noqa: ARG002 -- learns nothing
        """The numbers of ``test``; ``train`` is not read."""
        c = self.config
        return self.judge(features(network(c.role), test, c.batch, key=c.role, tap=c.tap), seed)

    def judge(self, test: Embedded, seed: int) -> Outcome:
        """The same of features at hand."""
        from sklearn.cluster import KMeans

        label, _, classes = coded(test, test)
        k = self.config.clusters or classes
        if not 1 <= k <= len(test.z):
            raise InputError(f"clusters: expected at most the {len(test.z)} samples there are, found {k}")
        z = normalize(test.z, dim=1) if self.config.sphere else test.z
        distinct = len(torch.unique(z, dim=0))  # fewer points than clusters: k-means would complain of itself
        model = KMeans(
            min(k, distinct), n_init=self.config.starts, random_state=fold(seed, "k-means") % 2**32
        )
        cluster, truth = model.fit_predict(z.double().numpy()), label.numpy()
        return {
            "ari": ari(cluster, truth),
            "nmi": nmi(cluster, truth),
            "accuracy": matched_accuracy(cluster, truth),
        }
