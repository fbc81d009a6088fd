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
from counterpoint.methods.image.amcl import AMCL
from counterpoint.train.loop import fresh
from counterpoint.train.optim import OptimConfig, optimizer
from counterpoint.views.presets import SimCLRCrops

AT = Progress(0, 1, 0, 1)
BATCH = {"image": torch.rand(4, 1, 12, 12, generator=generator(3)), "id": torch.arange(4)}
CONFIG = AMCL.Config(
    encoder=ConvNet.Config(channels=1, width=4), heads=3, hidden=8, dim=5, phi=6, low=0.05,
    views=SimCLRCrops(size=8),
)  # fmt: skip


def slow(z: Tensor, tau: Tensor, kappa: int) -> tuple[float, float]:
    """One head: every anchor's two terms, by the table of the paper."""
    count, dim = z.shape
    contrast, cost = 0.0, 0.0

    def omega(t: float) -> float:
        return dim / 2 * math.log(t) + 1 / t

    for i in range(count):
        p = (i + count // 2) % count
        scaled = {n: (z[i] @ z[n] / tau[i, n]).item() for n in range(count) if n not in (i, p)}
        first = max(scaled, key=lambda n, s=scaled: s[n])
        pushing = sorted(scaled.values(), reverse=True)[: kappa or count]
        push = math.log(sum(map(math.exp, pushing)))
        contrast += (-z[i] @ z[p] / tau[i, p]).item() + push
        cost += omega(tau[i, p].item()) - omega(tau[i, first].item())
    return contrast / count, cost / count


@pytest.mark.parametrize("kappa", [0, 1, 2])
@pytest.mark.parametrize("adaptive", [True, False])
def test_the_loss_is_the_slow_sum_over_heads(kappa, adaptive):
    model = fresh(replace(CONFIG, negatives=kappa, adaptive=adaptive, price=0.3), 0)
    views = model.views(BATCH, generator(0, "views"))
    terms = model.loss(views, AT)
    contrast, cost = 0.0, 0.0
    with torch.no_grad():
        features = model.encoder(torch.cat([v.x for v in views]))
        for head in model.heads:
            z = normalize(head(features), dim=1)
            tau = torch.full((8, 8), 0.2)
            if adaptive:
                codes = model.phi(z)
                tau = 0.05 + 1.95 * torch.sigmoid(codes @ codes.T)
            found = slow(z, tau, kappa)
            contrast, cost = contrast + found[0], cost + found[1]
    assert terms.parts["contrast"].item() == pytest.approx(contrast, rel=1e-4)
    assert terms.parts["price"].item() == pytest.approx(cost, rel=1e-4, abs=1e-5)
    assert terms.total.item() == pytest.approx(contrast + 0.3 * cost, rel=1e-4)


def test_the_one_hardest_negative_is_a_maximum_not_a_sum():
    model = fresh(replace(CONFIG, negatives=1, heads=1), 0)
    views = model.views(BATCH, generator(0, "views"))
    one = model.loss(views, AT).parts["contrast"]
    everyone = fresh(replace(CONFIG, negatives=0, heads=1), 0).loss(views, AT).parts["contrast"]
    assert one < everyone < one + math.log(6)


def test_heads_and_phi_are_trained_and_heads_differ():
    """Released: heads in a plain list, which no optimizer would see; alike at first, heads would stay so."""
    model = fresh(CONFIG, 0)
    trained = {id(p) for group in optimizer(model, OptimConfig()).param_groups for p in group["params"]}
    assert all(id(p) in trained for part in (*model.heads, model.phi) for p in part.parameters())
    model.loss(model.views(BATCH, generator(0, "views")), AT).total.backward()
    grads = [head[0].weight.grad for head in model.heads]
    assert all(g.count_nonzero() > 0 for g in (*grads, model.phi[0].weight.grad))
    assert not torch.allclose(grads[0], grads[1])


def test_wrong_settings_are_refused():
    with pytest.raises(InputError, match=r"expected at least one head and 0 < low ≤ high, found 4, 3\.0"):
        AMCL.Config(low=3.0).build()
