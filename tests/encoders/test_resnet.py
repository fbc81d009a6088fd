from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from counterpoint.core.encoder import EncoderConfig, tapped
from counterpoint.core.errors import InputError
from counterpoint.encoders.resnet import ResNet


def build(**settings) -> ResNet:
    return ResNet(ResNet.Config(**settings))


@pytest.mark.parametrize(
    ("depth", "parameters", "entries"),
    [(18, 11_176_512, 120), (34, 21_284_672, 216), (50, 23_508_032, 318), (101, 42_500_160, 624)],
)
def test_parameters_are_as_many_as_the_known_ones(depth, parameters, entries):
    with torch.device("meta"):  # nothing is allocated
        net = build(depth=depth, stem="full")
    # Those of torchvision's networks without their last linear layer, and their number of named tensors.
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert len(net.state_dict()) == entries
    assert net.out_dim == net.taps["layer4"] == (512 if depth < 50 else 2048)


def test_layers_are_named_as_in_torchvision():
    with torch.device("meta"):
        names = build(depth=50, stem="full").state_dict().keys()
    assert {
        "conv1.weight",
        "bn1.running_var",
        "layer1.0.downsample.0.weight",
        "layer1.0.downsample.1.running_mean",
        "layer2.3.conv3.weight",
        "layer4.2.bn3.num_batches_tracked",
    } <= names
    assert "layer1.1.downsample.0.weight" not in names and "layer1.0.conv1.bias" not in names


@pytest.mark.parametrize(
    ("stem", "sides"), [("small", (32, 32, 16, 8, 4)), ("full", (8, 8, 4, 2, 1))], ids=["small", "full"]
)
@pytest.mark.parametrize("depth", [18, 50])
def test_stages_halve_the_resolution_the_small_stem_does_not(stem, sides, depth):
    net = build(depth=depth, width=2, stem=stem, channels=1).eval()
    with torch.no_grad(), tapped(net, tuple(net.taps)) as seen:
        out = net(torch.rand(2, 1, 32, 32))
    assert tuple(value.shape[-1] for value in seen.values()) == sides
    assert {name: value.shape[1] for name, value in seen.items()} == net.taps
    torch.testing.assert_close(out, seen["layer4"].flatten(2).mean(2))


def by_hand(net: ResNet, x: torch.Tensor, stride_at: int) -> torch.Tensor:
    """The stages, spelled out with the weights by name; normalization in evaluation."""
    w = net.state_dict()

    def norm(x, name):
        stats = (w[f"{name}.running_mean"], w[f"{name}.running_var"])
        return F.batch_norm(x, *stats, w[f"{name}.weight"], w[f"{name}.bias"])

    for stage in range(1, 5):
        for j in range(len(net.get_submodule(f"layer{stage}"))):
            place, stride = f"layer{stage}.{j}", 2 if stage > 1 and j == 0 else 1
            count = 2 if stride_at == 1 else 3
            y = x
            for i in range(1, count + 1):
                kernel = w[f"{place}.conv{i}.weight"]
                step = stride if i == stride_at else 1
                y = norm(F.conv2d(y, kernel, None, step, kernel.shape[-1] // 2), f"{place}.bn{i}")
                y = F.relu(y) if i < count else y
            if f"{place}.downsample.0.weight" in w:
                x = norm(
                    F.conv2d(x, w[f"{place}.downsample.0.weight"], None, stride), f"{place}.downsample.1"
                )
            x = F.relu(x + y)
    return x.mean((2, 3))


@pytest.mark.parametrize(("depth", "stride_at"), [(18, 1), (50, 2)])
def test_blocks_are_those_of_the_paper(depth, stride_at):
    net = build(depth=depth, width=2)
    x = torch.rand(3, 3, 8, 8)
    with torch.no_grad():
        net(x)
        net.eval()
        with tapped(net, ("maxpool",)) as seen:
            out = net(x)
        torch.testing.assert_close(out, by_hand(net, seen["maxpool"], stride_at))


def test_weights_begin_as_he_says():
    torch.manual_seed(0)
    net = build(width=16)
    kernel = net.get_submodule("layer4.0.conv1").weight  # 64 channels in, 128 out: those out count
    assert kernel.std().item() == pytest.approx(math.sqrt(2 / (9 * 128)), rel=0.02)
    assert all(torch.equal(m.weight, torch.ones(len(m.weight))) for m in norms(net))


def norms(net: nn.Module) -> list[nn.BatchNorm2d]:
    return [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.mark.parametrize(("depth", "last"), [(18, "bn2"), (50, "bn3")])
def test_zero_last_makes_blocks_begin_as_their_shortcuts(depth, last):
    net = build(depth=depth, width=2, zero_last=True).eval()
    zero = {name for name, m in net.named_modules() if isinstance(m, nn.BatchNorm2d) and not m.weight.any()}
    assert zero == {name for name, _ in net.named_modules() if name.endswith(f".{last}")}
    block = net.get_submodule("layer2.1")
    x = torch.rand(1, 4 if depth < 50 else 16, 4, 4)
    assert torch.equal(block(x), x)


def test_settings_travel_and_nonsense_is_refused():
    config = ResNet.Config(depth=50, width=8, stem="full")
    assert EncoderConfig.from_dict(config.to_dict()) == config
    with pytest.raises(InputError, match="depth"):
        EncoderConfig.from_dict(config.to_dict() | {"depth": 19})
    with pytest.raises(InputError, match="positive channels and width"):
        ResNet.Config(width=0)
