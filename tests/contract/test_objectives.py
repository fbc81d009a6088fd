"""What every objective must do, asked of two views' embeddings, whatever the formula.

``CASES`` says how each is fed with (N, D) rows of the same samples. A new file in the room adds a line here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import counterpoint.objectives
from counterpoint.core.types import Pairs, Progress
from counterpoint.objectives import (
    adaptive,
    assignment,
    attraction,
    bags,
    contrastive,
    density,
    focal,
    gated,
    matching,
    multiview,
    placewise,
    reconstruction,
    redundancy,
    regression,
    ring,
    spectral,
    tableless,
    unified,
    uniformity,
)
from counterpoint.objectives.precision import wide
from counterpoint.objectives.supervision import Supervised, Supervision
from counterpoint.pairs.hard import far_positives
from counterpoint.pairs.ids import same_sample
from counterpoint.train.team import ALONE

PARTS = {"precision", "streamed", "correlation"}
"""Files of the room that hold no objective of their own."""

TAU = 0.2


def table(a: Tensor, b: Tensor) -> Tensor:
    return contrastive.cosine_logits(a, b, TAU)


def crossed(a: Tensor) -> Pairs:
    ids = torch.arange(len(a))
    return same_sample(ids, ids)


def joint(objective: Callable[..., Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """Both views in one set, as NT-Xent has them."""

    def loss(a: Tensor, b: Tensor) -> Tensor:
        z = torch.cat([a, b])
        return objective(table(z, z), same_sample(torch.arange(len(a)).repeat(2)))

    return loss


def hardened(a: Tensor, b: Tensor) -> Tensor:
    pairs = crossed(a)
    return contrastive.debiased(table(a, b), pairs.positive, pairs.negative, 0.1, -1 / TAU)


def supervised(a: Tensor, b: Tensor) -> Tensor:
    terms = Supervised([Supervision(tap="t", critic="l1")], {"a": {"t": 1}, "b": {"t": 1}})
    read = [("a", {"t": a[:, None, None]}), ("b", {"t": b[:, None, None]})]
    pairs = same_sample(torch.arange(len(a)).repeat(2))
    return terms(read, pairs, Progress(0, 1, 0, 1))[0]["t l1"]


def adapted(a: Tensor, b: Tensor) -> Tensor:
    z, pairs = torch.cat([a, b]), same_sample(torch.arange(len(a)).repeat(2))
    temperature = adaptive.pair_temperatures(z, 0.1)
    loss = contrastive.decoupled(contrastive.cosine_logits(z, z, temperature), pairs)
    return loss + 0.02 * adaptive.price_of_pairs(temperature, pairs.positive, pairs.negative, a.shape[1])


def densities(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of an image, a code and a code's law."""
    zero = torch.zeros_like(a)
    return (
        density.log_normal(b, a, -1.0),
        density.log_normal(a, zero, zero),
        density.log_normal(b, a / 2, 0.5),
    )


CASES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "contrastive info_nce": joint(contrastive.info_nce),
    "contrastive sup_con in": joint(lambda x, p: contrastive.sup_con(x, p, "in")),
    "contrastive decoupled": joint(contrastive.decoupled),
    "contrastive decoupled weighted": lambda a, b: contrastive.decoupled(
        table(a, b), crossed(a), far_positives(table(a, b).diagonal() * TAU)
    ),
    "contrastive debiased": hardened,
    "contrastive symmetric": lambda a, b: contrastive.symmetric(table(a, b), crossed(a)),
    "contrastive pairwise_sigmoid": lambda a, b: contrastive.pairwise_sigmoid(table(a, b) - 2, crossed(a)),
    "contrastive info_nce_streamed": lambda a, b: contrastive.info_nce_streamed(a, b, TAU, both=True),
    "tableless nt_xent": lambda a, b: tableless.contrast_within(
        torch.cat([a, b]), torch.arange(len(a)).repeat(2), TAU
    ),
    "tableless decoupled": lambda a, b: tableless.contrast_within(
        torch.cat([a, b]), torch.arange(len(a)).repeat(2), TAU, decoupled=True
    ),
    "tableless between": lambda a, b: tableless.contrast_between(a, b, TAU),
    "tableless past": lambda a, b: tableless.contrast_past(a, b, torch.eye(a.shape[1]).to(a), TAU),
    "tableless sigmoid": lambda a, b: tableless.pairwise_sigmoid_streamed(a, b, 1 / TAU, -2.0),
    "ring within": lambda a, b: ring.contrast_ring(
        torch.cat([a, b]), torch.arange(len(a)).repeat(2), TAU, ALONE
    ),
    "ring between": lambda a, b: ring.info_nce_ring(a, b, TAU, ALONE, both=True),
    "contrastive l1": lambda a, b: contrastive.info_nce(contrastive.l1_logits(a, b, TAU), crossed(a)),
    "contrastive mse": lambda a, b: contrastive.info_nce(contrastive.mse_logits(a, b, TAU), crossed(a)),
    "multiview mv_info_nce": lambda a, b: multiview.mv_info_nce(torch.stack([a, b, a + b]), TAU),
    "multiview mv_dhel": lambda a, b: multiview.mv_dhel(torch.stack([a, b, a + b]), TAU),
    "multiview averaged": lambda a, b: multiview.averaged(torch.stack([a, b]), TAU),
    "multiview poly_view": lambda a, b: multiview.poly_view(torch.stack([a, b, a + b]), TAU),
    "uniformity": lambda a, b: uniformity.decoupled_uniformity(uniformity.centers(torch.stack([a, b]))),
    "attraction": lambda a, b: attraction.attraction(torch.stack([a, b, a + b])),
    "attraction repulsion": lambda a, b: attraction.repulsion(torch.stack([a, b])),
    "adaptive": adapted,
    "focal": joint(focal.focal),
    "gated": lambda a, b: contrastive.info_nce(
        gated.gated_logits(torch.cat([a, b]), torch.ones(2 * len(a), a.shape[1]), TAU),
        same_sample(torch.arange(len(a)).repeat(2)),
    ),
    "spectral": spectral.spectral,
    "bags": lambda a, b: bags.bag_divergence(a, wide(b.detach()).softmax(-1)),
    "matching": lambda a, b: matching.row_distance([a], [b]),
    "unified": lambda a, b: unified.unified((1 + TAU * table(a, b)) / 2, crossed(a)),
    "supervision": supervised,
    "regression": regression.cosine_regression,
    "redundancy barlow": redundancy.barlow,
    "redundancy vicreg": lambda a, b: torch.stack(list(redundancy.vicreg(a, b).values())).sum(),
    "assignment swapped": lambda a, b: assignment.swapped(a, assignment.sinkhorn(b, 0.5), TAU),
    "assignment centered": lambda a, b: assignment.centered_cross_entropy(a, b, wide(b).mean(0), 0.2, 0.1),
    "density machine": lambda a, b: density.mutual_information_machine(*densities(a, b)),
    "density bound": lambda a, b: density.evidence_bound(*densities(a, b)),
    "placewise regression": lambda a, b: placewise.place_regression(
        a[None], b[None], crossed(a).positive[None]
    ),
    "placewise contrast": lambda a, b: placewise.place_contrast(
        a[None], b[None], Pairs(crossed(a).positive[None], crossed(a).negative[None]), TAU
    ),
    "reconstruction": lambda a, b: reconstruction.masked_mse(
        a[:, None], b[:, None], torch.ones(len(a), 1).bool()
    ),
}

UNGUIDED = {"assignment swapped", "assignment centered", "bags", "reconstruction"}
"""Those whose second argument is a target, made without a gradient or given."""

each = pytest.mark.parametrize("loss", CASES.values(), ids=CASES.keys())


def rows(seed: int, n: int = 5, d: int = 4, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def test_every_file_of_the_room_is_asked():
    files = {file.stem for folder in counterpoint.objectives.__path__ for file in Path(folder).glob("*.py")}
    assert files - PARTS - {"__init__"} == {name.split()[0] for name in CASES}


@each
def test_it_is_one_finite_number_with_gradients(loss):
    a, b = rows(1).requires_grad_(), rows(2)
    value = loss(a, b)
    (grad,) = torch.autograd.grad(value, a)
    assert value.ndim == 0 and value.dtype == torch.float64 and value.isfinite()
    assert grad.isfinite().all() and grad.count_nonzero() > 0


@pytest.mark.parametrize("name", CASES)
def test_gradients(name):
    a, b = rows(1).requires_grad_(), rows(2).requires_grad_(name not in UNGUIDED)
    if "weighted" in name:  # its weights have no gradient, by the paper's default
        a, b = rows(1).requires_grad_(), rows(2)
        weight = far_positives(table(a, b).diagonal() * TAU)
        assert torch.autograd.gradcheck(
            lambda x: contrastive.decoupled(table(x, b), crossed(x), weight), (a,)
        )
    else:
        assert torch.autograd.gradcheck(CASES[name], (a, b))


@each
def test_the_order_of_samples_does_not_matter(loss):
    a, b = rows(1, 7), rows(2, 7)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    assert loss(a[order], b[order]).item() == pytest.approx(loss(a, b).item(), rel=1e-12)


@each
@pytest.mark.parametrize(
    "extreme",
    {
        "one sample": lambda x: x[:1],
        "identical samples": lambda x: x[:1].expand(5, -1).clone(),
        "zeros": torch.zeros_like,
        "huge": lambda x: 1e4 * x,
        "tiny": lambda x: 1e-12 * x,
    }.items(),
    ids=lambda item: item[0],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_extremes_stay_finite(loss, extreme, dtype):
    a, b = (extreme[1](rows(seed)).to(dtype).requires_grad_() for seed in (1, 2))
    value = loss(a, b)
    value.backward()
    assert value.isfinite() and value.dtype == torch.float32
    exact = [x.detach().double().requires_grad_() for x in (a, b)]
    loss(*exact).backward()
    for found, true in zip((a.grad, b.grad), (x.grad for x in exact), strict=True):
        if found is not None and true.abs().max() < torch.finfo(dtype).max:
            assert found.isfinite().all()


@each
def test_half_precision_is_summed_in_single(loss):
    a, b = rows(1, 64, 32, torch.float16), rows(2, 64, 32, torch.float16)
    found, exact = loss(a, b), loss(a.double(), b.double())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = loss(a.float(), b.float())
    assert found.item() == pytest.approx(exact.item(), rel=1e-4)
    assert cast.item() == pytest.approx(exact.item(), rel=1e-4)
