"""Rows in pieces, and blocks computed again: the same numbers, less memory."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn

from counterpoint.core.encoder import tapped
from counterpoint.core.errors import InputError
from counterpoint.encoders.convnet import ConvNet
from counterpoint.encoders.resnet import ResNet
from counterpoint.encoders.tiramisu import Tiramisu
from counterpoint.encoders.unet import UNet
from counterpoint.encoders.vit import ViT
from counterpoint.train.rows import Rows, _outermost, blocks

SPEC = importlib.util.spec_from_file_location("together", Path(__file__).parent / "rooms" / "together.py")
assert SPEC is not None and SPEC.loader is not None
together = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(together)


def by_sample(module: nn.Module) -> None:
    """Put normalization of single samples in the place of that of batches, in all encoders."""
    for encoder in _outermost(module):
        for part in encoder.modules():
            for name, child in part.named_children():
                if isinstance(child, nn.BatchNorm2d):
                    part.register_module(name, nn.GroupNorm(1, child.num_features))


def kept(run) -> int:
    """Bytes that ``run`` keeps for the backward pass."""
    seen: dict[int, int] = {}

    def note(x: torch.Tensor) -> torch.Tensor:
        seen[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        run()
    return sum(seen.values())


@pytest.mark.parametrize("kind", together.KINDS)
def test_pieces_and_repeated_blocks_change_no_number(kind):
    together.check_same(
        together.outcome(kind, change=by_sample), together.outcome(kind, change=by_sample, chunk=4)
    )
    together.check_same(together.outcome(kind), together.outcome(kind, checkpoint=True))


class Pair(nn.Module):
    """An encoder, and a teacher's copy of another, as methods have them."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.teacher = encoder, nn.Sequential(encoder, nn.Linear(2, 2))


@pytest.mark.parametrize("options", [{"chunk": 2}, {"checkpoint": True}, {"chunk": 4, "checkpoint": True}])
def test_less_is_kept(options):
    encoder, x = UNet(UNet.Config(widths=(4, 8))), torch.rand(12, 1, 16, 16)
    by_sample(encoder)

    def run() -> None:
        encoder(x).square().sum()

    whole = kept(run)
    with Rows(encoder, **options).divided():
        assert kept(run) < whole / 2
    assert kept(run) == whole


def test_taps_see_all_rows_and_give_their_gradient():
    encoder, x = UNet(UNet.Config(widths=(4, 8))), torch.rand(5, 1, 8, 8).double()
    by_sample(encoder)
    encoder.double()
    found = []
    for rows in (Rows(encoder), Rows(encoder, chunk=2), Rows(encoder, chunk=2, checkpoint=True)):
        encoder.zero_grad()
        with rows.divided():
            with tapped(encoder, ["bottleneck", "head", ""]) as seen:
                encoder(x)
            assert {name: len(value) for name, value in seen.items()} == {"bottleneck": 5, "head": 5, "": 5}
            sum(value.square().mean() for value in seen.values()).backward()
        weights = encoder.named_parameters()
        found.append({f"gradient {n}": p.grad.clone() for n, p in weights if p.grad is not None} | dict(seen))
    together.check_same(found[0], found[1])
    together.check_same(found[0], found[2])


def test_dropped_values_are_dropped_again_and_draws_go_on_as_before():
    encoder = Tiramisu(Tiramisu.Config(down=(1,), up=(1,), bottleneck=1, growth=4, first=4, out=1))
    by_sample(encoder)
    encoder.double()
    x, rows = torch.rand(4, 1, 8, 8).double(), Rows(encoder, chunk=2)
    weight = next(encoder.parameters())

    def loss() -> torch.Tensor:
        torch.manual_seed(3)
        with rows.divided():
            value = encoder(x).square().sum()
            if value.requires_grad:
                value.backward()
        return value.detach()

    first = loss()
    after = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(after, torch.rand(1))
    assert torch.equal(first, loss())
    with rows.divided():
        torch.manual_seed(3)
        a, b = encoder(x[:2].repeat(2, 1, 1, 1)).chunk(2)
    assert not torch.allclose(a, b)  # pieces draw for themselves
    # Were other values dropped in the second pass, the gradient would not be that of the first.
    encoder.zero_grad()
    loss()
    slope, step = weight.grad.flatten()[0].item(), 1e-6
    with torch.no_grad():
        weight.view(-1)[0] += step
        up = loss()
        weight.view(-1)[0] -= 2 * step
        down = loss()
    assert slope == pytest.approx(((up - down) / (2 * step)).item(), rel=1e-5)


@pytest.mark.parametrize(
    ("encoder", "count"),
    [
        (ConvNet(ConvNet.Config(width=2)), 3),
        (ResNet(ResNet.Config(width=2)), 8),
        (ResNet(ResNet.Config(width=2, depth=50)), 16),
        (UNet(UNet.Config(widths=(2, 3, 4))), 5),
        (ViT(ViT.Config(dim=8, heads=1, depth=3)), 3),
    ],
)
def test_blocks_of_networks(encoder, count):
    found = list(blocks(encoder))
    assert len(found) == count
    weights = [id(p) for block in found for p in block.parameters()]
    assert len(weights) == len(set(weights))  # no block within another


def test_encoders_are_found_once_and_outermost():
    inner = ConvNet(ConvNet.Config(width=2))
    outer = ViT(ViT.Config(dim=8, heads=1, depth=1))
    outer.add_module("inner", inner)
    assert list(_outermost(Pair(outer))) == [outer]


def test_batch_statistics_cannot_be_had_in_pieces(tmp_path):
    with pytest.raises(InputError, match=r"train\.chunk: .* found BatchNorm2d \(layers\.0\.1\) in convnet"):
        Rows(Pair(ConvNet(ConvNet.Config(width=2))), chunk=2)


def test_methods_are_as_they_were_after_the_block():
    encoder = ConvNet(ConvNet.Config(width=2))
    with pytest.raises(RuntimeError), Rows(encoder, checkpoint=True).divided():
        assert "forward" in vars(next(blocks(encoder)))
        encoder(torch.rand(2, 5, 8, 8))
    assert not any("forward" in vars(part) for part in encoder.modules())
