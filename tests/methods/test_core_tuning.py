from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.distributions import Beta
from torch.nn.functional import normalize

from counterpoint.core.errors import InputError
from counterpoint.core.networks import save_networks
from counterpoint.core.rng import generator
from counterpoint.core.types import Progress
from counterpoint.encoders.convnet import ConvNet
from counterpoint.methods.image.core_tuning import CoreTuning
from counterpoint.train.loop import fresh
from counterpoint.views.presets import ManyCrops

AT = Progress(0, 1, 0, 1)
LABEL = torch.tensor([0, 1, 0, 2, 1, 0])
BATCH = {"image": torch.rand(6, 1, 12, 12, generator=generator(3)), "label": LABEL, "id": torch.arange(6)}
CONFIG = CoreTuning.Config(
    encoder=ConvNet.Config(channels=1, width=4), classes=3, hidden=8, dim=5, temperature=0.3,
    views=ManyCrops(count=1, size=8),
)  # fmt: skip


def made(f: Tensor, alpha: float = 1.0) -> tuple[Tensor, Tensor]:
    """All 3B rows and labels of the paper, one by one."""
    torch.manual_seed(7)
    other = torch.randperm(6)
    first = Beta(alpha, alpha).sample((6,))
    second = Beta(alpha, alpha).sample((6,))
    u, soft = normalize(f, dim=1), torch.eye(3)[LABEL]
    rows, labels = [*f], [*soft]
    for i in range(6):
        a = max(first[i].item(), 0.8)
        rows.append(a * f[other[i]] + (1 - a) * f[i])
        labels.append(a * soft[other[i]] + (1 - a) * soft[i])
    for i in range(6):
        own = [k for k in range(6) if k != i and LABEL[k] == LABEL[i]] or [i]
        near = min(own, key=lambda k: float(u[i] @ u[k]))
        far = max((k for k in range(6) if LABEL[k] != LABEL[i]), key=lambda k: float(u[i] @ u[k]))
        a = second[i].item()
        rows.append(a * f[near] + (1 - a) * f[far])
        labels.append(a * soft[near] + (1 - a) * soft[far])
    return torch.stack(rows), torch.stack(labels)


def test_both_terms_are_the_slow_sums_over_all_three_batches():
    model = fresh(CONFIG, 0)
    views = model.views(BATCH, generator(0, "views"))
    with torch.no_grad():
        rows, soft = made(model.encoder(views[0].x))
        shares = model.classifier(rows).softmax(1)
        z = normalize(model.projector(rows), dim=1)
    losses = []
    for i in range(18):
        whole = sum(math.exp(z[i] @ z[k] / 0.3) for k in range(18) if k != i)
        near = [k for k in range(18) if k != i and torch.allclose(soft[i], soft[k])]
        p = [math.exp(z[i] @ z[k] / 0.3) / whole for k in near]
        losses += [sum(-(1 - s) * math.log(s) for s in p) / len(p)] if p else []
    torch.manual_seed(7)
    terms = model.loss(views, AT)
    expected = -(soft * shares.log()).sum(1).mean().item()
    assert terms.parts["classes"].item() == pytest.approx(expected, rel=1e-4)
    assert terms.parts["contrast"].item() == pytest.approx(sum(losses) / len(losses), rel=1e-4)
    assert terms.total.item() == pytest.approx(expected + 0.1 * sum(losses) / len(losses), rel=1e-4)


def test_samples_themselves_have_a_gradient_unless_as_released():
    """Released: a detached clone, so that the encoder learns from what is made alone."""
    for mix, released in (("none", False), ("none", True)):
        model = fresh(replace(CONFIG, mix=mix, released=released), 0)
        model.loss(model.views(BATCH, generator(0, "views")), AT).total.backward()
        grads = [p.grad for p in model.encoder.parameters()]
        assert all(g is None for g in grads) if released else all(g.any() for g in grads)
    model = fresh(replace(CONFIG, released=True), 0)
    torch.manual_seed(7)
    views = model.views(BATCH, generator(0, "views"))
    f = model.encoder(views[0].x)
    torch.manual_seed(7)
    _, (rows, _) = model._made(f, torch.eye(3)[LABEL], LABEL)
    torch.manual_seed(7)
    _, (paper, _) = fresh(CONFIG, 0)._made(f, torch.eye(3)[LABEL], LABEL)
    assert not torch.allclose(rows, paper)  # the anchor itself in place of its farthest positive


def test_mixup_of_features_is_of_any_two():
    model = fresh(replace(CONFIG, mix="random"), 0)
    f, soft = torch.randn(6, 4, generator=generator(1)), torch.eye(3)[LABEL]
    torch.manual_seed(7)
    other, share = torch.randperm(6), Beta(1.0, 1.0).sample((6,))[:, None]
    torch.manual_seed(7)
    ((rows, labels),) = model._made(f, soft, LABEL)
    torch.testing.assert_close(rows, share * f[other] + (1 - share) * f)
    torch.testing.assert_close(labels, share * soft[other] + (1 - share) * soft)


def test_without_contrast_and_mixtures_it_is_cross_entropy():
    model = fresh(replace(CONFIG, contrast=0.0, mix="none"), 0)
    views = model.views(BATCH, generator(0, "views"))
    expected = torch.nn.functional.cross_entropy(model.classifier(model.encoder(views[0].x)), LABEL)
    terms = model.loss(views, AT)
    assert list(terms.parts) == ["classes"] and terms.total.item() == pytest.approx(expected.item())


def test_a_trained_network_is_tuned(tmp_path):
    torch.manual_seed(5)
    trained = ConvNet.Config(channels=1, width=4).build()
    save_networks(tmp_path / "networks.safetensors", {"image": trained})
    model = fresh(replace(CONFIG, model=str(tmp_path), encoder=ConvNet.Config(width=7)), 0)
    assert model.encoder.config == trained.config
    assert all(
        torch.equal(a, b) for a, b in zip(model.encoder.parameters(), trained.parameters(), strict=True)
    )
    model.loss(model.views(BATCH, generator(0, "views")), AT).total.backward()
    assert all(p.grad is not None for p in model.parameters())
    with pytest.raises(InputError, match="nothing"):
        replace(CONFIG, model=str(tmp_path / "none")).build()


def test_labels_beyond_the_classes_are_refused():
    model = fresh(replace(CONFIG, classes=2), 0)
    with pytest.raises(InputError, match="expected labels from 0 to below 2, found some from 0 to 2"):
        model.loss(model.views(BATCH, generator(0, "views")), AT)
