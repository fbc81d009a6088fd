from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from counterpoint.pairs.candidates import (
    beside,
    in_batch,
    joined,
    mixed,
    mixed_with_anchor,
    own,
    remembered,
)
from counterpoint.pairs.ids import same_sample


def unit(n: int, seed: int) -> torch.Tensor:
    return normalize(
        torch.randn(n, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=1
    )


def test_batch_queue_and_table_side_by_side():
    ids, keys, queue, table = torch.tensor([3, 5]), unit(2, 1).requires_grad_(), unit(3, 2), unit(2, 3)
    found = joined(
        own(in_batch(ids, keys, ids)), remembered(ids, queue), remembered(ids, table, torch.tensor([5, 8]))
    )
    assert torch.equal(found.rows, torch.cat([keys, queue, table]))
    assert found.pairs.positive.int().tolist() == [[1, 0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0]]
    # not the other's key, all of the queue, of the table not one's own row
    assert found.pairs.negative.int().tolist() == [[0, 0, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 0, 1]]


def test_in_batch_keeps_the_others_as_negatives():
    ids = torch.tensor([0, 1])
    pairs = in_batch(ids, unit(4, 1), ids.repeat(2)).pairs
    assert pairs.positive.int().tolist() == [[1, 0, 1, 0], [0, 1, 0, 1]]
    assert torch.equal(pairs.negative, ~pairs.positive)


def test_memories_get_no_gradient():
    rows = unit(3, 1).requires_grad_()
    assert not remembered(torch.arange(2), rows).rows.requires_grad
    assert in_batch(torch.arange(3), rows, torch.arange(3)).rows.requires_grad


@pytest.fixture
def rows() -> torch.Tensor:
    return unit(9, 4)


@pytest.fixture
def hard(rows) -> torch.Tensor:
    return (unit(5, 5) @ rows.T).topk(3, dim=1).indices


def test_mixtures_are_unit_vectors_between_two_hard_ones(rows, hard):
    made = mixed(rows, hard, 40, torch.Generator().manual_seed(0))
    assert made.shape == (5, 40, 4) and not made.requires_grad
    torch.testing.assert_close(made.norm(dim=-1), torch.ones(5, 40, dtype=torch.float64))
    for i in range(5):  # a mixture of three vectors with no negative part and at most two of them
        parts = torch.linalg.lstsq(rows[hard[i]].T, made[i].T).solution
        assert (parts > -1e-9).all() and ((parts.abs() < 1e-9).any(0)).all()
        torch.testing.assert_close(rows[hard[i]].T @ parts, made[i].T)


def test_one_hard_negative_is_all_there_is(rows, hard):
    made = mixed(rows, hard[:, :1], 4, torch.Generator().manual_seed(0))
    torch.testing.assert_close(made, rows[hard[:, :1]].expand(-1, 4, -1))


def test_mixtures_with_the_anchor_are_nearer_to_it_than_what_they_came_from(rows, hard):
    anchors = unit(5, 5).requires_grad_()
    made = mixed_with_anchor(anchors, rows, hard[:, :1], 50, torch.Generator().manual_seed(0))
    assert not made.requires_grad
    likeness = torch.einsum("nd,nsd->ns", anchors, made)
    other = torch.einsum("nd,nsd->ns", rows[hard[:, 0]], made)
    assert (likeness >= (anchors * rows[hard[:, 0]]).sum(1, keepdim=True) - 1e-12).all()
    assert (likeness <= other + 1e-12).all()  # the anchor's share stays below a half


def test_the_generator_decides(rows, hard):
    one, again, other = (mixed(rows, hard, 4, torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_own_columns_are_negatives_of_their_row():
    ids = torch.tensor([3, 5])
    logits, pairs = beside(torch.ones(2, 2), same_sample(ids, ids), torch.tensor([[7.0], [8.0]]))
    assert logits.tolist() == [[1, 1, 7], [1, 1, 8]]
    assert pairs.positive.int().tolist() == [[1, 0, 0], [0, 1, 0]]
    assert pairs.negative.int().tolist() == [[0, 1, 1], [1, 0, 1]]
