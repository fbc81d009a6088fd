from __future__ import annotations

import pytest
import torch

from counterpoint.core.errors import unknown
from counterpoint.core.types import Progress, Terms, View


def test_the_total_is_the_weighted_sum():
    parts = {"a": torch.tensor(2.0, requires_grad=True), "b": torch.tensor(3.0)}
    terms = Terms(parts, {"b": 0.5, "not there": 9.0})
    assert terms.total.item() == 3.5
    terms.total.backward()
    assert parts["a"].grad == 1


def test_progress_is_a_share_of_the_steps():
    assert Progress(0, 4, 0, 1).fraction == 0 and Progress(3, 4, 0, 1).fraction == 0.75
    assert Progress(0, 0, 0, 0).fraction == 0


def test_a_view_in_its_own_frame_needs_no_undoing():
    x = torch.rand(1, 1, 2, 2)
    assert View(x, torch.tensor([0])).undo(x) is x


@pytest.mark.parametrize(
    ("name", "known", "message"),
    [
        ("comr", ["comir", "clip"], "unknown method 'comr': did you mean comir? known are clip, comir"),
        ("zzz", ["comir"], "unknown method 'zzz': known are comir"),
        ("zzz", [], "unknown method 'zzz': known are none"),
    ],
)
def test_the_nearest_names_are_said(name, known, message):
    assert str(unknown("method", name, known)) == message
