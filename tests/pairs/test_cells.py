from __future__ import annotations

import math

import torch

from counterpoint.core.rng import generator
from counterpoint.pairs.cells import same_cells

WHOLE = torch.tensor([[0.0, 0.0, 1.0, 1.0]])


def test_of_equal_square_boxes_only_the_same_cells_are_near():
    pairs = same_cells(WHOLE, WHOLE, (7, 7), (7, 7))
    assert torch.equal(pairs.positive[0], torch.eye(49, dtype=torch.bool))
    assert torch.equal(pairs.negative, ~pairs.positive)
    wider = same_cells(WHOLE, WHOLE, (7, 7), (7, 7), radius=0.72)  # neighbors are 1/√2 diagonals apart
    assert wider.positive[0].sum(1).max() == 5


def test_a_mirrored_view_has_mirrored_pairs():
    mirrored = WHOLE[:, [2, 1, 0, 3]]
    cells = torch.arange(12).view(3, 4)
    positive = same_cells(WHOLE, mirrored, (3, 4), (3, 4), radius=0.5).positive[0]
    assert torch.equal(positive.nonzero()[:, 1], cells.flip(1).flatten())


def test_disjoint_boxes_have_no_pair():
    left, right = torch.tensor([[0.0, 0.0, 0.3, 1.0]]), torch.tensor([[0.6, 0.0, 1.0, 1.0]])
    assert not same_cells(left, right, (4, 4), (4, 4)).positive.any()


def test_pairs_are_the_slow_double_loop():
    u = torch.rand(5, 8, generator=generator(1))
    a = torch.stack([u[:, 0] / 2, u[:, 1] / 2, 0.5 + u[:, 2] / 2, 0.5 + u[:, 3] / 2], 1)
    b = torch.stack([0.5 + u[:, 4] / 2, u[:, 5] / 2, u[:, 6] / 2, 0.5 + u[:, 7] / 2], 1)  # mirrored
    found = same_cells(a, b, (3, 2), (4, 3)).positive
    for n in range(5):
        boxes = [[float(v) for v in box[n]] for box in (a, b)]
        grids = ((3, 2), (4, 3))
        sizes = [
            ((x1 - x0) / w, (y1 - y0) / h) for (x0, y0, x1, y1), (h, w) in zip(boxes, grids, strict=True)
        ]
        reach = 0.7 * max(math.hypot(*size) for size in sizes)
        for i in range(6):
            for j in range(12):
                centers = [
                    (box[0] + (k % w + 0.5) * size[0], box[1] + (k // w + 0.5) * size[1])
                    for box, size, (_, w), k in zip(boxes, sizes, grids, (i, j), strict=True)
                ]
                assert found[n, i, j] == (math.dist(*centers) <= reach)
