"""What every memory must do, asked of whatever stands in its room.

A memory has no settings, and each is written in its own words: ``CASES`` says how each file's class is
built, written at a step and read. A new memory adds its entry; files of functions stand in ``STATELESS``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from counterpoint.core.config import names
from counterpoint.core.tensors import read_tensors, write_tensors
from counterpoint.core.types import Progress
from counterpoint.memories.banks import Banks
from counterpoint.memories.center import Center
from counterpoint.memories.clusters import Clusters
from counterpoint.memories.queue import Queue
from counterpoint.memories.table import Table
from counterpoint.memories.teacher import Teacher
from counterpoint.memories.vocabulary import Vocabulary

ROOM = "counterpoint.memories"
STEPS = 7


@dataclass(frozen=True)
class Case:
    """How to use a memory of rows of width 3."""

    build: Callable[[], nn.Module]
    write: Callable[[nn.Module, Tensor, int], None]
    """With (4, 3) rows at a step, counted from 0."""
    read: Callable[[nn.Module], Tensor]


def student(rows: Tensor) -> nn.Linear:
    """A layer whose weights are rows."""
    layer = nn.Linear(3, 4, bias=False, dtype=rows.dtype)
    layer.weight = nn.Parameter(rows.detach().clone())
    return layer


CASES = {
    "teacher": Case(
        lambda: Teacher(nn.Linear(3, 4, bias=False), 0.5),
        lambda memory, rows, step: memory.follow(student(rows), Progress(step, STEPS, 0, 1)),
        lambda memory: memory(torch.eye(3, dtype=next(memory.parameters()).dtype)),
    ),
    "queue": Case(  # 4 · 7 rows go round a ring of 10 nearly three times
        lambda: Queue(10, 3, tags=("id",), filled=True),
        lambda memory, rows, step: memory.push(rows, id=torch.arange(4) + step),
        lambda memory: torch.cat([memory.read(), memory.tag("id")[:, None].to(memory.rows)], 1),
    ),
    "table": Case(  # grows as it is written
        lambda: Table(2, 3, momentum=0.5),
        lambda memory, rows, step: memory.write((torch.arange(4) * step) % 11, rows),
        lambda memory: memory.read(torch.arange(len(memory))),
    ),
    "clusters": Case(
        lambda: Clusters(2, 3),
        lambda memory, rows, step: memory.write(
            (torch.arange(4) * step) % 11, rows, None if memory.begun else torch.arange(4) % 2
        ),
        lambda memory: torch.cat([memory.read(), memory.label[:, None].to(memory.centroids)], 1),
    ),
    "banks": Case(
        lambda: Banks(2, 3),
        lambda memory, rows, step: memory.write((torch.arange(4) * step) % 11, torch.stack([rows, -rows])),
        lambda memory: torch.cat([table.rows for table in memory.tables]),
    ),
    "vocabulary": Case(
        lambda: Vocabulary(10, 3),
        lambda memory, rows, step: memory.write(rows, memory.scaled(rows.square())[None]),
        lambda memory: torch.cat([memory.read(), memory.scale.expand(1, 3)]),
    ),
    "center": Case(
        lambda: Center(3, 0.9),
        lambda memory, rows, step: memory.follow(rows),
        lambda memory: memory.read(),
    ),
}
STATELESS = {"kmeans"}

each = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def rows(step: int) -> Tensor:
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(step))


def written(case: Case, steps: range = range(STEPS), memory: nn.Module | None = None) -> nn.Module:
    if memory is None:
        torch.manual_seed(0)
        memory = case.build()
    for step in steps:
        case.write(memory, rows(step), step)
    return memory


def state(memory: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in memory.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_every_file_of_the_room_is_asked():
    assert set(names(ROOM)) == set(CASES) | STATELESS


@each
def test_writing_changes_what_is_read_and_reading_changes_nothing(case):
    memory = written(case, range(3))
    first, before = case.read(memory).clone(), state(memory)
    assert torch.equal(case.read(memory), first) and same(state(memory), before)
    case.write(memory, rows(3), 3)
    later = case.read(memory)
    assert later.isfinite().all()
    assert later.shape != first.shape or not torch.equal(later, first)


@each
@pytest.mark.parametrize("at", [0, 1, 3, 5])
def test_the_state_on_disk_is_everything(case, at, tmp_path):
    whole, half = written(case), written(case, range(at))
    write_tensors(tmp_path / "m.safetensors", half.state_dict(), "test", {})
    torch.manual_seed(1)  # other weights to begin with
    resumed = case.build()
    resumed.load_state_dict(read_tensors(tmp_path / "m.safetensors", "test")[0])
    assert torch.equal(case.read(resumed), case.read(half))
    written(case, range(at, STEPS), resumed)
    assert same(state(whole), state(resumed)) and torch.equal(case.read(whole), case.read(resumed))


@each
def test_no_tensor_stands_outside_of_the_state(case):
    memory = written(case)
    for module in memory.modules():
        assert not [name for name, value in vars(module).items() if isinstance(value, Tensor)]
    assert {name for name, _ in memory.named_buffers()} <= memory.state_dict().keys()


@each
def test_nothing_has_a_gradient(case):
    memory = written(case, range(2))
    given = rows(2).requires_grad_()
    case.write(memory, given * 2, 2)
    assert not case.read(memory).requires_grad
    assert not any(value.requires_grad for value in memory.state_dict(keep_vars=True).values())
    assert not list(filter(lambda p: p.requires_grad, memory.parameters()))


@each
def test_what_was_written_does_not_change_with_the_rows_given(case):
    memory, given = written(case, range(2)), rows(2)
    case.write(memory, given, 2)
    before = state(memory)
    given.zero_()
    assert same(before, state(memory))


@each
@pytest.mark.parametrize("given", [torch.bfloat16, torch.float64])
def test_rows_of_any_precision_are_kept_in_its_own(case, given):
    memory, exact = written(case, range(2)), written(case, range(2))
    coarse = rows(2).to(torch.bfloat16)
    case.write(memory, coarse.to(given), 2)
    case.write(exact, coarse.float(), 2)
    assert case.read(memory).dtype == torch.float32
    torch.testing.assert_close(case.read(memory), case.read(exact))
    assert case.read(written(case, range(2), case.build().double())).dtype == torch.float64


@each
def test_a_copy_is_another(case):
    memory = written(case, range(2))
    twin = copy.deepcopy(memory)
    before = state(memory)
    case.write(twin, rows(2), 2)
    assert same(before, state(memory)) and not same(before, state(twin))
