from __future__ import annotations

import pytest
import torch

from counterpoint.core.encoder import EncoderConfig, tapped
from counterpoint.core.errors import InputError
from counterpoint.encoders.convnet import ConvNet


def test_three_layers_each_halve_the_image_and_the_last_is_averaged():
    net = ConvNet.Config(channels=2, width=4).build().eval()
    with torch.no_grad(), tapped(net, tuple(net.taps)) as seen:
        out = net(torch.rand(2, 2, 16, 24))
    shapes = {name: tuple(value.shape[1:]) for name, value in seen.items()}
    assert shapes == {"layers.0": (4, 8, 12), "layers.1": (8, 4, 6), "layers.2": (16, 2, 3)}
    assert net.out_dim == 16
    torch.testing.assert_close(out, seen["layers.2"].sum((2, 3)) / 6)


def test_the_default_has_the_parameters_one_counts_by_hand():
    expected = sum(9 * a * b + 2 * b for a, b in ((3, 32), (32, 64), (64, 128)))
    assert sum(p.numel() for p in ConvNet.Config().build().parameters()) == expected


@pytest.mark.parametrize("side", [1, 5, 8])
def test_any_size_goes_in(side):
    assert ConvNet.Config(width=2).build().eval()(torch.rand(1, 3, side, side)).shape == (1, 8)


def test_settings_travel_and_nonsense_is_refused():
    config = ConvNet.Config(channels=1, width=8)
    assert EncoderConfig.from_dict(config.to_dict()) == config
    with pytest.raises(InputError, match="positive channels and width"):
        ConvNet.Config(width=0)
