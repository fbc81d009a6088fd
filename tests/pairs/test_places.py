from __future__ import annotations

import math

import torch

from counterpoint.pairs.places import cell_places, same_place


def test_cells_lie_at_their_centers_row_by_row():
    boxes = torch.tensor([[10.0, 20.0, 16.0, 24.0], [3.0, 0.0, 0.0, 2.0]])  # the second is mirrored
    places = cell_places(boxes, 2, 3)
    assert places[0].tolist() == [[11, 21], [13, 21], [15, 21], [11, 23], [13, 23], [15, 23]]
    assert places[1].tolist() == [[2.5, 0.5], [1.5, 0.5], [0.5, 0.5], [2.5, 1.5], [1.5, 1.5], [0.5, 1.5]]


def test_pairs_are_the_slow_double_loop_for_each_sample():
    rng = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 4, 2, generator=rng), torch.rand(2, 5, 2, generator=rng)
    radius = torch.tensor([0.3, 0.5])[:, None, None]
    pairs = same_place(a, b, radius, outside=0.6)
    assert pairs.positive.shape == (2, 4, 5) and pairs.positive.any() and pairs.negative.any()
    for n in range(2):
        for i in range(4):
            for j in range(5):
                d = math.dist(a[n, i].tolist(), b[n, j].tolist())
                assert pairs.positive[n, i, j] == (d <= radius[n])
                assert pairs.negative[n, i, j] == (d > 0.6)


def test_without_a_second_radius_everything_is_one_or_the_other():
    places = cell_places(torch.tensor([[0.0, 0.0, 4.0, 4.0]]), 4, 4)[0]
    pairs = same_place(places, places, 1.0)
    assert torch.equal(pairs.negative, ~pairs.positive)
    assert pairs.positive.sum(1).view(4, 4)[0].tolist() == [3, 4, 4, 3]  # itself and what is next to it


def test_what_a_view_does_not_show_is_in_no_pair():
    a = torch.tensor([[0.0, 0.0], [math.nan, math.nan]])
    pairs = same_place(a, a, 1.0)
    assert pairs.positive.tolist() == [[True, False], [False, False]] and not pairs.negative.any()
