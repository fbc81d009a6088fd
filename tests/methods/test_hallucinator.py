from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.core.rng import generator
from counterpoint.core.types import Progress
from counterpoint.encoders.convnet import ConvNet
from counterpoint.methods.image.hallucinator import Hallucinator
from counterpoint.train.loop import fresh
from counterpoint.views.presets import UnlikeCrops

AT = Progress(0, 1, 0, 1)
BATCH = {"image": torch.rand(4, 1, 12, 12, generator=generator(3)), "id": torch.arange(4)}
CONFIG = Hallucinator.Config(
    encoder=ConvNet.Config(channels=1, width=4), hidden=8, dim=5, predictor=4, queue=6, momentum=0.5,
    views=UnlikeCrops(size=8),
)  # fmt: skip


def ready(**changes) -> tuple[Hallucinator, tuple]:
    model = fresh(replace(CONFIG, **changes), 0)
    return model, model.views(BATCH, generator(0, "views"))


def dot(a: Tensor, b: Tensor) -> float:
    return sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))


def share(near: float, *far: float) -> float:
    """Minus the log of the first logit's share."""
    return -math.log(math.exp(near) / sum(map(math.exp, (near, *far))))


def made(model: Hallucinator, x: Tensor, k: Tensor) -> Tensor:
    torch.manual_seed(7)
    return model.positive(x, k, torch.default_generator)


@torch.no_grad()
def test_moco_is_the_slow_mean_over_queries_and_what_is_made_of_them():
    model, views = ready()
    torch.manual_seed(7)
    terms = model.loss(views, AT)
    x, k = model.projector(model.encoder(views[0].x)), normalize(model.teacher(views[1].x), dim=1)
    both = normalize(torch.cat([x, made(model, x, k)]), dim=1)  # x is made into h before it is normalized
    past = model.queue.read()
    losses = [share(dot(q, k[i % 4]) / 0.2, *(dot(q, row) / 0.2 for row in past)) for i, q in enumerate(both)]
    assert terms.total.item() == pytest.approx(sum(losses) / 8, rel=1e-5)
    found = [terms.notes[name].item() for name in ("query", "made")]
    near = [sum(dot(z, key) for z, key in zip(part, k, strict=True)) / 4 for part in both.split(4)]
    assert found == pytest.approx(near, rel=1e-4)


def test_each_key_is_written_once():
    """Released: twice, which halves what the queue tells apart."""
    model, views = ready()
    terms = model.loss(views, AT)
    assert {name: len(value) for name, value in terms.keep.items()} == {"key": 4, "id": 4}
    model.after_step(AT, terms.keep)
    assert sorted(model.queue.tag("id").tolist()) == [-1, -1, 0, 1, 2, 3]


@torch.no_grad()
@pytest.mark.parametrize("masked", [True, False])
def test_simclr_masks_the_other_rows_of_an_image(masked):
    model, views = ready(framework="simclr", masked=masked)
    torch.manual_seed(7)
    found = model.loss(views, AT).total.item()
    x, k = model.projector(model.encoder(torch.cat([v.x for v in views]))).chunk(2)
    rows = normalize(torch.cat([x, made(model, x, k), k, k]), dim=1)
    losses = []
    for i in range(16):
        partner = (i + 8) % 16
        others = [j for j in range(16) if j not in (i, partner) and (not masked or j % 4 != i % 4)]
        losses.append(share(*(dot(rows[i], rows[j]) / 0.2 for j in (partner, *others))))
    assert found == pytest.approx(sum(losses) / 16, rel=1e-5)


@torch.no_grad()
def test_simsiam_makes_positives_of_predictions():
    model, views = ready(framework="simsiam")
    model.settings = replace(model.settings)
    model.positive.reach = 0.0  # else each direction has a share of its own
    found = model.loss(views, AT).total.item()
    z = [model.projector(model.encoder(v.x)) for v in views]
    p = [model.predictor(row) for row in z]
    total = 0.0
    for one, other in ((0, 1), (1, 0)):
        h = model.positive(p[one], p[other], generator(0))
        for query in (p[one], h):
            total -= (normalize(query, dim=1) * normalize(z[other], dim=1)).sum(1).mean().item() / 4
    assert found == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("framework", ["moco", "simclr", "simsiam"])
@pytest.mark.parametrize("smooth", [True, False])
def test_all_weights_learn_in_every_framework(framework, smooth):
    model, views = ready(framework=framework, smooth=smooth)
    terms = model.loss(views, AT)
    terms.total.backward()
    model.after_step(AT, terms.keep)
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            assert weight.grad is not None and weight.grad.count_nonzero() > 0, name
    assert model.network("image") is model.encoder
