from __future__ import annotations

import torch
from torch.nn.functional import normalize

from counterpoint.core.rng import generator
from counterpoint.memories.banks import Banks

IDS = torch.tensor([7, 2, 4])
NOW = torch.randn(2, 3, 5, generator=generator(1))


def test_before_there_are_rows_the_batch_stands_for_itself():
    banks = Banks(2, 5)
    drawn = banks.draw(IDS, 20, generator(0))
    assert torch.equal(drawn[:, 0], IDS) and set(drawn.flatten().tolist()) == {7, 2, 4}
    rows = banks.read(drawn, IDS, NOW)
    assert rows.shape == (2, 3, 21, 5) and not rows.requires_grad
    unit = normalize(NOW, dim=-1)
    for i in range(3):
        for k in range(21):
            place = IDS.tolist().index(int(drawn[i, k]))
            assert torch.allclose(rows[:, i, k], unit[:, place])


def test_rows_move_by_half_and_stay_on_the_sphere():
    banks = Banks(2, 5)
    banks.write(IDS, NOW)
    banks.write(IDS[:1], -3 * NOW[:, 1:2])
    drawn = torch.tensor([[7, 2, 4]])
    rows = banks.read(drawn, IDS[:1], NOW[:, :1])
    unit = normalize(NOW, dim=-1)
    assert torch.allclose(rows[:, 0, 0], normalize(unit[:, 0] - unit[:, 1], dim=-1), atol=1e-6)
    assert torch.allclose(rows[:, 0, 1:], unit[:, 1:])


def test_then_only_what_has_rows_is_drawn_and_a_newcomer_stands_for_itself():
    banks = Banks(2, 5)
    banks.write(IDS, NOW)
    new = torch.tensor([99, 0])
    drawn = banks.draw(new, 30, generator(0))
    assert drawn[:, 0].tolist() == [99, 0] and set(drawn[:, 1:].flatten().tolist()) == {7, 2, 4}
    rows = banks.read(drawn, new, NOW[:, :2])
    assert torch.allclose(rows[:, :, 0], normalize(NOW[:, :2], dim=-1))
    assert torch.allclose(rows.norm(dim=-1), torch.ones(2, 2, 31))
