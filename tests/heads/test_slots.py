from __future__ import annotations

import math

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.heads.slots import Slots, occupied


def test_slots_are_the_slow_weighted_means():
    head, maps = Slots(3, 4, 0.5), torch.randn(2, 3, 2, 3)
    slots, scores = head(maps)
    assert slots.shape == (2, 4, 3) and scores.shape == (2, 4, 2, 3)
    prototypes = head.prototypes.weight.detach()
    for n in range(2):
        places = maps[n].flatten(1).T
        cosines = [
            [float(c @ u / (c.norm() * u.norm())) for c in prototypes] for u in places
        ]  # (places, prototypes)
        shares = []
        for row in cosines:
            whole = sum(math.exp(v / 0.5) for v in row)
            shares.append([math.exp(v / 0.5) / whole + 1e-6 for v in row])
        for k in range(4):
            total = sum(share[k] for share in shares)
            mean = sum(share[k] * u for share, u in zip(shares, places, strict=True)) / total
            torch.testing.assert_close(slots[n, k], mean, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(
                scores[n, k].flatten(), torch.tensor([row[k] for row in cosines]), rtol=1e-4, atol=1e-5
            )


def test_an_empty_slot_is_nearly_the_mean_of_the_map_and_not_occupied():
    head = Slots(2, 3, 0.02)
    head.prototypes.weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]))
    maps = torch.tensor([[3.0, 0.0, 0.0], [0.0, 2.0, 4.0]]).view(1, 2, 1, 3)
    slots, scores = head(maps)
    torch.testing.assert_close(
        slots[0], torch.tensor([[3.0, 0.0], [0.0, 3.0], [1.0, 2.0]]), rtol=1e-4, atol=1e-4
    )
    assert occupied(scores).tolist() == [[True, True, False]]


def test_occupied_is_the_slow_search_for_first_choices():
    scores = torch.randn(3, 6, 2, 2)
    found = occupied(scores)
    for n in range(3):
        firsts = {int(scores[n, :, y, x].argmax()) for y in range(2) for x in range(2)}
        assert {k for k in range(6) if found[n, k]} == firsts


def test_gradients_reach_map_and_prototypes():
    head = Slots(3, 2).double()
    maps = torch.randn(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(head, (maps,))
    head(maps)[0].square().sum().backward()
    assert head.prototypes.weight.grad.count_nonzero() == 6


def test_nonsense_is_refused():
    with pytest.raises(InputError, match="slots: expected a positive temperature"):
        Slots(3, 2, 0.0)
