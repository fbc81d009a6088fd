from __future__ import annotations

import copy

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.memories.table import Table


def test_rows_stand_under_their_samples():
    table = Table(5, 2)
    table.write(torch.tensor([3, 1]), torch.tensor([[3.0, 3.5], [1.0, 1.5]]))
    assert table.read(torch.tensor([1, 0, 3])).tolist() == [[1.0, 1.5], [0.0, 0.0], [3.0, 3.5]]
    assert table.seen.tolist() == [False, True, False, True, False]
    table.write(torch.tensor([1]), torch.tensor([[9.0, 9.0]]))
    assert table.read(torch.tensor([1])).tolist() == [[9.0, 9.0]]


def test_what_was_written_stays_by_its_momentum_and_what_was_not_does_not():
    table = Table(2, 1, momentum=0.75)
    table.write(torch.tensor([0]), torch.tensor([[4.0]]))
    assert table.rows[0] == 4
    table.write(torch.tensor([0, 1]), torch.tensor([[8.0], [8.0]]))
    assert table.rows.flatten().tolist() == [0.75 * 4 + 0.25 * 8, 8.0]


def test_a_sample_that_comes_twice_leaves_its_mean():
    table = Table(3, 1)
    table.write(torch.tensor([2, 0, 2, 2]), torch.tensor([[1.0], [7.0], [2.0], [6.0]]))
    assert table.rows.flatten().tolist() == [7.0, 0.0, 3.0]


def test_what_was_read_is_a_copy():
    table = Table(2, 1)
    read = table.read(torch.tensor([0, 1]))
    table.write(torch.tensor([0, 1]), torch.ones(2, 1))
    assert not read.any()


def test_it_grows_and_takes_its_size_from_a_state():
    table = Table(0, 2)
    table.write(torch.tensor([4]), torch.ones(1, 2))
    assert len(table) == 5 and table.seen.sum() == 1
    table.write(torch.empty(0, dtype=torch.long), torch.empty(0, 2))
    for size in (0, 3, 9):
        holder = torch.nn.ModuleDict({"bank": Table(size, 2)})
        holder = copy.deepcopy(holder)
        holder.load_state_dict({f"bank.{name}": value for name, value in table.state_dict().items()})
        assert torch.equal(holder["bank"].rows, table.rows) and len(holder["bank"]) == 5
    with pytest.raises(RuntimeError, match="size mismatch"):
        Table(0, 3).load_state_dict(table.state_dict())


def test_nonsense_is_refused():
    for wrong in ((-1, 2), (1, 0), (1, 2, 1.0)):
        with pytest.raises(InputError, match="table: expected"):
            Table(*wrong)
    table = Table(2, 2)
    with pytest.raises(ValueError, match=r"rows: expected \(1, 2\)"):
        table.write(torch.tensor([0]), torch.rand(1, 3))
    with pytest.raises(ValueError, match="ids: expected whole numbers ≥ 0, found -1"):
        table.write(torch.tensor([0, -1]), torch.rand(2, 2))
    assert not table.seen.any()


def test_rows_may_be_kept_on_the_sphere():
    table = Table(1, 2, momentum=0.5, unit=True)
    table.write(torch.tensor([0]), torch.tensor([[3.0, 0.0]]))
    table.write(torch.tensor([0]), torch.tensor([[0.0, 1.0]]))
    assert torch.allclose(table.rows, torch.full((1, 2), 0.5**0.5))
