from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.core.types import Progress
from counterpoint.encoders.convnet import ConvNet
from counterpoint.methods.image.supremix import SupReMix
from counterpoint.objectives.contrastive import cosine_logits, sup_con
from counterpoint.pairs.labels import same_class
from counterpoint.train.loop import fresh
from counterpoint.views.presets import SimCLRCrops

AT = Progress(0, 1, 0, 1)
AGES = torch.tensor([30, 34, 32, 30, 50])
BATCH = {"image": torch.rand(5, 1, 12, 12, generator=generator(3)), "label": AGES, "id": torch.arange(5)}
CONFIG = SupReMix.Config(
    encoder=ConvNet.Config(channels=1, width=4), hidden=8, dim=5, positives=3, views=SimCLRCrops(size=8)
)


def embedded(model: SupReMix) -> tuple[tuple, Tensor]:
    views = model.views(BATCH, generator(0, "views"))
    with torch.no_grad():
        z = normalize(model.projector(model.encoder(torch.cat([v.x for v in views[:2]]))), dim=1)
    return views, z.double()


def slow(model: SupReMix, z: Tensor, y: list[float], tau: float, same: float = 0.0) -> float:
    """Every mixture made, one sum of exponentials for each anchor."""
    torch.manual_seed(7)
    made = model._mixtures(torch.tensor(y, dtype=torch.float32))
    losses = []
    for i in range(len(z)):
        near, whole = [], 0.0
        for a in range(len(z)):
            if a != i:
                far = abs(y[i] - y[a])
                s = (z[i] @ z[a] / tau).item()
                near += [s] if far <= same else []
                whole += math.exp(s) * (1 if far <= same else 1 + far)
        for mixtures, positive in made:
            for c in mixtures.there[i].nonzero()[:, 0].tolist():
                j, k = int(mixtures.one[i, c]), int(mixtures.other[i, c])
                a = mixtures.share[i, c].item()
                s = (z[i] @ (a * z[j] + (1 - a) * z[k]) / tau).item()
                near += [s] if positive else []
                whole += math.exp(s) * (1 if positive else 1 + abs(y[i] - (a * y[j] + (1 - a) * y[k])))
        losses.append(sum(math.log(whole) - s for s in near) / len(near))
    return sum(losses) / len(losses)


@pytest.mark.parametrize(("negatives", "positives"), [(True, 3), (True, 0), (False, 3), (False, 0)])
@pytest.mark.parametrize("tau", [0.3, 0.02])
def test_the_loss_is_the_slow_sum_over_samples_and_mixtures(negatives, positives, tau):
    """Released: samples and mixtures each shifted by a maximum of their own, then summed as if by one.

    At a small temperature the two maxima are far apart, and that sum is another.
    """
    model = fresh(replace(CONFIG, negatives=negatives, positives=positives, temperature=tau), 0)
    views, z = embedded(model)
    expected = slow(model, z, AGES.repeat(2).tolist(), tau)
    torch.manual_seed(7)
    terms = model.loss(views, AT)
    assert terms.total.item() == pytest.approx(expected, rel=1e-4)
    # 34 and 32 lie within a window of 5 between others: 4 of 10 views have mixtures
    assert float(terms.notes["mixed_positives"]) == pytest.approx(3 * 2 / 10 if positives else 0)


def test_without_mixtures_and_weights_it_is_supcon():
    model = fresh(replace(CONFIG, negatives=False, positives=0, weights="none"), 0)
    views, z = embedded(model)
    expected = sup_con(cosine_logits(z, z, 0.3), same_class(AGES.repeat(2)))
    assert model.loss(views, AT).total.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_unit_of_targets_is_a_setting_and_any_entry_may_be_the_target():
    """The weights depend on the unit: in months everything would be twelve times as far."""
    model = fresh(CONFIG, 0)
    views, _ = embedded(model)
    torch.manual_seed(7)
    years = model.loss(views, AT).total
    months = fresh(replace(CONFIG, target="months", unit=12.0), 0)
    assert months.needs == {"image", "months"}
    batch = {"image": BATCH["image"], "id": BATCH["id"], "months": 12 * AGES}
    seen = months.views(batch, generator(0, "views"))
    torch.manual_seed(7)
    assert months.loss(seen, AT).total.item() == pytest.approx(years.item(), rel=1e-6)
    with pytest.raises(InputError, match="unit: expected a number > 0, found 0"):
        replace(CONFIG, unit=0.0).build()


def test_continuous_targets_pair_by_tolerance():
    """Of equal targets there would be a sample's other view alone."""
    batch = BATCH | {"label": torch.tensor([0.0, 0.2, 1.0, 1.3, 2.0])}
    model = fresh(replace(CONFIG, same=0.25, negatives=False, positives=0), 0)
    views = model.views(batch, generator(0, "views"))
    _, z = embedded(model)
    expected = slow(model, z, batch["label"].repeat(2).tolist(), 0.3, same=0.25)
    assert model.loss(views, AT).total.item() == pytest.approx(expected, rel=1e-4)


def test_no_gradient_through_mixtures():
    """An anchor that is in no other pair: its loss moves its own row, never those it is mixed of."""
    model = fresh(CONFIG, 0)
    z = normalize(torch.randn(10, 5, generator=generator(4)), dim=1).requires_grad_()
    from counterpoint.pairs.targets import mixture_logits

    torch.manual_seed(7)
    for mixtures, _ in model._mixtures(AGES.repeat(2).float()):
        logits = mixture_logits(z, mixtures, 0.3)
        (grad,) = torch.autograd.grad(logits[2].sum(), z)
        assert grad[2].any() and not grad[[0, 1, 3, 4, 5, 6, 7, 8, 9]].any()
