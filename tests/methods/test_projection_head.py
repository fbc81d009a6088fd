from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from counterpoint.core.rng import generator
from counterpoint.core.types import Progress
from counterpoint.encoders.convnet import ConvNet
from counterpoint.heads.diagonal import Diagonal
from counterpoint.methods.image.projection_head import ProjectionHead
from counterpoint.objectives.contrastive import cosine_logits, info_nce
from counterpoint.objectives.spectral import spectral
from counterpoint.pairs.ids import same_sample
from counterpoint.train.loop import fresh
from counterpoint.views.presets import SimCLRCrops

AT = Progress(0, 1, 0, 1)
BATCH = {"image": torch.rand(4, 1, 12, 12, generator=generator(3)), "id": torch.arange(4)}
CONFIG = ProjectionHead.Config(
    encoder=ConvNet.Config(channels=1, width=4), kappa=1.3, hidden=8, dim=5, views=SimCLRCrops(size=8)
)


@pytest.mark.parametrize("head", ["diagonal", "mlp", "linear", "none"])
@pytest.mark.parametrize("form", ["nt_xent", "spectral"])
def test_the_loss_is_that_of_what_comes_out_of_the_head(head, form):
    model = fresh(replace(CONFIG, head=head, form=form), 0)
    views = model.views(BATCH, generator(0, "views"))
    with torch.no_grad():
        f = model.encoder(torch.cat([v.x for v in views]))
        z = f * 1.3 ** -torch.arange(16.0) if head == "diagonal" else model.projector(f)
    if form == "spectral":
        expected = spectral(z[:4], z[4:])
    else:
        expected = info_nce(cosine_logits(z, z, 0.5), same_sample(torch.arange(4).repeat(2)))
    terms = model.loss(views, AT)
    assert list(terms.parts) == [form]
    assert terms.total.item() == pytest.approx(expected.item(), rel=1e-4)


def test_heads_are_what_their_names_say():
    kinds = {head: fresh(replace(CONFIG, head=head), 0).projector for head in ("mlp", "linear", "none")}
    assert [len(list(kinds[head].parameters())) for head in kinds] == [5, 2, 0]
    linear = kinds["linear"]
    assert isinstance(linear, nn.Sequential) and linear[0].weight.shape == (5, 16)
    assert isinstance(fresh(CONFIG, 0).projector, Diagonal)
    one = fresh(replace(CONFIG, kappa=1.0), 0)  # the same as none
    none = fresh(replace(CONFIG, head="none"), 0)
    views = one.views(BATCH, generator(0, "views"))
    assert one.loss(views, AT).total.item() == pytest.approx(none.loss(views, AT).total.item(), rel=1e-6)


def test_the_head_is_left_behind():
    for head in ("diagonal", "mlp"):
        model = fresh(replace(CONFIG, head=head), 0)
        assert model.network("image") is model.encoder and model.network("image").out_dim == 16
