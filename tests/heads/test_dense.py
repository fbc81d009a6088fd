from __future__ import annotations

import pytest
import torch
from torch import nn

from counterpoint.core.errors import InputError
from counterpoint.heads.dense import at_points, dense, under_masks
from counterpoint.heads.mlp import mlp


@pytest.mark.parametrize(("layers", "norm"), [(1, True), (2, True), (3, True), (2, False)])
def test_it_is_the_perceptron_at_every_pixel(layers, norm):
    maps, flat = dense(3, 4, 2, layers, norm), mlp(3, 4, 2, layers, norm)
    for a, b in zip(flat.parameters(), maps.parameters(), strict=True):
        a.data.copy_(b.data.view_as(a))
    x = torch.rand(2, 3, 4, 5)
    rows = flat(x.permute(0, 2, 3, 1).reshape(-1, 3))
    torch.testing.assert_close(maps(x), rows.view(2, 4, 5, 2).permute(0, 3, 1, 2))
    assert not any(m.bias is not None for m in maps[:-1] if isinstance(m, nn.Conv2d)) or not norm


def test_nonsense_is_refused():
    with pytest.raises(InputError, match="dense: expected positive widths"):
        dense(3, 0, 2)


def test_maps_are_read_at_pixel_centers_between_them_and_at_the_edge():
    maps = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    whole = torch.tensor([[0, 0], [4, 3], [2, 1]], dtype=torch.float64)
    read = at_points(maps, whole.expand(2, -1, -1))
    torch.testing.assert_close(read, torch.stack([maps[:, :, 0, 0], maps[:, :, 3, 4], maps[:, :, 1, 2]], 1))
    between = torch.tensor([[[1.25, 2.0], [-3.0, 9.0]]] * 2, dtype=torch.float64)
    read = at_points(maps, between)
    torch.testing.assert_close(read[:, 0], 0.75 * maps[:, :, 2, 1] + 0.25 * maps[:, :, 2, 2])
    torch.testing.assert_close(read[:, 1], maps[:, :, 3, 0])


def test_means_under_masks_are_those_of_a_loop():
    maps = torch.rand(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    masks = torch.rand(2, 3, 4, 5) > 0.5
    masks[1, 2] = False
    means = under_masks(maps, masks)
    assert means.shape == (2, 3, 3) and not means[1, 2].any()
    for b in range(2):
        for k in range(3):
            if masks[b, k].any():
                torch.testing.assert_close(means[b, k], maps[b][:, masks[b, k]].mean(1))
    means.sum().backward()
    assert maps.grad.isfinite().all()
    soft = under_masks(maps, masks * 0.3)
    torch.testing.assert_close(soft, means)
