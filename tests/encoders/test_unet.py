from __future__ import annotations

import pytest
import torch

from counterpoint.core.encoder import EncoderConfig, tapped
from counterpoint.core.errors import InputError
from counterpoint.encoders.unet import UNet


@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
@pytest.mark.parametrize("widths", [(4,), (4, 6), (2, 3, 4, 5)])
def test_the_map_is_as_large_as_the_image_and_taps_are_as_wide_as_said(widths, upsampling):
    net = UNet.Config(channels=2, out=3, widths=widths, upsampling=upsampling).build().eval()
    side = 2 * net.multiple
    with tapped(net, tuple(net.taps)) as seen:
        y = net(torch.rand(2, 2, side, 2 * side))
    assert y.shape == (2, 3, side, 2 * side) and net.out_dim == 3
    assert {name: value.shape[1] for name, value in seen.items()} == net.taps
    assert seen["bottleneck"].shape[-2:] == (2, 4)


def test_the_default_has_the_parameters_one_counts_by_hand():
    def level(a, b):
        return 9 * a * b + 2 * b + 9 * b * b + 2 * b

    expected = level(1, 8) + level(8, 16) + level(16, 32) + level(48, 16) + level(24, 8) + 8 + 1
    net = UNet.Config().build()
    assert sum(p.numel() for p in net.parameters()) == expected
    assert net.multiple == 4


def test_every_level_up_also_sees_its_level_down():
    net = UNet.Config(widths=(3, 4, 5)).build().eval()
    inputs: list[torch.Tensor] = []
    for level in net.up:
        level.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    with tapped(net, ("down.0", "down.1", "bottleneck", "up.0")) as seen:
        net(torch.rand(1, 1, 8, 8))
    for given, below, beside in zip(inputs, ("bottleneck", "up.0"), ("down.1", "down.0"), strict=True):
        doubled = seen[below].repeat_interleave(2, -1).repeat_interleave(2, -2)
        assert torch.equal(given, torch.cat([doubled, seen[beside]], 1))


def test_settings_travel_and_nonsense_is_refused():
    config = UNet.Config(channels=3, widths=(4, 8))
    assert EncoderConfig.from_dict(config.to_dict()) == config
    with pytest.raises(InputError, match="widths"):
        UNet.Config(widths=())
    with pytest.raises(ValueError, match="multiples of 4"):
        UNet.Config().build()(torch.rand(1, 1, 10, 12))
