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
from counterpoint.methods.image.interclr import InterCLR
from counterpoint.train.loop import fresh
from counterpoint.views.presets import MoCoCrops

AT = Progress(3, 9, 1, 3)
BATCH = {
    "image": torch.rand(4, 1, 12, 12, generator=generator(3)),
    "label": torch.tensor([0, 1, 1, 0]),
    "id": torch.arange(4),
}
CONFIG = InterCLR.Config(
    encoder=ConvNet.Config(channels=1, width=4), hidden=8, dim=5, queue=6, prototypes=3, least=2, pool=4,
    negatives=2, momentum=0.5, views=MoCoCrops(size=8),
)  # fmt: skip


def none(role: str) -> Tensor:
    raise AssertionError("no pass over the data is needed")


def filled(**changes) -> InterCLR:
    """A bank of twelve images, the batch's four among them."""
    model = fresh(replace(CONFIG, **changes), 0)
    rows = normalize(torch.randn(12, 5, generator=generator(5)), dim=1)
    model.clusters.write(torch.arange(12), rows, torch.arange(12) % 3 if changes.get("labels") else None)
    torch.manual_seed(0)
    model.before_epoch(AT, none)
    return model


def embedded(model: InterCLR, views) -> Tensor:
    with torch.no_grad():
        return normalize(model.projector(model.encoder(views[0].x)), dim=1)


@pytest.mark.parametrize("margin", [-0.5, 0.0, 0.25])
def test_between_images_is_info_nce_with_an_easier_positive(margin):
    """A sign the wrong way round would be the opposite experiment: below 0 the loss must fall."""
    model = filled(margin=margin, sampling="hard", negatives=3)
    views = model.views(BATCH, generator(0, "views"))
    torch.manual_seed(7)
    terms = model.loss(views, AT)
    q, bank, label = embedded(model, views), model.clusters.read(), model.clusters.label
    torch.manual_seed(7)
    chance = torch.rand(4, 12)
    total = 0.0
    for i in range(4):
        cos = (bank @ q[i]).tolist()
        alike = [j for j in range(12) if label[j] == label[i]]
        positive = max(alike, key=lambda j, i=i: chance[i, j].item())
        others = sorted((cos[j] for j in range(12) if label[j] != label[i]), reverse=True)[:3]
        near = math.exp((cos[positive] - margin) / 0.2)
        total -= math.log(near / (near + sum(math.exp(c / 0.2) for c in others)))
    assert terms.parts["inter"].item() == pytest.approx(total / 4, rel=1e-4)
    expected = 0.75 * terms.parts["intra"] + 0.25 * terms.parts["inter"]
    assert terms.total.item() == pytest.approx(expected.item(), rel=1e-6)
    torch.manual_seed(7)
    harder = filled(margin=margin + 0.1, sampling="hard", negatives=3)
    torch.manual_seed(7)
    assert harder.loss(views, AT).parts["inter"] > terms.parts["inter"]


def test_there_is_no_loss_between_images_before_the_bank_is_clustered():
    model = fresh(CONFIG, 0)
    views = model.views(BATCH, generator(0, "views"))
    first = replace(AT, step=0, epoch=0)
    model.before_epoch(first, none)
    terms = model.loss(views, first)
    assert terms.parts["inter"] == 0 and not model.clusters.begun
    model.after_step(first, terms.keep)
    assert torch.equal(model.clusters.read(), terms.keep["key"])
    model.before_epoch(AT, none)
    assert model.clusters.begun and model.loss(views, AT).parts["inter"] > 0


@pytest.mark.parametrize("labels", ["online", "offline", "oracle"])
def test_labels_follow_as_asked(labels):
    model = filled(**({} if labels == "online" else {"labels": labels}))
    batch = BATCH if labels == "oracle" else {name: BATCH[name] for name in ("image", "id")}
    assert model.needs == set(batch) - {"id"}
    before = model.clusters.label.clone()
    if labels == "online":
        model.clusters.centroids = torch.zeros(3, 5)
        model.clusters.centroids[2] = 1.0
        keys = normalize(torch.ones(4, 5), dim=1)
        model.after_step(AT, {"key": keys, "id": BATCH["id"]})
        assert (model.clusters.label[:4] == 2).sum() >= 2  # unless a repair has moved them
        assert model.clusters.sizes().min() >= 2
        return
    terms = model.loss(model.views(batch, generator(0, "views")), AT)
    assert terms.parts["inter"] > 0
    model.after_step(AT, terms.keep)
    expected = before[:4] if labels == "offline" else BATCH["label"]
    assert torch.equal(model.clusters.label[:4], expected)
    assert torch.equal(model.clusters.label[4:], before[4:])
    model.before_epoch(replace(AT, epoch=2), none)
    assert model.clusters.label.shape == (12,)


def test_centroids_are_made_anew_now_and_then():
    for step, moved in ((10, True), (11, False)):
        model = filled(least=1)
        before = model.clusters.centroids.clone()
        keys = normalize(model.clusters.read()[:4] + 0.01, dim=1)
        model.after_step(replace(AT, step=step), {"key": keys, "id": BATCH["id"]})
        assert torch.equal(before, model.clusters.centroids) != moved
