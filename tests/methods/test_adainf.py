from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.core.rng import generator
from counterpoint.core.types import Progress
from counterpoint.encoders.convnet import ConvNet
from counterpoint.methods.image.adainf import AdaInf
from counterpoint.train.loop import fresh
from counterpoint.views.image import Crops

AT = Progress(0, 1, 0, 1)
CONFIG = AdaInf.Config(
    encoder=ConvNet.Config(channels=1, width=4), hidden=8, dim=5, views=Crops(count=2, size=8)
)


def slow(z: Tensor, ids: list[int]) -> float:
    """NT-Xent, mean over positives and then over anchors, term by term."""
    z = normalize(z, dim=1)
    losses = []
    for i, a in enumerate(z):
        e = [math.exp(float(a @ b) / 0.2) if j != i else 0.0 for j, b in enumerate(z)]
        near = [e[j] for j in range(len(z)) if j != i and ids[j] == ids[i]]
        losses.append(sum(-math.log(n / sum(e)) for n in near) / len(near))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("ids", [[0, 1, 2], [7, 1, 7]])
def test_copies_of_an_image_are_positives_and_never_negatives(ids):
    model = fresh(CONFIG, 0)
    batch = {"image": torch.rand(3, 1, 12, 12, generator=generator(3)), "id": torch.tensor(ids)}
    views = model.views(batch, generator(0, "views"))
    with torch.no_grad():
        z = model.projector(model.encoder(torch.cat([v.x for v in views])))
        assert model.loss(views, AT).total.item() == pytest.approx(slow(z, ids * 2), rel=1e-5)


def test_the_default_crops_are_weaker_than_simclrs_by_the_papers_table():
    crops = AdaInf.Config().views
    assert crops.count == 2 and crops.area == (0.2, 1.0)
    assert (crops.jittered, crops.amounts) == (0.4, (0.4, 0.4, 0.4, 0.1))
    assert (crops.gray, crops.blur, crops.solarize) == (0.2, 0.5, 0.0)
