from __future__ import annotations

import pytest
import torch

from counterpoint.core.encoder import EncoderConfig, tapped
from counterpoint.core.errors import InputError
from counterpoint.encoders.tiramisu import Tiramisu

TINY = Tiramisu.Config(
    out=2, first=4, down=(1, 2), up=(2, 1), bottleneck=2, growth=3, compression=0.5, dropout=0
)


def count(config: Tiramisu.Config) -> int:
    return sum(p.numel() for p in config.build().parameters())


def test_the_presets_have_the_published_numbers_of_parameters():
    # 1 053 596 is printed in the authors' microscopy notebook (1 channel in, 3 out); the rest is rounded
    assert count(Tiramisu.Config.paper(1, 3)) == 1_053_596
    assert round(count(Tiramisu.Config.paper()) / 1e6, 3) == 1.053
    assert round(count(Tiramisu.Config.small()) / 1e6, 3) == 0.165
    assert Tiramisu.Config.paper() == Tiramisu.Config()


def test_the_bottlenecks_are_as_the_paper_has_them():
    for config, shape in ((Tiramisu.Config.small(), (36, 16, 16)), (Tiramisu.Config.paper(), (48, 2, 2))):
        net = config.build().eval()
        with torch.no_grad(), tapped(net, ("bottleneck",)) as seen:
            assert net(torch.rand(1, 1, 128, 128)).shape == (1, config.out, 128, 128)
        assert seen["bottleneck"].shape[1:] == shape


def test_taps_are_as_wide_as_said():
    net = TINY.build().eval()
    with tapped(net, tuple(net.taps)) as seen:
        net(torch.rand(1, 1, 8, 8))
    assert {name: value.shape[1] for name, value in seen.items()} == net.taps


@pytest.mark.parametrize(("height", "width"), [(9, 12), (1, 1), (3, 17)])
def test_any_size_goes_in_as_if_mirrored_at_the_far_edges(height, width):
    net = TINY.build().eval()
    x = torch.rand(1, 1, height, width)
    y = net(x)
    assert y.shape == (1, 2, height, width)
    rows = torch.tensor(
        [i if i < height else max(2 * height - 2 - i, 0) for i in range(-height % 4 + height)]
    )
    if height >= 4 and width >= 4:  # far enough from the edge to be mirrored once
        columns = [i if i < width else 2 * width - 2 - i for i in range(-width % 4 + width)]
        whole = x[:, :, rows][..., columns]
        assert torch.equal(net(whole)[..., :height, :width], y)


def test_dropout_is_drawn_in_training_only():
    config = Tiramisu.Config(first=4, down=(2,), up=(2,), bottleneck=1, growth=3)
    net, x = config.build(), torch.rand(2, 1, 8, 8)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


def test_settings_travel_and_nonsense_is_refused():
    assert EncoderConfig.from_dict(TINY.to_dict()) == TINY
    with pytest.raises(InputError, match="as many down as up"):
        Tiramisu.Config(down=(1,), up=(1, 1))
    with pytest.raises(InputError, match="compression"):
        Tiramisu.Config(compression=0)
