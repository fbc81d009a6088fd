from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from counterpoint.core.rng import generator
from counterpoint.core.types import Pairs, Progress
from counterpoint.encoders.convnet import ConvNet
from counterpoint.methods.image.metaug import MetAug
from counterpoint.objectives.unified import hard_margins, margin_injected, unified
from counterpoint.train.loop import fresh
from counterpoint.views.parts import parted
from counterpoint.views.presets import PlainCrop

FIRST, SECOND = (Progress(3, 9, 1, 3, turn) for turn in ("encoders", "generators"))
BATCH = {"image": torch.rand(4, 1, 12, 12, generator=generator(3)), "id": torch.arange(4)}
CONFIG = MetAug.Config(
    encoder=ConvNet.Config(channels=1, width=2), hidden=6, dim=5, negatives=7, split="bands", made=0.3,
    regular=0.2, views=PlainCrop(size=8),
)  # fmt: skip


def ready(**changes) -> tuple[MetAug, tuple]:
    """Banks that hold this batch and others."""
    model = fresh(replace(CONFIG, **changes), 0)
    model.banks.write(torch.arange(12), torch.randn(3, 12, 5, generator=generator(5)))
    return model, model.views(BATCH, generator(0, "views"))


def loss(model: MetAug, views, at: Progress):
    torch.manual_seed(7)
    return model.loss(views, at)


@torch.no_grad()
@pytest.mark.parametrize("temperature", [0.0, 0.07])
def test_the_objective_of_the_encoders_is_the_slow_one(temperature):
    model, views = ready(temperature=temperature)
    terms = loss(model, views, FIRST)
    z = normalize(model.students(parted(views[0].x, "bands")), dim=-1)
    made = normalize(model.generators(z), dim=-1)
    torch.manual_seed(7)
    drawn = model.banks.draw(torch.arange(4), 7, torch.default_generator)
    rows = model.banks.read(drawn, torch.arange(4), z)

    def scores(anchors: Tensor) -> tuple[Tensor, Pairs]:
        table, near, far = [], [], []
        for i in range(4):
            line = [(a, v, k) for a in range(3) for v in range(3) if a != v for k in range(8)]
            table.append([(1 + (anchors[a, i] @ rows[v, i, k]).item()) / 2 for a, v, k in line])
            near.append([k == 0 for _, _, k in line])
            far.append([bool(drawn[i, k] != i) for _, _, k in line])
        return torch.tensor(table), Pairs(torch.tensor(near), torch.tensor(far))

    def contrasted(anchors: Tensor) -> float:
        table, pairs = scores(anchors)
        if not temperature:
            return unified(table, pairs).item()
        logits = (table * 2 / 0.07).masked_fill(~(pairs.positive | pairs.negative), -torch.inf)
        return cross_entropy(logits.view(-1, 8), torch.zeros(24).long()).item()

    mixtures = [torch.where(torch.arange(3)[:, None, None] == v, made, z) for v in range(3)]
    expected = sum(contrasted(m) for m in (made, *mixtures))
    assert terms.parts["contrast"].item() == pytest.approx(contrasted(z), rel=1e-4)
    assert terms.parts["made"].item() == pytest.approx(expected, rel=1e-4)
    (plain, pairs), (hard, _) = scores(z), scores(made)
    margins = margin_injected(hard, pairs, hard_margins(plain, pairs)).item()
    assert terms.parts["margins"].item() == pytest.approx(margins, rel=1e-4)
    total = sum(w * terms.parts[n] for n, w in (("contrast", 1), ("made", 0.3), ("margins", 0.2)))
    assert terms.total.item() == pytest.approx(float(total), rel=1e-5)


def meta(**changes) -> tuple[MetAug, tuple, Tensor]:
    model, views = ready(**changes)
    model.double().eval()
    views = (replace(views[0], x=views[0].x.double()),)
    return model, views, model.generators[0][-1].bias


def test_generators_learn_through_a_step_of_the_encoders():
    """Their gradient is that of the loss after the step, by finite differences; a detached step's is not.

    Without margins, whose bounds are constants and would change with the step.
    """
    model, views, bias = meta(inner=0.5, regular=0.0)
    (found,) = torch.autograd.grad(loss(model, views, SECOND).total, bias)
    expected = torch.zeros_like(bias)
    for i in range(5):
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                bias[i] += sign * 1e-5
            ends.append(loss(model, views, SECOND).total.item())
            with torch.no_grad():
                bias[i] -= sign * 1e-5
        expected[i] = (ends[0] - ends[1]) / 2e-5
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-7)
    direct, views, bias = meta(inner=0.0, regular=0.0)
    (without,) = torch.autograd.grad(loss(direct, views, SECOND).total, bias)
    assert not torch.allclose(found, without, rtol=0.05)


def test_the_step_of_the_encoders_is_not_made():
    model, views = ready(inner=1e-3)
    before = [p.clone() for p in model.parameters()]
    terms = loss(model, views, SECOND)
    assert terms.total < loss(model, views, FIRST).total  # a step down the same loss
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert not terms.keep  # and the bank is not written for it


def test_banks_are_written_once_by_features_nobody_made():
    model, views = ready()
    terms = loss(model, views, FIRST)
    old = torch.stack([table.rows[:4].clone() for table in model.banks.tables])
    z = normalize(model.students(parted(views[0].x, "bands")), dim=-1).detach()
    model.after_step(FIRST, terms.keep)
    new = torch.stack([table.rows[:4] for table in model.banks.tables])
    assert torch.allclose(new, normalize(old + z, dim=-1), atol=1e-5)


@pytest.mark.parametrize("changes", [{"made": 0.0}, {"noise": 0.5}])
def test_without_generators_there_is_one_turn(changes):
    model, views = ready(**changes)
    assert model.turns == ("encoders",) and not list(model.generators.parameters())
    terms = loss(model, views, FIRST)
    assert ("made" in terms.parts) == bool(changes.get("noise"))
    if "noise" in changes:
        assert 0.3 < terms.notes["cosine"] < 0.99


def test_as_released_made_features_hardly_move_the_encoders():
    """Weights of 1e-5 and 1e-11: a gain must be shown against 0."""
    grads = []
    for made, regular in ((1e-5, 1e-11), (0.0, 0.0)):
        model, views = ready(made=made, regular=regular)
        loss(model, views, FIRST).total.backward()
        grads.append(torch.cat([p.grad.flatten() for p in model.students.parameters()]))
    assert (grads[0] - grads[1]).norm() < 1e-3 * grads[1].norm()
