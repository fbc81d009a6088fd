from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from counterpoint.core.rng import generator
from counterpoint.core.types import Progress, View
from counterpoint.encoders.convnet import ConvNet
from counterpoint.heads.maps import Tap
from counterpoint.heads.propagation import Propagation
from counterpoint.methods.image.pixpro import PixPro
from counterpoint.objectives.placewise import place_contrast, place_regression
from counterpoint.pairs.cells import same_cells
from counterpoint.train.loop import fresh
from counterpoint.views.overlap import box_of
from counterpoint.views.place import Placed
from counterpoint.views.presets import BYOLCrops

AT = Progress(0, 1, 0, 1)
BATCH = {"image": torch.rand(4, 1, 32, 32, generator=generator(3)), "id": torch.arange(4)}
CONFIG = PixPro.Config(encoder=ConvNet.Config(channels=1, width=4), hidden=8, dim=5, views=BYOLCrops(size=32))


def rows(maps: torch.Tensor) -> torch.Tensor:
    return maps.flatten(2).mT


@pytest.mark.parametrize("task", ["propagation", "consistency", "contrast"])
def test_each_view_of_the_student_meets_the_other_of_the_teacher(task):
    model = fresh(replace(CONFIG, task=task), 0)
    with torch.no_grad():  # so that teacher and student differ
        nn.init.normal_(model.projector[0].weight)
    views = model.views(BATCH, generator(0, "views"))
    found = model.loss(views, AT).parts
    student = nn.Sequential(Tap(model.encoder), model.projector)
    y = [rows(model.predictor(student(v.x))) for v in views]
    x = [rows(model.teacher(v.x)) for v in views]
    for name, i, j in (("first", 0, 1), ("second", 1, 0)):
        pairs = same_cells(box_of(views[i]), box_of(views[j]), (4, 4), (4, 4))
        expected = (
            place_contrast(y[i], x[j], pairs, 0.3)
            if task == "contrast"
            else place_regression(y[i], x[j], pairs.positive)
        )
        torch.testing.assert_close(found[name], expected)


def test_only_the_student_propagates():
    model = fresh(CONFIG, 0)
    assert isinstance(model.predictor, Propagation)
    assert not any(isinstance(m, Propagation) for m in model.teacher.modules())
    assert isinstance(fresh(replace(CONFIG, task="consistency"), 0).predictor, nn.Identity)


def test_no_gradient_goes_to_the_teacher_and_it_follows_in_after_step():
    model = fresh(CONFIG, 0)
    model.loss(model.views(BATCH, generator(0, "views")), AT).total.backward()
    assert all(p.grad is None for p in model.teacher.parameters())
    with torch.no_grad():
        model.projector[0].weight.add_(1)
    before = model.teacher.network[1][0].weight.clone()
    model.after_step(Progress(0, 10, 0, 1), {})
    torch.testing.assert_close(model.teacher.network[1][0].weight, before + 0.01)


def test_views_that_share_nothing_cost_nothing():
    model = fresh(CONFIG, 0)
    boxes = (torch.tensor([[0.0, 0.0, 0.3, 1.0]] * 2), torch.tensor([[0.6, 0.0, 1.0, 1.0]] * 2))
    x = torch.rand(2, 1, 32, 32)
    views = tuple(View(x, torch.arange(2), "global", Placed(box, (32, 32), (32, 32))) for box in boxes)
    assert model.loss(views, AT).total.item() == 0


def test_the_same_cells_are_matched_after_mirroring():
    """Grid indices would match the wrong cells as soon as one crop is mirrored."""
    model = fresh(replace(CONFIG, task="consistency"), 0).eval()
    with torch.no_grad():  # convolutions that do not know left from right
        for layer in model.encoder.layers:
            layer[0].weight.copy_((layer[0].weight + layer[0].weight.flip(-1)) / 2)
    model.after_step(Progress(1, 1, 0, 1), {})
    for own, other in zip(model.teacher.parameters(), model._student().parameters(), strict=True):
        own.data.copy_(other)
    x = torch.rand(2, 1, 33, 33)  # odd at every layer: mirrored maps are maps of the mirrored
    box = torch.tensor([[0.0, 0.0, 1.0, 1.0]] * 2)
    sizes = ((33, 33), (33, 33))
    views = (
        View(x, torch.arange(2), "global", Placed(box, *sizes)),
        View(x.flip(-1), torch.arange(2), "global", Placed(box[:, [2, 1, 0, 3]], *sizes)),
    )
    torch.testing.assert_close(model.loss(views, AT).total, torch.tensor(-2.0))
