from __future__ import annotations

import pytest
import torch
from torch import Tensor

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.memories.clusters import Clusters


def blobs(sizes: list[int], dim: int = 3) -> tuple[Tensor, Tensor]:
    """Rows about the axes, and which axis."""
    which = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    noise = 0.05 * torch.randn(len(which), dim, generator=generator(1))
    return torch.nn.functional.normalize(torch.eye(dim)[which] + noise, dim=1), which


def begun(sizes: list[int], least: int = 1) -> tuple[Clusters, Tensor, Tensor]:
    """Clusters that are the blobs, in their order."""
    rows, which = blobs(sizes)
    memory = Clusters(len(sizes), 3, least)
    memory.write(torch.arange(len(rows)), rows, which)
    memory.center()
    return memory, rows, which


def test_it_begins_by_k_means_of_what_was_written():
    rows, which = blobs([5, 6, 7])
    memory = Clusters(3, 3)
    memory.write(torch.arange(18) + 2, rows)  # samples 0 and 1 have not come yet
    assert not memory.begun and memory.of(torch.tensor([2, 99])).tolist() == [-1, -1]
    memory.begin(generator(0))
    assert memory.begun and memory.of(torch.tensor([0, 1, 99])).tolist() == [-1, -1, -1]
    found = memory.of(torch.arange(18) + 2)
    assert all(len(found[which == k].unique()) == 1 for k in range(3)) and len(found.unique()) == 3
    for k in range(3):
        mean = rows[which == k].mean(0)
        assert torch.allclose(memory.centroids[found[which == k][0]], mean, atol=1e-6)
        assert mean.norm() < 1  # a mean, not brought to unit length


def test_a_new_row_goes_to_the_centroid_of_the_largest_product():
    """Not of the largest cosine: a tight cluster attracts more."""
    memory, _, _ = begun([4, 4, 4])
    memory.centroids = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.3, 0.0], [0.0, 0.0, 1.0]])
    new = torch.tensor([[0.5, 0.8, 0.0], [0.0, 1.0, 0.0]])
    memory.write(torch.tensor([11, 20]), new)
    assert memory.of(torch.tensor([11, 20])).tolist() == [0, 1]
    assert torch.equal(memory.read()[[11, 20]], new)
    assert memory.centroids[0].tolist() == [1.0, 0.0, 0.0]  # until they are made anew
    memory.center()
    expected = (blobs([4, 4, 4])[0][:4].sum(0) + new[0]) / 5
    assert torch.allclose(memory.centroids[0], expected)


def test_labels_given_stay():
    memory, rows, _ = begun([4, 4, 4])
    before = memory.label.clone()
    memory.write(torch.arange(4), rows[4:8], memory.of(torch.arange(4)))
    assert torch.equal(memory.label, before) and torch.equal(memory.read()[:4], rows[4:8])


def test_small_clusters_are_dissolved_and_the_largest_is_split():
    memory, rows, before = begun([12, 6, 2], least=3)
    nearest = (rows[18:] @ memory.centroids[:2].T).argmax(1)
    memory.repair(generator(0))
    second = torch.cat([before[:18] == 1, nearest == 1])  # the first has more rows, and is split
    assert torch.equal(memory.label == 1, second)
    assert sorted(memory.label[~second].unique().tolist()) == [0, 2]
    for k in (0, 2):
        assert torch.allclose(memory.centroids[k], rows[memory.label == k].mean(0), atol=1e-6)


def test_without_repair_an_empty_cluster_stays_empty_and_with_it_it_does_not():
    memory, _, _ = begun([12, 6, 2])
    memory.label[memory.label == 2] = 0
    old = memory.centroids[2].clone()
    memory.center()
    assert memory.sizes().tolist() == [14, 6, 0] and torch.equal(memory.centroids[2], old)
    memory.repair(generator(0))
    assert memory.sizes()[2] > 0 and memory.sizes()[1] == 6


def test_rows_all_alike_are_halved_at_random():
    memory = Clusters(2, 3)
    memory.write(torch.arange(8), torch.tensor([[1.0, 0.0, 0.0]]).repeat(8, 1), torch.zeros(8).long())
    memory.repair(generator(0))
    assert memory.sizes().tolist() == [4, 4]


def test_nothing_is_repaired_where_all_are_small():
    memory, _, which = begun([2, 2, 2], least=5)
    memory.repair(generator(0))
    assert torch.equal(memory.label, which)


def test_wrong_numbers_are_refused():
    with pytest.raises(InputError, match="clusters: expected positive numbers, found 0, 3 and 1"):
        Clusters(0, 3)
    memory = Clusters(9, 3)
    memory.write(torch.arange(4), torch.eye(3)[[0, 1, 2, 0]])
    with pytest.raises(InputError, match="k: expected 1 to 4 clusters of 4 rows, found 9"):
        memory.begin(generator(0))
