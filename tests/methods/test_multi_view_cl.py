from __future__ import annotations

import pytest
import torch

from counterpoint.core.rng import generator
from counterpoint.core.types import Progress
from counterpoint.encoders.convnet import ConvNet
from counterpoint.methods.image.multi_view_cl import FORMS, MultiViewCL
from counterpoint.train.loop import fresh
from counterpoint.views.presets import ManyCrops

AT = Progress(0, 1, 0, 1)
BATCH = {"image": torch.rand(4, 1, 12, 12, generator=generator(3)), "id": torch.arange(4)}


def method(form: str = "mv_dhel", count: int = 3) -> MultiViewCL:
    crops = ManyCrops(count=count, size=8)
    encoder = ConvNet.Config(channels=1, width=4)
    return fresh(MultiViewCL.Config(encoder=encoder, hidden=8, dim=5, views=crops, form=form), 0)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_sees_the_views_of_an_image_as_such(form):
    model = method(form)
    views = model.views(BATCH, generator(0, "views"))
    assert len(views) == 3
    found = model.loss(views, AT).total
    with torch.no_grad():
        z = model.projector(model.encoder(torch.cat([v.x for v in views])))
    by_view = torch.stack([z[4 * v : 4 * v + 4] for v in range(3)])
    assert found.item() == pytest.approx(FORMS[form](by_view, 0.5).item(), rel=1e-5)
    mixed_up = z.view(4, 3, 5).transpose(0, 1)  # samples taken for views
    assert found.item() != pytest.approx(FORMS[form](mixed_up, 0.5).item(), rel=1e-3)


def test_the_embedding_has_no_shift_to_learn():
    """With one, all embeddings could move away together; the paper freezes it at 0."""
    assert method().projector[-1].bias is None and method().projector[-2].bias is None
