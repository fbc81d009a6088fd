from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.core.types import Progress
from counterpoint.encoders.convnet import ConvNet
from counterpoint.methods.image.hydra import Hydra
from counterpoint.pairs.partners import partners
from counterpoint.train.loop import fresh
from counterpoint.views.presets import ManyCrops

AT = Progress(0, 1, 0, 1)
LABEL = torch.tensor([0, 1, 2, 2, 0, 3])
BATCH = {"image": torch.rand(6, 1, 12, 12, generator=generator(3)), "label": LABEL, "id": torch.arange(6)}
CONFIG = Hydra.Config(
    encoder=ConvNet.Config(channels=1, width=4), classes=4, hidden=8, dim=5, codes=6,
    views=ManyCrops(count=1, size=8),
)  # fmt: skip


def slow(model: Hydra, views, crops: int = 1) -> float:
    """Every positive entry of the batch for itself; anchors without one count nothing."""
    label = LABEL.repeat(crops)
    with torch.no_grad():
        z = model.projector(model.encoder(torch.cat([v.x for v in views[:crops]])))
    torch.manual_seed(7)
    partner = partners(label, model.settings.pairs, 4, torch.default_generator)
    with torch.no_grad():
        gate = torch.ones_like(z) if model.gate is None else model.gate(label, partner)
    u, found = normalize(z, dim=1), []
    if model.settings.gate == "cosine":
        table = [[(normalize(g * a, dim=0) @ normalize(g * b, dim=0)).item() / 0.1 for b in u]
                 for a, g in zip(u, gate, strict=True)]  # fmt: skip
    else:
        table = [[((g * a) @ (g * b)).item() / 0.1 for b in u] for a, g in zip(u, gate, strict=True)]
    for b, row in enumerate(table):
        far = sum(math.exp(s) for s, y in zip(row, label, strict=True) if y not in (label[b], partner[b]))
        found += [math.log(math.exp(s) + far) - s for s, y in zip(row, label, strict=True) if y == partner[b]]
    return sum(found) / max(len(found), 1)


@pytest.mark.parametrize("pairs", ["arbitrary", "identical", "distinct"])
@pytest.mark.parametrize(("gate", "fuse"), [("product", "mean"), ("cosine", "product"), ("none", "mean")])
def test_the_loss_is_the_slow_mean_over_positive_entries(pairs, gate, fuse):
    model = fresh(replace(CONFIG, pairs=pairs, gate=gate, fuse=fuse), 0)
    views = model.views(BATCH, generator(0, "views"))
    expected = slow(model, views)
    torch.manual_seed(7)
    assert model.loss(views, AT).total.item() == pytest.approx(expected, rel=1e-4)


def test_further_crops_join_the_batch():
    model = fresh(replace(CONFIG, views=ManyCrops(count=2, size=8)), 0)
    views = model.views(BATCH, generator(0, "views"))
    expected = slow(model, views, crops=2)
    torch.manual_seed(7)
    assert model.loss(views, AT).total.item() == pytest.approx(expected, rel=1e-4)


def test_a_batch_without_positives_is_no_trouble():
    """Distinct partners of a class that is not there: no pair at all."""
    model = fresh(replace(CONFIG, pairs="distinct", classes=100), 0)
    views = model.views({**BATCH, "label": torch.zeros(6, dtype=torch.int64)}, generator(0, "views"))
    total = model.loss(views, AT).total
    total.backward()
    assert total.item() == 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_notes_say_when_gates_collapse():
    model = fresh(CONFIG, 0)
    assert model.gate is not None
    views = model.views(BATCH, generator(0, "views"))
    notes = {k: float(v) for k, v in model.loss(views, AT).notes.items()}
    assert 0.2 < notes["open"] < 0.8 and notes["undecided"] > 0.5
    torch.nn.init.constant_(model.gate.perceptron[-1].bias, 50.0)
    notes = {k: float(v) for k, v in model.loss(views, AT).notes.items()}
    assert notes["open"] > 0.999 and notes["undecided"] < 0.01


def test_labels_beyond_the_classes_are_refused():
    model = fresh(replace(CONFIG, classes=3), 0)
    with pytest.raises(InputError, match="classes: expected labels from 0 to below 3, found 0 to 3"):
        model.loss(model.views(BATCH, generator(0, "views")), AT)
