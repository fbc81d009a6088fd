from __future__ import annotations

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.encoders.convnet import ConvNet
from counterpoint.encoders.vit import ViT
from counterpoint.heads.dense import dense
from counterpoint.heads.maps import EveryPlace, Tap
from counterpoint.heads.mlp import mlp


def test_the_last_map_is_what_the_encoder_averages():
    encoder = ConvNet.Config(channels=1, width=4).build().eval()
    x = torch.rand(2, 1, 16, 24)
    maps = Tap(encoder)(x)
    assert maps.shape == (2, 16, 2, 3) and Tap(encoder).out_dim == 16
    torch.testing.assert_close(maps.mean((2, 3)), encoder(x))
    assert Tap(encoder, "layers.0")(x).shape == (2, 4, 8, 12)


def test_layers_that_are_not_there_or_give_no_map_are_refused():
    with pytest.raises(InputError, match=r"unknown tap 'layers\.9'"):
        Tap(ConvNet.Config().build(), "layers.9")
    vit = ViT.Config(channels=1, size=8, patch=4, dim=8, depth=1, heads=2).build()
    with pytest.raises(InputError, match=r"expected maps \(B, C, H, W\), found"):
        Tap(vit)(torch.rand(1, 1, 8, 8))


def test_every_place_is_a_row_of_the_perceptron_and_of_its_normalization():
    maps, rows = dense(3, 4, 2, 3), mlp(3, 4, 2, 3)
    for a, b in zip(rows.parameters(), maps.parameters(), strict=True):
        a.data.copy_(b.data.view_as(a))
    x = torch.rand(2, 3, 4, 5)
    torch.testing.assert_close(EveryPlace(rows)(x), maps(x))
