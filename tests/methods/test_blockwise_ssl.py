from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from counterpoint.core.rng import generator
from counterpoint.core.types import Progress
from counterpoint.encoders.convnet import ConvNet
from counterpoint.methods.image.blockwise_ssl import BlockwiseSSL
from counterpoint.objectives.redundancy import barlow
from counterpoint.train.loop import fresh
from counterpoint.views.presets import BYOLCrops

AT = Progress(0, 1, 0, 1)
BATCH = {
    "image": torch.rand(6, 1, 16, 16, generator=generator(3)),
    "label": torch.tensor([0, 1, 2, 2, 1, 0]),
    "id": torch.arange(6),
}
CONFIG = BlockwiseSSL.Config(
    encoder=ConvNet.Config(channels=1, width=4), expansion=5, noise=0.0, hidden=6, dim=4,
    views=BYOLCrops(size=16),
)  # fmt: skip


def parts(model: BlockwiseSSL) -> list[list[torch.nn.Parameter]]:
    """All weights of every block."""
    whole = zip(model.blocks.encoder.layers, model.blocks.heads, model.projectors, strict=True)
    return [[w for module in block for w in module.parameters()] for block in whole]


def test_every_block_has_barlow_twins_loss_on_its_own_features():
    model = fresh(CONFIG, 0)
    views = model.views(BATCH, generator(0, "views"))
    found = model.loss(views, AT)
    a, b = (model.blocks.each(v.x) for v in views)
    expected = [barlow(p(x), p(y), 0.0051) for p, x, y in zip(model.projectors, a, b, strict=True)]
    torch.testing.assert_close(list(found.parts.values()), expected)
    torch.testing.assert_close(found.total, 0.024 * torch.stack(expected).sum())


def test_the_loss_of_a_block_has_no_gradient_for_any_other():
    model = fresh(CONFIG, 0)
    views = model.views(BATCH, generator(0, "views"))
    for k in range(3):
        model.zero_grad()
        model.loss(views, AT).parts[f"block {k}"].backward()
        for j, weights in enumerate(parts(model)):
            reached = [w.grad is not None and bool(w.grad.any()) for w in weights]
            assert all(reached) if j == k else not any(reached)


def test_end_to_end_the_last_loss_reaches_all_blocks():
    model = fresh(replace(CONFIG, end_to_end=True), 0)
    terms = model.loss(model.views(BATCH, generator(0, "views")), AT)
    assert list(terms.parts) == ["block 2"]
    terms.total.backward()
    assert all(w.grad is not None and w.grad.any() for w in model.blocks.encoder.parameters())


def test_projectors_begin_alike_and_are_not_shared():
    model = fresh(CONFIG, 0)
    weights = [p[0].weight for p in model.projectors]
    assert torch.equal(weights[0], weights[2]) and weights[0] is not weights[2]
    widths = [p[0].in_features for p in fresh(replace(CONFIG, expansion=0), 0).projectors]
    assert widths == [4, 8, 16]


def test_features_are_those_of_the_last_block_behind_its_expansion():
    model = fresh(CONFIG, 0)
    network = model.network("image").eval()
    assert network.out_dim == 5
    torch.testing.assert_close(network(BATCH["image"]), model.blocks.each(BATCH["image"])[-1])


def test_with_classes_every_block_tells_them():
    model = fresh(replace(CONFIG, classes=3), 0)
    assert model.needs == {"image", "label"}
    views = model.views(BATCH, generator(0, "views"))
    found = model.loss(views, AT).parts["block 1"].item()
    scores = [model.projectors[1](model.blocks.each(v.x)[1]) for v in views[:2]]
    expected = [cross_entropy(s, BATCH["label"]).item() for s in scores]
    assert found == pytest.approx(sum(expected) / 2, rel=1e-5)
