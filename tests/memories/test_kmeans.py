from __future__ import annotations

import pytest
import torch
from sklearn.cluster import KMeans
from torch.nn.functional import normalize

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.memories import kmeans as file
from counterpoint.memories.kmeans import kmeans


def blobs(count: int, k: int, dim: int = 3, shift: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows around k far points, and which."""
    rng = generator(0, "blobs")
    label = torch.arange(count) % k
    middle = 20 * torch.randn(k, dim, generator=rng, dtype=torch.float64)
    return middle[label] + torch.randn(count, dim, generator=rng, dtype=torch.float64) + shift, label


def same_grouping(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(a[:, None] == a, b[:, None] == b)


@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_far_blobs_are_found(shift):
    rows, label = blobs(60, 4, shift=shift)
    for x in (rows, rows.float()):
        centroids, cluster = kmeans(x, 4, generator(1))
        assert same_grouping(cluster, label) and centroids.dtype == x.dtype
        means = torch.stack([x[cluster == c].mean(0) for c in range(4)])
        torch.testing.assert_close(centroids, means, rtol=1e-6, atol=1e-6 + shift * 1e-6)


def test_it_ends_where_nothing_changes_as_scikit_learn_does(monkeypatch):
    rows = torch.randn(200, 5, generator=generator(2), dtype=torch.float64)
    seeds = rows[:6].clone()
    monkeypatch.setattr(file, "_seeds", lambda x, k, rng: x[:6])
    centroids, cluster = kmeans(rows, 6, generator(0), rounds=300)
    peer = KMeans(6, init=seeds.numpy(), n_init=1, max_iter=300, tol=0, algorithm="lloyd").fit(rows.numpy())
    assert cluster.tolist() == peer.labels_.tolist()
    torch.testing.assert_close(centroids, torch.from_numpy(peer.cluster_centers_))


def test_each_row_belongs_to_the_nearest_centroid_even_where_it_is_broken_off(monkeypatch):
    rows = torch.randn(300, 2, generator=generator(3))
    monkeypatch.setattr(file, "CHUNK", 64)  # several parts
    centroids, cluster = kmeans(rows, 7, generator(0), rounds=2)
    assert torch.equal(cluster, (rows[:, None] - centroids).square().sum(2).argmin(1))


def test_spherical_clusters_do_not_see_lengths():
    rng = generator(4)
    label = torch.arange(40) % 2
    direction = torch.tensor([[1.0, 0.2], [0.2, 1.0]])[label]
    rows = direction * (10 ** (4 * torch.rand(40, 1, generator=rng)))
    centroids, cluster = kmeans(rows, 2, generator(0), spherical=True)
    assert same_grouping(cluster, label)
    torch.testing.assert_close(centroids, normalize(direction[[cluster.tolist().index(c) for c in (0, 1)]]))
    assert not same_grouping(kmeans(rows, 2, generator(0))[1], label)


def test_no_cluster_stays_empty(monkeypatch):
    monkeypatch.setattr(file, "_seeds", lambda x, k, rng: x[[0] * k])  # all the same: k − 1 are empty
    cluster = kmeans(blobs(40, 4)[0], 4, generator(0))[1]
    assert sorted(cluster.unique().tolist()) == [0, 1, 2, 3]
    assert kmeans(torch.eye(5), 5, generator(0))[1].unique().numel() == 5


def test_seeds_are_drawn_by_squared_distance():
    rows = torch.tensor([[0.0], [0.0], [1.0], [3.0]])
    later = [file._seeds(rows, 2, generator(i))[:, 0].tolist() for i in range(2000)]
    assert not [pair for pair in later if pair[0] == pair[1]]
    from_zero = [second for first, second in later if first == 0]
    assert sum(s == 3 for s in from_zero) / len(from_zero) == pytest.approx(0.9, abs=0.03)  # 9 : 1
    assert all(file._seeds(rows, 3, generator(i)).unique().numel() == 3 for i in range(50))


def test_the_generator_decides():
    rows = torch.randn(100, 3, generator=generator(5))
    one, again = (kmeans(rows, 5, generator(7)) for _ in range(2))
    assert torch.equal(one[0], again[0]) and torch.equal(one[1], again[1])
    assert any(not torch.equal(one[0], kmeans(rows, 5, generator(i))[0]) for i in range(3))


def test_equal_rows_and_one_cluster_are_fine():
    centroids, cluster = kmeans(torch.ones(4, 2), 3, generator(0))
    assert torch.equal(centroids, torch.ones(3, 2)) and cluster.shape == (4,)
    rows = torch.rand(5, 2, requires_grad=True)
    centroids, cluster = kmeans(rows, 1, generator(0))
    torch.testing.assert_close(centroids[0], rows.mean(0).detach())
    assert not centroids.requires_grad and not cluster.any()
    assert kmeans(torch.rand(6, 2).half(), 2, generator(0))[0].dtype == torch.float32


def test_nonsense_is_refused():
    for k in (0, 4):
        with pytest.raises(InputError, match="k: expected 1 to 3 clusters"):
            kmeans(torch.rand(3, 2), k, generator(0))
