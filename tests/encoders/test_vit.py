from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from counterpoint.core.encoder import EncoderConfig
from counterpoint.core.errors import InputError
from counterpoint.encoders.vit import Decoder, ViT, picked, sincos

TINY = {"size": 8, "patch": 2, "dim": 8, "depth": 2, "heads": 2}


def build(**settings) -> ViT:
    torch.manual_seed(0)
    return ViT(ViT.Config(**(TINY | settings)))


@pytest.mark.parametrize(
    ("dim", "heads", "parameters"), [(192, 3, 5_524_416), (384, 6, 21_665_664), (768, 12, 85_798_656)]
)
def test_parameters_are_as_many_as_the_known_ones(dim, heads, parameters):
    with torch.device("meta"):  # ViT-Ti, S and B with patches of 16, without their last linear layer
        net = ViT(ViT.Config(size=224, patch=16, dim=dim, depth=12, heads=heads))
    assert sum(p.numel() for p in net.parameters()) == parameters


def test_layers_are_named_as_in_timm():
    names = build().state_dict().keys()
    parts = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    assert {name for name in names if not name.startswith("blocks.")} == {
        "cls_token",
        "pos_embed",
        "patch_embed.proj.weight",
        "patch_embed.proj.bias",
        "norm.weight",
        "norm.bias",
    }
    block = {name.removeprefix("blocks.1.") for name in names if name.startswith("blocks.1.")}
    assert block == {f"{part}.{kind}" for part in parts for kind in ("weight", "bias")}


def slow(net: ViT, x: torch.Tensor) -> torch.Tensor:
    """All tokens, one head and one row at a time."""
    w, c = net.state_dict(), net.config
    side, d = c.size // c.patch, c.dim // c.heads
    kernel = w["patch_embed.proj.weight"].flatten(1)
    cut = [
        x[:, r * c.patch : (r + 1) * c.patch, q * c.patch : (q + 1) * c.patch].flatten()
        for r in range(side)
        for q in range(side)
    ]
    tokens = torch.stack([kernel @ p + w["patch_embed.proj.bias"] for p in cut])
    tokens = torch.cat([w["cls_token"][0], tokens]) + w["pos_embed"][0]

    def norm(t, name):
        return F.layer_norm(t, (c.dim,), w[f"{name}.weight"], w[f"{name}.bias"], 1e-6)

    def linear(t, name):
        return t @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    for i in range(c.depth):
        q, k, v = linear(norm(tokens, f"blocks.{i}.norm1"), f"blocks.{i}.attn.qkv").split(c.dim, 1)
        heads = []
        for h in range(c.heads):
            part = slice(h * d, (h + 1) * d)
            share = torch.softmax(q[:, part] @ k[:, part].T / math.sqrt(d), 1)
            heads.append(share @ v[:, part])
        tokens = tokens + linear(torch.cat(heads, 1), f"blocks.{i}.attn.proj")
        hidden = F.gelu(linear(norm(tokens, f"blocks.{i}.norm2"), f"blocks.{i}.mlp.fc1"))
        tokens = tokens + linear(hidden, f"blocks.{i}.mlp.fc2")
    return norm(tokens, "norm")


@torch.no_grad()
def test_tokens_are_those_of_a_slow_reference():
    net = build().double()
    for parameter in net.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))  # biases and scales that matter
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    tokens = net.tokens(x)
    torch.testing.assert_close(tokens, torch.stack([slow(net, image) for image in x]))
    assert torch.equal(net(x), tokens[:, 0])
    averaged = build(pool="mean").double()
    averaged.load_state_dict(net.state_dict())
    torch.testing.assert_close(averaged(x), tokens[:, 1:].mean(1))


@torch.no_grad()
def test_kept_patches_alone_go_in_and_keep_their_places():
    net = build()
    x = torch.rand(2, 3, 8, 8)
    everything = torch.arange(16).expand(2, -1)
    torch.testing.assert_close(net.tokens(x, everything), net.tokens(x))
    keep = torch.tensor([[3, 0, 9], [15, 2, 4]])
    tokens = net.tokens(x, keep)
    assert tokens.shape == (2, 4, 8)
    # The order in which patches are named does not matter: each has its position.
    torch.testing.assert_close(net.tokens(x, keep[:, [2, 0, 1]])[:, 1:], tokens[:, 1:][:, [2, 0, 1]])
    # What is left out is not seen: patch (row 0, column 1) is not among those kept of the first image.
    changed = x.clone()
    changed[0, :, 0:2, 2:4] = 7
    torch.testing.assert_close(net.tokens(changed, keep), tokens)
    changed[0, :, 0:2, 6:8] = 7  # patch 3 is
    assert not torch.allclose(net.tokens(changed, keep)[0], tokens[0])


def test_without_a_class_token_there_are_patches_alone():
    net = build(class_token=False, pool="mean")
    tokens = net.tokens(torch.rand(1, 3, 8, 8))
    assert tokens.shape == (1, 16, 8) and "cls_token" not in net.state_dict()


@torch.no_grad()
def test_other_sizes_see_interpolated_positions():
    net = build()
    assert net(torch.rand(1, 3, 4, 12)).shape == (1, 8)
    first, grid = net._positions(4, 4)
    assert torch.equal(torch.cat([first, grid], 1), net.pos_embed)
    net.pos_embed[:, 1:] = torch.arange(4.0).repeat(4)[None, :, None]  # each column its number
    _, wide = net._positions(4, 8)
    columns = wide.view(4, 8, 8)
    assert torch.allclose(columns, columns[:1]) and (columns[0, :, 0].diff() > 0).all()
    torch.testing.assert_close(columns[0, 3:5, 0].mean(), torch.tensor(1.5))  # centers agree


def test_positions_are_sines_and_cosines_of_x_and_y():
    table = sincos(3, 8)
    y, x = 2, 1
    row = [f(p * w) for p in (x, y) for f in (math.sin, math.cos) for w in (1.0, 0.01)]
    torch.testing.assert_close(table[3 * y + x], torch.tensor(row))
    net = build(positions="sincos")
    assert not net.pos_embed.requires_grad and not net.pos_embed[:, 0].any()
    assert torch.equal(net.pos_embed[0, 1:], sincos(4, 8))


def test_weights_begin_as_xavier_says_matrix_by_matrix():
    net = build(dim=64, heads=2)
    limit = math.sqrt(6 / (64 + 64))  # q, k and v are three matrices
    for name, bound in (("attn.qkv", limit), ("mlp.fc1", math.sqrt(6 / (256 + 64)))):
        weight = net.get_submodule(f"blocks.0.{name}").weight
        assert 0.97 * bound < weight.abs().max() <= bound
    bound = math.sqrt(6 / (64 + 12))
    assert 0.97 * bound < net.patch_embed.proj.weight.abs().max() <= bound
    assert not any(p.any() for name, p in net.named_parameters() if name.endswith("bias"))


def test_frozen_patches_get_no_gradient():
    net = build(frozen_patches=True)
    net(torch.rand(1, 3, 8, 8)).sum().backward()
    frozen = {name for name, p in net.named_parameters() if p.grad is None}
    assert frozen == {"patch_embed.proj.weight", "patch_embed.proj.bias"}


def test_rows_are_picked_sample_by_sample():
    rows = torch.rand(2, 6, 3)
    assert torch.equal(picked(rows, torch.tensor([[5], [0]]))[:, 0], rows[[0, 1], [5, 0]])


def decoder(net: ViT) -> Decoder:
    torch.manual_seed(1)
    return Decoder(net, dim=12, depth=1, heads=3)


@pytest.mark.parametrize("class_token", [True, False])
def test_the_decoder_puts_tokens_back_in_their_places(class_token):
    net = build(class_token=class_token, pool="mean", channels=1)
    head = decoder(net)
    keep = torch.tensor([[3, 0, 9], [15, 2, 4]])
    given: list[torch.Tensor] = []
    head.blocks.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    tokens = net.tokens(torch.rand(2, 1, 8, 8), keep)
    out = head(tokens, keep)
    assert out.shape == (2, 16, 4)
    embedded, extra = head.embed(tokens), int(class_token)
    for b in range(2):
        for place in range(16):
            token = head.mask_token[0, 0]
            if place in keep[b]:
                token = embedded[b, extra + keep[b].tolist().index(place)]
            torch.testing.assert_close(given[0][b, extra + place], token + sincos(4, 12)[place])
        if class_token:
            torch.testing.assert_close(given[0][b, 0], embedded[b, 0])


def test_every_weight_of_encoder_and_decoder_learns_from_hidden_patches():
    net = build(positions="sincos")
    head = decoder(net)
    x = torch.rand(2, 3, 8, 8)
    keep = torch.tensor([[3, 0, 9], [15, 2, 4]])
    hidden = torch.ones(2, 16, dtype=torch.bool).scatter(1, keep, False)
    (head(net.tokens(x, keep), keep) - F.unfold(x, 2, stride=2).mT).square()[hidden].mean().backward()
    for name, p in [*net.named_parameters(), *head.named_parameters()]:
        assert name == "pos_embed" or p.grad.count_nonzero(), name
    assert not head.state_dict().keys() & {"positions"}  # computed, not kept


def test_settings_travel_and_nonsense_is_refused():
    config = ViT.Config(**TINY)
    assert EncoderConfig.from_dict(config.to_dict()) == config
    for wrong, match in (
        ({"size": 9}, "size a multiple of patch"),
        ({"heads": 3}, "multiple of 4 and of heads"),
        ({"dim": 6}, "multiple of 4 and of heads"),
        ({"class_token": False}, "pool 'mean'"),
        ({"depth": 0}, "positive"),
    ):
        with pytest.raises(InputError, match=match):
            ViT.Config(**(TINY | wrong))
    with pytest.raises(ValueError, match="multiples of 2"):
        build()(torch.rand(1, 3, 8, 9))
    with pytest.raises(InputError, match="decoder: expected a dim"):
        Decoder(build(), dim=10, heads=5)
