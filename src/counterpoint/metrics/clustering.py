"""How well clusters agree with classes. All take two (N,) arrays of whole numbers, in any coding."""

from __future__ import annotations

import numpy as np

from counterpoint.core.errors import InputError


def ari(cluster: np.ndarray, label: np.ndarray) -> float:
    """Adjusted Rand index, in [−0.5, 1]: 1 for the same partition, about 0 by chance.

    Source: Hubert & Arabie 1985, as scikit-learn has it.
    """
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(*_checked(label, cluster)))


def nmi(cluster: np.ndarray, label: np.ndarray) -> float:
    """Normalized mutual information, in [0, 1], over the mean of the two entropies.

    Not adjusted for chance: many clusters score well. Source: Vinh, Epps & Bailey 2010, NMI_sum, as
    scikit-learn has it.
    """
    from sklearn.metrics import normalized_mutual_info_score

    return float(normalized_mutual_info_score(*_checked(label, cluster)))


def matched_accuracy(cluster: np.ndarray, label: np.ndarray) -> float:
    """Accuracy, in [0, 1], when each cluster is called by one class and no class twice, in the best way.

    Source: the assignment of Kuhn 1955, as SciPy solves it.
    """
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics.cluster import contingency_matrix

    table = contingency_matrix(*_checked(label, cluster))
    return float(table[linear_sum_assignment(table, maximize=True)].sum() / table.sum())


def _checked(label: np.ndarray, cluster: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    label, cluster = np.asarray(label), np.asarray(cluster)
    if label.ndim != 1 or label.shape != cluster.shape or not len(label):
        raise InputError(
            f"clusters: expected two arrays (N,), N ≥ 1, found {cluster.shape} and {label.shape}"
        )
    return label, cluster
