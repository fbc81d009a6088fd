from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from counterpoint.core.rng import generator
from counterpoint.core.types import Progress
from counterpoint.encoders.convnet import ConvNet
from counterpoint.methods.image.cacr import CACR
from counterpoint.objectives.attraction import attraction, repulsion
from counterpoint.train.loop import fresh
from counterpoint.views.presets import CACRCrops

AT = Progress(0, 1, 0, 1)
BATCH = {"image": torch.rand(4, 1, 12, 12, generator=generator(3)), "id": torch.arange(4)}
CONFIG = CACR.Config(
    encoder=ConvNet.Config(channels=1, width=4), hidden=8, dim=5, views=CACRCrops(size=8), attraction=2.0
)


def test_all_five_views_of_an_image_are_its_query_and_positives():
    model = fresh(replace(CONFIG, pull=0.5, push=3.0), 0)
    views = model.views(BATCH, generator(0, "views"))
    with torch.no_grad():
        rows = model.projector(model.encoder(torch.cat([v.x for v in views])))
    z = torch.stack([rows[4 * v : 4 * v + 4] for v in range(5)])
    terms = model.loss(views, AT)
    assert terms.parts["attraction"].item() == pytest.approx(attraction(z, 2.0).item(), rel=1e-5)
    assert terms.parts["repulsion"].item() == pytest.approx(repulsion(z, 0.9).item(), rel=1e-5)
    expected = 0.5 * attraction(z, 2.0) + 3 * repulsion(z, 0.9)
    assert terms.total.item() == pytest.approx(expected.item(), rel=1e-5)


def test_detaching_changes_the_gradient_and_not_the_loss():
    found = []
    for detach in (False, True):
        model = fresh(replace(CONFIG, detach=detach), 0)
        total = model.loss(model.views(BATCH, generator(0, "views")), AT).total
        total.backward()
        weight = model.projector[0].weight
        found.append((total.item(), weight.grad))
    assert found[0][0] == found[1][0] and not torch.allclose(found[0][1], found[1][1])
