from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cosine_similarity, one_hot

from counterpoint.core.rng import generator
from counterpoint.pairs.across import blended, hard_sources, same_soft

LABELS = torch.tensor([0, 1, 0, 2, 1, 0])
ROWS = torch.rand(6, 4, generator=generator(0))
"""Never below 0, as what comes out of a ReLU."""


def test_sources_are_the_least_alike_of_a_class_and_the_most_alike_of_others():
    """Released: masked likenesses are 0, and the least of them is nobody of the class at all."""
    near, far = hard_sources(ROWS, LABELS)
    for i in range(6):
        like = {k: cosine_similarity(ROWS[i], ROWS[k], dim=0).item() for k in range(6)}
        own = [k for k in range(6) if k != i and LABELS[k] == LABELS[i]]
        others = [k for k in range(6) if LABELS[k] != LABELS[i]]
        assert near[i] == (min(own, key=like.__getitem__) if own else i)
        assert far[i] == max(others, key=like.__getitem__)
    assert near[3] == 3  # alone in its class


def test_without_another_class_one_stays_oneself():
    _, far = hard_sources(ROWS, torch.zeros(6, dtype=torch.int64))
    assert far.tolist() == list(range(6))


def test_features_and_labels_are_mixed_by_the_same_shares():
    soft, share = one_hot(LABELS, 3).float(), torch.tensor([0.0, 0.25, 1.0])
    one, other = torch.tensor([0, 1, 2]), torch.tensor([3, 3, 4])
    rows, labels = blended(ROWS, soft, one, other, share)
    for m in range(3):
        a = share[m]
        torch.testing.assert_close(rows[m], a * ROWS[one[m]] + (1 - a) * ROWS[other[m]])
        torch.testing.assert_close(labels[m], a * soft[one[m]] + (1 - a) * soft[other[m]])


def test_gradients_reach_both_sources():
    rows = ROWS.double().requires_grad_()
    soft, share = one_hot(LABELS, 3).double(), torch.tensor([0.3, 0.6]).double()
    at = torch.tensor([0, 1]), torch.tensor([3, 5])
    assert torch.autograd.gradcheck(lambda r: blended(r, soft, *at, share)[0], (rows,))


@pytest.mark.parametrize("seed", range(3))
def test_mixtures_within_a_class_keep_its_label_and_others_stand_alone(seed):
    soft = one_hot(LABELS, 3).float()
    share = torch.rand(200, generator=generator(seed))
    within = blended(ROWS, soft, torch.zeros(200).long(), torch.full((200,), 5), share)[1]
    assert torch.equal(within, soft[:1].expand(200, -1))
    cross = blended(ROWS, soft, torch.tensor([0, 0]), torch.tensor([1, 3]), torch.tensor([0.5, 0.5]))[1]
    pairs = same_soft(torch.cat([soft, within[:1], cross]))
    assert pairs.positive[6].tolist() == [True, False, True, False, False, True, False, False, False]
    assert not pairs.positive[7:].any() and pairs.negative[7].sum() == 8
