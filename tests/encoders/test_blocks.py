from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from counterpoint.core.errors import InputError
from counterpoint.encoders.blocks import Blocks
from counterpoint.encoders.convnet import ConvNet
from counterpoint.encoders.resnet import ResNet
from counterpoint.encoders.vit import ViT

X = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
CONFIG = Blocks.Config(channels=1, encoder=ConvNet.Config(width=4), dim=5, noise=0.0)


def built(config: Blocks.Config = CONFIG) -> Blocks:
    torch.manual_seed(0)
    return config.build()


def by_hand(network: Blocks, x: Tensor) -> list[Tensor]:
    """Layer by layer, without a hook."""
    found = []
    for layer, head in zip(network.encoder.layers, network.heads, strict=True):
        x = layer(x)
        found.append(head(x))
    return found


def test_features_are_those_of_the_layers_by_hand():
    network = built().eval()
    for found, expected in zip(network.each(X), by_hand(network, X), strict=True):
        torch.testing.assert_close(found, expected)
    assert torch.equal(network(X), torch.cat(network.each(X), 1)) and network.out_dim == 15
    last = built(replace(CONFIG, features="last")).eval()
    assert torch.equal(last(X), network.each(X)[-1]) and last.out_dim == 5
    plain = built(replace(CONFIG, dim=0)).eval()
    torch.testing.assert_close(plain.each(X)[1], plain.encoder.layers[:2](X).mean((2, 3)))
    assert list(plain.taps.values()) == [4, 8, 16]


def test_the_gradient_of_a_block_reaches_no_other_block():
    network = built()
    for k in range(3):
        network.zero_grad()
        network.each(X)[k].square().sum().backward()
        for j, (layer, head) in enumerate(zip(network.encoder.layers, network.heads, strict=True)):
            for weight in (*layer.parameters(), *head.parameters()):
                assert (weight.grad is not None and weight.grad.any()) == (j == k)
    whole = built(replace(CONFIG, apart=False))
    whole.each(X)[2].square().sum().backward()
    assert all(w.grad is not None and w.grad.any() for w in whole.encoder.parameters())


def test_noise_is_what_both_the_head_and_the_next_block_take():
    """Added after the border, the next block would see another map than the features are of."""
    network = built(replace(CONFIG, noise=0.5))
    taken: list[Tensor] = []
    hooks = [m.register_forward_pre_hook(lambda _m, args: taken.append(args[0])) for m in network.heads]
    hooks.append(network.encoder.layers[1].register_forward_pre_hook(lambda _m, args: taken.append(args[0])))
    network.each(X)
    for hook in hooks:
        hook.remove()
    entered, *own = taken  # the second layer runs before the heads
    assert torch.equal(entered, own[0]) and not entered.requires_grad and own[0].requires_grad
    clean = network.encoder.layers[0](X)
    noise = own[0] - clean
    assert noise.std().item() == pytest.approx(0.5 * clean.std().item(), rel=0.1)
    assert own[0].std() > clean.std()


def test_noise_is_for_training_alone():
    network = built(replace(CONFIG, noise=0.5)).eval()
    assert torch.equal(network(X), network(X))
    network.train()
    assert not torch.equal(network(X), network(X))


def test_of_a_resnet_the_stem_belongs_to_the_first_of_four_blocks():
    network = built(Blocks.Config(channels=1, encoder=ResNet.Config(width=4), dim=3))
    assert network.ends == ["layer1", "layer2", "layer3", "layer4"] and network.out_dim == 12
    network.each(X)[0].sum().backward()
    reached = {name.split(".")[0] for name, w in network.encoder.named_parameters() if w.grad is not None}
    assert reached == {"conv1", "bn1", "layer1"}
    assert built(replace(CONFIG, count=2)).ends == ["layers.1", "layers.2"]


def test_layers_behind_that_work_in_place_do_not_change_the_features():
    network = built().eval()
    spoiled = built().eval()
    spoiled.encoder.layers[1].insert(0, nn.Threshold(1e9, 7.0, inplace=True))
    torch.testing.assert_close(spoiled.each(X)[0], network.each(X)[0])


def test_nonsense_is_refused():
    with pytest.raises(InputError, match="blocks: expected channels and count > 0"):
        replace(CONFIG, count=0)
    vit = ViT.Config(size=16, patch=4, dim=8, depth=2, heads=2)
    with pytest.raises(InputError, match=r"block blocks.\d: expected maps \(B, C, H, W\), found"):
        Blocks.Config(channels=1, encoder=vit, dim=3).build().each(X)
