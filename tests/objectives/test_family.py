"""Every published form of contrast, written out as loops, is a setting of the one core."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.core.types import Pairs
from counterpoint.objectives.contrastive import (
    align,
    anchor_mean,
    contrast,
    cosine_logits,
    debiased,
    decoupled,
    info_nce,
    pairwise_sigmoid,
    repel,
    sup_con,
    symmetric,
)
from counterpoint.pairs.candidates import in_batch, joined, mixed, own, remembered
from counterpoint.pairs.hard import far_positives, harder
from counterpoint.pairs.ids import same_sample
from counterpoint.pairs.labels import same_class
from counterpoint.pairs.neighbors import nearest

B, D, TAU = 4, 5, 0.3
IDS = torch.arange(B).repeat(2)


def unit(n: int, seed: int) -> Tensor:
    return normalize(
        torch.randn(n, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=1
    )


def dot(a: Tensor, b: Tensor) -> float:
    return sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))


def e(a: Tensor, b: Tensor, tau: float = TAU) -> float:
    return math.exp(dot(a, b) / tau)


def mean(values) -> float:
    values = list(values)
    return sum(values) / len(values)


def same(found: Tensor, expected: float) -> None:
    assert found.ndim == 0 and found.item() == pytest.approx(expected, rel=1e-11, abs=1e-12)


@pytest.fixture
def z1() -> Tensor:
    return unit(B, 1)


@pytest.fixture
def z2() -> Tensor:
    return unit(B, 2)


@pytest.fixture
def z(z1, z2) -> Tensor:
    return torch.cat([z1, z2])


def logits(a: Tensor, b: Tensor) -> Tensor:
    return cosine_logits(a, b, TAU)


def test_nt_xent(z):
    slow = mean(
        -math.log(e(z[a], z[(a + B) % (2 * B)]) / sum(e(z[a], z[b]) for b in range(2 * B) if b != a))
        for a in range(2 * B)
    )
    same(info_nce(logits(z, z), same_sample(IDS)), slow)


LABELS = [0, 1, 1, 2, 0, 1, 1, 2]


def test_sup_con_out_and_in(z):
    out, inside = [], []
    for i in range(2 * B):
        positives = [p for p in range(2 * B) if p != i and LABELS[p] == LABELS[i]]
        whole = sum(e(z[i], z[a]) for a in range(2 * B) if a != i)
        out.append(-mean(math.log(e(z[i], z[p]) / whole) for p in positives))
        inside.append(-math.log(mean(e(z[i], z[p]) / whole for p in positives)))
    pairs = same_class(torch.tensor(LABELS))
    same(sup_con(logits(z, z), pairs), mean(out))
    same(sup_con(logits(z, z), pairs, "in"), mean(inside))
    assert mean(inside) < mean(out)


def test_sup_con_of_unlike_labels_is_nt_xent(z):
    for form in ("out", "in"):
        same(sup_con(logits(z, z), same_class(IDS), form), info_nce(logits(z, z), same_sample(IDS)).item())


@pytest.mark.parametrize("weighted", [False, True])
def test_dcl_and_dclw(z, z1, z2, weighted):
    sigma, weights, total = 0.5, [1.0] * B, 0.0
    if weighted:
        bottom = sum(math.exp(dot(z1[b], z2[b]) / sigma) for b in range(B))
        weights = [2 - B * math.exp(dot(z1[i], z2[i]) / sigma) / bottom for i in range(B)]
    for one, two in ((z1, z2), (z2, z1)):
        total += mean(
            -weights[i] * dot(one[i], two[i]) / TAU
            + math.log(sum(e(one[i], one[j]) + e(one[i], two[j]) for j in range(B) if j != i))
            for i in range(B)
        )
    weight = far_positives((z1 * z2).sum(1), sigma).repeat(2) if weighted else None
    same(decoupled(logits(z, z), same_sample(IDS), weight), total / 2)


def test_dcl_is_the_core_without_the_positive_in_the_denominator(z):
    pairs = same_sample(IDS)
    losses = contrast(logits(z, z), pairs.positive, pairs.negative, denominator="negatives")
    same(decoupled(logits(z, z), pairs), losses.mean().item())


def test_the_gradient_of_dcl_is_that_of_nt_xent_without_its_factor(z):
    """Where only anchor i counts, ∂NT-Xent/∂z_i = (1 − p_i) ∂DCL/∂z_i."""
    pairs, table = same_sample(IDS), logits(z, z)
    share = table.masked_fill(torch.eye(2 * B, dtype=torch.bool), -torch.inf).softmax(1)[0, B]
    grads = []
    for denominator in ("all", "negatives"):
        free = table.clone().requires_grad_()
        contrast(free, pairs.positive, pairs.negative, denominator=denominator)[0].backward()
        grads.append(free.grad[0])
    torch.testing.assert_close(grads[0], (1 - share) * grads[1])


def test_moco(z1, z2):
    queue = unit(7, 3)
    slow = mean(
        -math.log(e(z1[i], z2[i]) / (e(z1[i], z2[i]) + sum(e(z1[i], n) for n in queue))) for i in range(B)
    )
    ids = torch.arange(B)
    columns = joined(own(in_batch(ids, z2, ids)), remembered(ids, queue))
    same(info_nce(logits(z1, columns.rows), columns.pairs), slow)


def test_moco_v3_up_to_its_factor(z1, z2):
    def ctr(q, k):
        return mean(
            -2 * TAU * math.log(e(q[i], k[i]) / sum(e(q[i], k[j]) for j in range(B))) for i in range(B)
        )

    pairs = same_sample(torch.arange(B), torch.arange(B))
    found = info_nce(logits(z1, z2), pairs) + info_nce(logits(z2, z1), pairs)
    same(2 * TAU * found, ctr(z1, z2) + ctr(z2, z1))


def test_clip(z1, z2):
    log_scale = torch.tensor(math.log(1 / 0.07), dtype=torch.float64, requires_grad=True)
    s = math.exp(log_scale.item())

    def side(u, v):
        return mean(
            -math.log(math.exp(s * dot(u[i], v[i])) / sum(math.exp(s * dot(u[i], v[k])) for k in range(B)))
            for i in range(B)
        )

    pairs = same_sample(torch.arange(B), torch.arange(B))
    found = symmetric(log_scale.exp() * cosine_logits(z1, z2, 1.0), pairs)
    same(found, (side(z1, z2) + side(z2, z1)) / 2)
    found.backward()
    assert log_scale.grad.abs() > 0


def test_siglip(z1, z2):
    t, b = 10.0, -2.5
    slow = 0.0
    for i in range(B):
        for j in range(B):
            sign = 1 if i == j else -1
            slow -= math.log(1 / (1 + math.exp(-sign * (t * dot(z1[i], z2[j]) + b)))) / B
    pairs = same_sample(torch.arange(B), torch.arange(B))
    same(pairwise_sigmoid(t * cosine_logits(z1, z2, 1.0) + b, pairs), slow)


def test_nnclr(z1, z2):
    bank = unit(9, 4)
    found, slow = [], []
    for a, p in ((z1, z2), (z2, z1)):
        near = [max(bank, key=lambda row, x=x: dot(x, row)) for x in a]
        slow.append(
            mean(-math.log(e(near[i], p[i]) / sum(e(near[i], p[j]) for j in range(B))) for i in range(B))
        )
        pairs = same_sample(torch.arange(B), torch.arange(B))
        found.append(info_nce(logits(bank[nearest(a, bank)[:, 0]], p), pairs))
    same((found[0] + found[1]) / 2, mean(slow))


@pytest.mark.parametrize("strength", [0.0, 1.5])
@pytest.mark.parametrize(("prior", "floored"), [(0.0, False), (0.02, False), (0.9, True)])
def test_debiased_and_hard(z, strength, prior, floored):
    slow, at_floor = [], 0
    for i in range(2 * B):
        near = e(z[i], z[(i + B) % (2 * B)])
        far = [e(z[i], z[j]) for j in range(2 * B) if j % B != i % B]
        weights = [value**strength for value in far]
        expected = sum(w * value for w, value in zip(weights, far, strict=True)) / sum(weights)
        g = (expected - prior * near) / (1 - prior)
        at_floor += g < math.exp(-1 / TAU)
        slow.append(-math.log(near / (near + len(far) * max(g, math.exp(-1 / TAU)))))
    assert bool(at_floor) == floored  # the case tests what it is named after
    pairs, table = same_sample(IDS), logits(z, z).requires_grad_()
    negative = harder(table, pairs.negative, strength) if strength else pairs.negative
    found = debiased(table, pairs.positive, negative, prior, -1 / TAU)
    same(found, mean(slow))
    found.backward()
    assert table.grad.isfinite().all()
    if not (prior or strength):
        same(found, info_nce(table, pairs).item())


def test_each_positive_for_itself():
    """Poly-View's geometric form (card multi-view-cl, PVC): 3 views, the negatives of all views."""
    u = unit(9, 5).view(3, 3, D)
    slow = mean(
        -math.log(
            e(u[i, a], u[i, b])
            / (e(u[i, a], u[i, b]) + sum(e(u[i, a], u[j, m]) for j in range(3) if j != i for m in range(3)))
        )
        for i in range(3)
        for a in range(3)
        for b in range(3)
        if a != b
    )
    rows, pairs = u.flatten(0, 1), same_sample(torch.arange(3).repeat_interleave(3))
    losses = contrast(logits(rows, rows), pairs.positive, pairs.negative, denominator="each")
    same(anchor_mean(losses, pairs.positive), slow)


@pytest.mark.parametrize("views", [2, 3])
def test_many_views_in_one_term(views):
    """MV-InfoNCE and MV-DHEL (card multi-view-cl): a row of the core is an instance, not a view."""
    count = 4
    u = unit(count * views, 6).view(count, views, D)
    info, dhel = [], []
    for i in range(count):
        top = sum(e(u[i, a], u[i, b]) for a in range(views) for b in range(views) if a != b)
        bottom = sum(
            e(u[i, a], u[j, m])
            for a in range(views)
            for j in range(count)
            for m in range(views)
            if (i, a) != (j, m)
        )
        info.append(-math.log(top / bottom))
        spread = (sum(e(u[i, v], u[j, v]) for j in range(count) if j != i) for v in range(views))
        dhel.append(-math.log(top) + sum(map(math.log, spread)))
    rows, ids = u.flatten(0, 1), torch.arange(count).repeat_interleave(views)
    table, pairs = logits(rows, rows), same_sample(ids)

    def by_instance(x: Tensor) -> Tensor:
        return x.view(count, -1)

    weights = by_instance(pairs.positive.double())
    losses = contrast(by_instance(table), weights, by_instance(pairs.negative), inside=True)
    same(losses.mean(), mean(info))
    view = torch.arange(views).repeat(count)
    apart = repel(table, pairs.negative & (view[:, None] == view[None, :])).view(count, views).sum(1)
    same((align(by_instance(table), weights, inside=True) + apart).mean(), mean(dhel))


def test_decoupled_uniformity(z1, z2):
    centers = (z1 + z2) / 2
    apart = [(i, j) for i in range(B) for j in range(i + 1, B)]
    slow = math.log(mean(math.exp(-2 * (centers[i] - centers[j]).square().sum().item()) for i, j in apart))
    distances = torch.cdist(centers, centers).square()
    upper = torch.ones(B, B, dtype=torch.bool).triu(1)
    same(repel(-2 * distances.view(1, -1), upper.view(1, -1), average=True)[0], slow)


def test_weights_of_the_candidates_that_grow_with_the_distance_of_labels(z):
    """SupCR (card supremix): w_ia = 1 + |y_i − y_a| in the denominator."""
    y = [0, 1, 3, 1, 0, 1, 3, 1]
    slow = []
    for i in range(2 * B):
        positives = [p for p in range(2 * B) if p != i and y[p] == y[i]]
        whole = sum((1 + abs(y[i] - y[a])) * e(z[i], z[a]) for a in range(2 * B) if a != i)
        slow.append(-mean(math.log(e(z[i], z[p]) / whole) for p in positives))
    labels = torch.tensor(y)
    pairs = same_class(labels)
    weights = (1 + (labels[:, None] - labels[None, :]).abs()) * pairs.negative
    same(contrast(logits(z, z), pairs.positive, weights.double()).mean(), mean(slow))


def test_soft_targets(z1, z2):
    targets = torch.rand(B, B, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    targets = targets / targets.sum(1, keepdim=True)
    slow = mean(
        -sum(
            targets[i, j].item() * math.log(e(z1[i], z2[j]) / sum(e(z1[i], z2[k]) for k in range(B)))
            for j in range(B)
        )
        for i in range(B)
    )
    nobody = torch.zeros(B, B, dtype=torch.bool)
    same(contrast(logits(z1, z2), targets, nobody).mean(), slow)


def test_margin_and_a_temperature_of_every_pair(z1, z2):
    temperature = 0.2 + torch.rand(B, B, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    margin = -0.5
    slow = []
    for i in range(B):
        near = math.exp((dot(z1[i], z2[i]) - margin) / temperature[i, i].item())
        far = (math.exp(dot(z1[i], z2[j]) / temperature[i, j].item()) for j in range(B) if j != i)
        slow.append(-math.log(near / (near + sum(far))))
    pairs = same_sample(torch.arange(B), torch.arange(B))
    found = contrast(
        cosine_logits(z1, z2, temperature), pairs.positive, pairs.negative, margin=margin / temperature
    )
    same(found.mean(), mean(slow))


@pytest.mark.parametrize("denominator", ["all", "each", "negatives"])
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_all_switches_against_the_definition(z, denominator, inside, average, weighted):
    pairs, table = same_class(torch.tensor(LABELS)), logits(z, z)
    positive, negative = pairs.positive, pairs.negative
    if weighted:
        rng = torch.Generator().manual_seed(1)
        positive, negative = (
            m * (0.1 + torch.rand(m.shape, generator=rng, dtype=torch.float64)) for m in (positive, negative)
        )
    slow = []
    for i in range(2 * B):
        near = [j for j in range(2 * B) if positive[i, j]]
        far = [j for j in range(2 * B) if negative[i, j]]
        w = {j: positive[i, j].item() if weighted else 1 / len(near) for j in near}
        v = {j: negative[i, j].item() if weighted else 1 for j in far}
        push = sum(v[j] * e(z[i], z[j]) for j in far) / (sum(v.values()) if average else 1)
        share = {}
        for p in near:
            own_part = {"all": sum(e(z[i], z[j]) for j in near), "each": e(z[i], z[p]), "negatives": 0}
            share[p] = e(z[i], z[p]) / (own_part[denominator] + push)
        if inside:
            slow.append(-math.log(sum(w[p] * share[p] for p in near)))
        else:
            slow.append(-sum(w[p] * math.log(share[p]) for p in near))
    found = contrast(table, positive, negative, denominator=denominator, inside=inside, average=average)
    torch.testing.assert_close(found, torch.tensor(slow, dtype=torch.float64), rtol=1e-11, atol=1e-13)


def test_columns_of_each_anchor_stand_beside_those_of_all(z1, z2):
    """MoCHi (card mochi): made negatives join the queue in one denominator."""
    queue, ids = unit(7, 3), torch.arange(B)
    hard = (z1 @ queue.T).topk(3, dim=1).indices
    made = mixed(queue, hard, 2, torch.Generator().manual_seed(0))
    slow = mean(
        -math.log(
            e(z1[i], z2[i])
            / (e(z1[i], z2[i]) + sum(e(z1[i], n) for n in queue) + sum(e(z1[i], h) for h in made[i]))
        )
        for i in range(B)
    )
    columns = joined(own(in_batch(ids, z2, ids)), remembered(ids, queue))
    table = torch.cat([logits(z1, columns.rows), torch.einsum("nd,nsd->ns", z1, made) / TAU], 1)
    nobody = torch.zeros(B, 2, dtype=torch.bool)
    positive = torch.cat([columns.pairs.positive, nobody], 1)
    negative = torch.cat([columns.pairs.negative, ~nobody], 1)
    same(info_nce(table, Pairs(positive, negative)), slow)


@pytest.mark.parametrize("denominator", ["all", "each", "negatives"])
@pytest.mark.parametrize("inside", [False, True])
def test_who_has_no_positive_or_no_negative_makes_no_trouble(denominator, inside):
    positive = torch.tensor([[0, 1, 1], [0, 0, 0], [1, 0, 0]]).bool()
    negative = torch.tensor([[0, 0, 0], [1, 0, 1], [0, 1, 0]]).bool()
    table = torch.randn(
        3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True
    )
    for masks in ((positive, negative), (positive.double(), negative.double())):
        for average in (False, True):
            losses = contrast(table, *masks, denominator=denominator, inside=inside, average=average)
            (grad,) = torch.autograd.grad(losses.sum(), table)
            assert losses.isfinite().all() and losses[1] == 0
            assert grad.isfinite().all() and not grad[1].any()
            assert torch.autograd.gradcheck(
                lambda x, m=masks, a=average: contrast(
                    x, *m, denominator=denominator, inside=inside, average=a
                ),
                (table,),
            )


def test_shapes_are_checked():
    table, pairs = torch.ones(2, 3), same_sample(torch.tensor([0, 0]))
    for objective in (info_nce, sup_con, decoupled, pairwise_sigmoid):
        with pytest.raises(ValueError, match=r"\(2, 3\), found \(2, 2\)"):
            objective(table, pairs)
    with pytest.raises(ValueError, match=r"\(2, 3\), found \(2, 2\)"):
        debiased(table, *(pairs.positive, pairs.negative), 0.1, -1)
