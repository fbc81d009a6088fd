from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.core.rng import generator
from counterpoint.core.types import Progress, View
from counterpoint.encoders.convnet import ConvNet
from counterpoint.methods.image.slotcon import SlotCon
from counterpoint.train.loop import fresh
from counterpoint.views.overlap import SlotConCrops, box_of, cut, overlap
from counterpoint.views.place import Placed

AT = Progress(0, 1, 0, 1)
BATCH = {"image": torch.rand(4, 1, 32, 32, generator=generator(3)), "id": torch.arange(4)}
CONFIG = SlotCon.Config(
    encoder=ConvNet.Config(channels=1, width=4), prototypes=6, hidden=8, dim=5, views=SlotConCrops(size=32)
)


def made(config: SlotCon.Config = CONFIG) -> tuple[SlotCon, tuple]:
    """A student that is not its teacher, and a center that is not 0."""
    model = fresh(config, 0)
    with torch.no_grad():
        model.slots.prototypes.weight.add_(torch.randn(6, 5, generator=generator(4)))
    if model.center is not None:
        model.center.mean.copy_(torch.linspace(-0.2, 0.2, 6))
    return model, model.views(BATCH, generator(0, "views"))


def seen(model: SlotCon, views) -> tuple[list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor]]]:
    with torch.no_grad():
        return [model._student()(v.x) for v in views], [model.teacher(v.x) for v in views]


def test_grouping_is_the_slow_cross_entropy_on_the_shared_part():
    model, views = made()
    student, teacher = seen(model, views)
    ways = []
    for i, j in ((0, 1), (1, 0)):
        part, share = overlap(box_of(views[i]), box_of(views[j]))
        q, t = cut(student[i][1], box_of(views[i]), part), cut(teacher[j][1], box_of(views[j]), part)
        assert (share > 0).all()
        losses = []
        for n in range(4):
            for y in range(4):
                for x in range(4):
                    code = ((t[n, :, y, x] - model.center.read()) / 0.07).softmax(0)
                    losses.append(-float((code * (q[n, :, y, x] / 0.1).log_softmax(0)).sum()))
        ways.append(sum(losses) / len(losses))
    found = model.loss(views, AT)
    assert found.parts["grouping"].item() == pytest.approx(sum(ways) / 2, rel=1e-4)
    assert found.weights == {"grouping": 0.5, "contrast": 0.5}


def test_contrast_is_the_slow_sum_over_occupied_slots_of_the_batch():
    model, views = made()
    student, teacher = seen(model, views)
    ways = []
    for i, j in ((0, 1), (1, 0)):
        (slots, scores), (keys, others) = student[i], teacher[j]

        def firsts(maps: Tensor) -> list[tuple[int, int]]:
            found = {(n, int(k)) for n in range(4) for k in maps[n].flatten(1).argmax(0)}
            return sorted(found)

        theirs = firsts(others)
        ours = [at for at in firsts(scores) if at in theirs]
        asked = model.predictor(torch.stack([slots[at] for at in ours])).detach()
        losses = []
        for at, query in zip(ours, normalize(asked, dim=1), strict=True):
            e = {key: math.exp(float(query @ normalize(keys[key], dim=0)) / 0.2) for key in theirs}
            losses.append(-math.log(e[at] / sum(e.values())))
        ways.append(2 * 0.2 * sum(losses) / len(losses))
    assert model.loss(views, AT).parts["contrast"].item() == pytest.approx(sum(ways) / 2, rel=1e-4)


def test_the_center_is_of_whole_crops_of_both_views_and_moves_after_the_loss():
    model, views = made()
    teacher, before = seen(model, views)[1], model.center.read().clone()
    kept = model.loss(views, AT).keep
    assert torch.equal(model.center.read(), before)
    model.after_step(AT, kept)
    scores = torch.cat([s.flatten(2) for _, s in teacher])
    torch.testing.assert_close(model.center.read(), 0.9 * before + 0.1 * scores.mean((0, 2)))


def test_crops_that_share_nothing_are_left_out_of_the_grouping():
    model, views = made()
    boxes = [box_of(v).clone() for v in views]
    boxes[0][1], boxes[1][1] = torch.tensor([0.0, 0.0, 0.3, 1.0]), torch.tensor([0.6, 0.0, 1.0, 1.0])

    def loss(rows: slice | Tensor) -> Tensor:
        placed = (
            View(v.x, v.ids, "global", Placed(box, (32, 32), (32, 32)))
            for v, box in zip(views, boxes, strict=True)
        )
        student, teacher = seen(model, views)
        few = tuple(
            View(v.x[rows], v.ids[rows], v.role, Placed(v.undo.box[rows], (32, 32), (32, 32))) for v in placed
        )
        return model._grouping(few, student[0][1][rows], teacher[1][1][rows], 0, 1)

    others = torch.tensor([0, 2, 3])
    torch.testing.assert_close(loss(slice(None)), loss(others))
    assert loss(torch.tensor([1])).item() == 0


def test_without_a_slot_in_common_there_is_no_contrast():
    model, _ = made()
    slots = torch.randn(1, 6, 5, requires_grad=True)
    one, other = torch.zeros(1, 6, 2, 2), torch.zeros(1, 6, 2, 2)
    one[:, 0], other[:, 1] = 1, 1
    loss = model._contrast(slots, one, torch.randn(1, 6, 5), other)
    loss.backward()
    assert loss.item() == 0 and not slots.grad.any()


def test_no_gradient_goes_to_the_teacher_which_follows_with_its_prototypes():
    model, views = made()
    terms = model.loss(views, AT)
    terms.total.backward()
    assert all(p.grad is None for p in model.teacher.parameters())
    theirs = model.teacher.network[2].prototypes.weight
    before = theirs.clone()
    model.after_step(Progress(0, 10, 0, 1), terms.keep)
    torch.testing.assert_close(theirs, before + 0.01 * (model.slots.prototypes.weight - before))


def test_without_a_center_nothing_is_taken_off():
    model, views = made(replace(CONFIG, center_momentum=1.0))
    assert model.center is None
    zero, _ = made()
    zero.center.mean.zero_()
    torch.testing.assert_close(model.loss(views, AT).total, zero.loss(views, AT).total)
    model.after_step(AT, model.loss(views, AT).keep)


def test_groups_are_first_choices():
    model, views = made()
    assert torch.equal(model.grouped(views[0].x), seen(model, views)[0][0][1].argmax(1))
