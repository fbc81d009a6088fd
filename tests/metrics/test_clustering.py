from __future__ import annotations

import numpy as np
import pytest

from counterpoint.core.errors import InputError
from counterpoint.metrics.clustering import ari, matched_accuracy, nmi

LABEL = np.array([0, 0, 0, 5, 5, 5])


def test_names_of_clusters_do_not_count():
    other = np.array([7, 7, 7, 1, 1, 1])
    assert ari(other, LABEL) == nmi(other, LABEL) == matched_accuracy(other, LABEL) == 1


def test_by_hand():
    cluster = np.array([0, 0, 1, 1, 1, 1])
    # pairs together in both 1 + 3, in clusters 1 + 6, in classes 3 + 3, of 15
    expected = 7 * 6 / 15
    assert ari(cluster, LABEL) == pytest.approx((4 - expected) / ((7 + 6) / 2 - expected))
    assert matched_accuracy(cluster, LABEL) == pytest.approx(5 / 6)
    joint, p, q = np.array([[2, 0], [1, 3]]) / 6, np.array([2, 4]) / 6, np.array([0.5, 0.5])
    mutual = sum(
        joint[i, j] * np.log(joint[i, j] / (p[i] * q[j])) for i in range(2) for j in range(2) if joint[i, j]
    )
    entropies = [-(x * np.log(x)).sum() for x in (p, q)]
    assert nmi(cluster, LABEL) == pytest.approx(mutual / np.mean(entropies))


def test_one_cluster_and_too_many_clusters_say_nothing():
    assert ari(np.zeros(6, int), LABEL) == nmi(np.zeros(6, int), LABEL) == 0
    assert ari(np.arange(6), LABEL) == pytest.approx(0)
    assert matched_accuracy(np.arange(6), LABEL) == pytest.approx(2 / 6)


@pytest.mark.parametrize("cluster", [np.zeros(5, int), np.zeros((6, 1), int)])
def test_unlike_lengths_are_refused(cluster):
    for measure in (ari, nmi, matched_accuracy):
        with pytest.raises(InputError, match=r"\(N,\)"):
            measure(cluster, LABEL)
