from __future__ import annotations

from collections import deque

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.memories.queue import Queue


def numbered(start: int, count: int) -> torch.Tensor:
    """(count, 2): each row says its number twice."""
    return torch.arange(start, start + count, dtype=torch.float32)[:, None].expand(-1, 2)


@pytest.mark.parametrize("sizes", [(1,) * 9, (2, 3, 4, 1), (5, 5), (3, 5, 4), (7,), (2, 12, 1), (0, 3, 0, 5)])
def test_it_holds_the_last_rows_whatever_comes_at_once(sizes):
    queue, expected, total = Queue(5, 2, tags=("id",)), deque(maxlen=5), 0
    for count in sizes:
        rows = numbered(total, count)
        queue.push(rows, id=rows[:, 0].long() + 100)
        expected.extend(range(total, total + count))
        total += count
        assert queue.count == len(expected) and queue.full == (len(expected) == 5)
        read = queue.read()
        assert sorted(read[:, 0].tolist()) == sorted(expected) and torch.equal(read[:, 0], read[:, 1])
        assert torch.equal(queue.tag("id"), read[:, 0].long() + 100)


def test_the_first_batch_stands_where_moco_puts_it():
    queue, keys = Queue(8, 3, filled=True), torch.randn(3, 3)
    before = queue.read().clone()
    queue.push(keys)
    assert torch.equal(queue.rows[:3], keys) and torch.equal(queue.rows[3:], before[3:])
    queue.push(torch.randn(4, 3))
    last = torch.randn(3, 3)
    queue.push(last)
    assert torch.equal(queue.rows[[7, 0, 1]], last)


def test_it_begins_full_of_random_directions_if_asked():
    torch.manual_seed(3)
    queue = Queue(100, 4, tags=("id", "label"), filled=True)
    assert queue.full and queue.count == 100
    torch.testing.assert_close(queue.read().norm(dim=1), torch.ones(100))
    assert queue.read().mean(0).abs().max() < 0.2
    assert (queue.tag("label") == -1).all()
    torch.manual_seed(3)
    assert torch.equal(Queue(100, 4, filled=True).read(), queue.read())
    assert not Queue(100, 4).full and Queue(100, 4).read().shape == (0, 4)


def test_writing_before_the_backward_pass_is_noticed():
    queue, z = Queue(4, 2), torch.randn(3, 2, requires_grad=True)
    queue.push(torch.randn(4, 2))
    loss = (z @ queue.read().T).exp().sum()
    queue.push(z)  # too early: z would be its own negative
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_nonsense_is_refused():
    with pytest.raises(InputError, match="queue: expected a positive size"):
        Queue(0, 2)
    queue = Queue(4, 2, tags=("id",))
    ids = torch.arange(3)
    for rows, tags in (
        (torch.rand(3, 3), {"id": ids}),
        (torch.rand(2), {"id": ids[:2]}),
        (torch.rand(3, 2), {}),
        (torch.rand(3, 2), {"label": ids}),
        (torch.rand(3, 2), {"id": ids[:2]}),
    ):
        with pytest.raises(ValueError, match="expected"):
            queue.push(rows, **tags)
    assert queue.count == 0
