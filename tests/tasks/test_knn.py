from __future__ import annotations

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from counterpoint.core.errors import InputError
from counterpoint.tasks.knn import KNN, knn


def rows(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(count, 5, generator=rng), torch.randint(0, 3, (count,), generator=rng)


@pytest.mark.parametrize("small", [1, 2**22])
@pytest.mark.parametrize("k", [1, 7, 40])
def test_plain_votes_are_those_of_scikit_learn(k, small, monkeypatch):
    monkeypatch.setattr("counterpoint.pairs.search.SMALL", small)
    (bank, label), (queries, _) = rows(40, 0), rows(25, 1)
    other = KNeighborsClassifier(k, metric="cosine").fit(bank.numpy(), label.numpy())
    assert knn(bank, label, queries, 3, k, None).tolist() == other.predict(queries.numpy()).tolist()


def test_weighted_votes_equal_a_slow_loop():
    (bank, label), (queries, _) = rows(40, 0), rows(25, 1)
    slow = []
    for query in queries:
        cosine = torch.cosine_similarity(query[None], bank)
        votes = [0.0, 0.0, 0.0]
        for j in cosine.argsort(descending=True)[:9].tolist():
            votes[label[j]] += float((cosine[j] / 0.2).exp())
        slow.append(votes.index(max(votes)))
    found = knn(bank, label, queries, 3, 9, 0.2).tolist()
    assert found == slow and found != knn(bank, label, queries, 3, 9, None).tolist()


def test_a_tiny_temperature_is_the_nearest_neighbor():
    (bank, label), (queries, _) = rows(40, 0), rows(25, 1)
    assert torch.equal(knn(bank, label, queries, 3, 30, 1e-6), knn(bank, label, queries, 3, 1, None))


def test_more_neighbors_than_samples_are_all_of_them():
    (bank, label), (queries, _) = rows(5, 0), rows(4, 1)
    assert torch.equal(knn(bank, label, queries, 3, 200, 0.1), knn(bank, label, queries, 3, 5, 0.1))


@pytest.mark.parametrize(("k", "temperature"), [(0, 0.1), (5, 0.0), (5, float("nan"))])
def test_settings_out_of_range_are_refused(k, temperature):
    with pytest.raises(InputError, match="k of at least 1 and a positive temperature"):
        knn(torch.ones(2, 2), torch.tensor([0, 1]), torch.ones(1, 2), 2, k, temperature)


def test_a_class_that_train_lacks_is_an_error(toys):
    train, test = toys.blobs(30, 3, 4, 0.01, 0), toys.blobs(40, 4, 4, 0.01, 1)
    out = KNN.Config(k=3).build()(lambda _: toys.flat, train, test, 0)
    assert out == {"accuracy": 0.75, "balanced_accuracy": 0.75}
