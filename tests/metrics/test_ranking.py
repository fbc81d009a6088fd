from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from counterpoint.core.errors import InputError
from counterpoint.metrics.ranking import average_precision, first_place, ranked, recall_at


def test_by_hand():
    scores = torch.tensor([[0.9, 0.1, 0.5, 0.7], [0.2, 0.4, 0.6, 0.8]])
    right = torch.tensor([[False, True, True, False], [False, False, False, True]])
    hits = ranked(scores, right)
    assert hits.tolist() == [[False, False, True, True], [True, False, False, False]]
    assert first_place(hits).tolist() == [3, 1]
    assert average_precision(hits).tolist() == pytest.approx([(1 / 3 + 2 / 4) / 2, 1])
    assert [recall_at(first_place(hits), k) for k in (1, 2, 3)] == [0.5, 0.5, 1]


def test_equal_scores_earn_nothing():
    right = torch.tensor([[True, False, False, True]])
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2]):
        hits = ranked(torch.zeros(1, 4), right[:, order])
        assert hits.tolist() == [[False, False, True, True]]


def test_average_precision_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    scores, right = rng.normal(size=(20, 30)), rng.random((20, 30)) < 0.2
    right[:, 0] = True
    expected = [average_precision_score(r, s) for r, s in zip(right, scores, strict=True)]
    found = average_precision(ranked(torch.from_numpy(scores), torch.from_numpy(right)))
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize(
    ("scores", "right", "words"),
    [
        (torch.zeros(1, 2), torch.ones(1, 3, dtype=torch.bool), "one shape"),
        (torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.bool), "a right candidate"),
        (torch.full((1, 2), float("nan")), torch.ones(1, 2, dtype=torch.bool), "NaN"),
    ],
)
def test_questions_without_an_answer_are_refused(scores, right, words):
    with pytest.raises(InputError, match=words):
        ranked(scores, right)


def test_k_begins_at_one():
    with pytest.raises(InputError, match="at least 1"):
        recall_at(torch.tensor([1]), 0)
