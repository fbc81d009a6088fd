"""Our losses beside those of lightly and solo-learn on the same embeddings: values and gradients.

    PYTHONPATH=src .venv-parity/bin/python benchmarks/parity/formulas.py [--write]

Training tells much and proves little; a formula is equal or it is not. Each loss is computed in double
precision on random embeddings; where conventions differ, a note says how one was turned into the other.
"""
# ruff: noqa: E402 -- torchvision must be let in before what imports it

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import contract
import torch
from sides import torchvision_without_operators
from torch import Tensor
from torch.nn.functional import normalize

torchvision_without_operators()
from lightly import loss as lightly
from solo import losses as solo
from solo.utils.sinkhorn_knopp import SinkhornKnopp

from counterpoint.core.rng import generator
from counterpoint.objectives.assignment import centered_cross_entropy, sinkhorn, swapped
from counterpoint.objectives.contrastive import cosine_logits, decoupled, info_nce, sup_con
from counterpoint.objectives.reconstruction import masked_mse, patches
from counterpoint.objectives.redundancy import barlow, vicreg
from counterpoint.objectives.regression import cosine_regression, negative_cosine
from counterpoint.pairs.ids import same_sample
from counterpoint.pairs.labels import same_class

Loss = Callable[[Tensor, Tensor], Tensor]
Case = tuple[str, str, Loss, Loss, str]
COUNT, DIM = 32, 16
IDS, LABELS = torch.arange(COUNT), torch.arange(COUNT) % 5


def cases() -> Iterator[Case]:
    """(loss, peer, ours, theirs, note)."""
    t = 0.2
    twice, classes = same_sample(IDS.repeat(2)), same_class(LABELS.repeat(2))
    once = same_sample(IDS, IDS)

    def all_views(a: Tensor, b: Tensor) -> Tensor:
        z = torch.cat((a, b))
        return cosine_logits(z, z, t)

    def family(a: Tensor, b: Tensor) -> Tensor:
        return info_nce(all_views(a, b), twice)

    yield "NT-Xent (SimCLR)", "lightly", family, lightly.NTXentLoss(t), ""
    yield "NT-Xent (SimCLR)", "solo-learn", family, _indexed(IDS, t), ""
    yield "DCL", "lightly", lambda a, b: decoupled(all_views(a, b), twice), lightly.DCLLoss(t), ""
    yield (
        "SupCon, in", "solo-learn",
        lambda a, b: sup_con(all_views(a, b), classes, "in") - classes.positive.sum(1).double().log().mean(),
        _indexed(LABELS, t), "less the mean logarithm of the number of positives, a constant",
    )  # fmt: skip
    yield (
        "MoCo v3", "solo-learn", lambda a, b: 2 * t * info_nce(cosine_logits(a, b.detach(), t), once),
        lambda a, b: solo.mocov3_loss_func(a, b.detach(), t), "",
    )  # fmt: skip
    yield (
        "NNCLR", "solo-learn", lambda a, b: info_nce(cosine_logits(b.detach(), a, t), once),
        lambda a, b: solo.nnclr_loss_func(b.detach(), a, t), "",
    )  # fmt: skip
    cosine = lightly.NegativeCosineSimilarity()
    yield "SimSiam", "lightly", _stopped(negative_cosine), _stopped(cosine), ""
    yield "SimSiam", "solo-learn", _stopped(negative_cosine), solo.simsiam_loss_func, ""
    yield "BYOL", "solo-learn", _stopped(cosine_regression), solo.byol_loss_func, ""
    yield "Barlow Twins", "lightly", barlow, lightly.BarlowTwinsLoss(0.0051), ""
    yield "Barlow Twins", "solo-learn", barlow, _barlow, ""
    yield "VICReg", "lightly", _vicreg(25), lightly.VICRegLoss(), ""
    yield (
        "VICReg", "solo-learn", _vicreg(50), solo.vicreg_loss_func,
        "with twice the weight of the variance: solo-learn sums where the authors' code takes a mean",
    )  # fmt: skip
    yield "SwAV", "lightly", _swav, lambda a, b: lightly.SwaVLoss(t)([*_scores(a, b)], []).squeeze(), ""
    yield "SwAV", "solo-learn", _swav, _solo_swav, ""
    yield "DINO", "lightly", _dino, _lightly_dino, ""
    yield "MAE, standardized", "solo-learn", _mae, _solo_mae, ""


def _stopped(loss: Loss) -> Loss:
    """No gradient to the target, as every method has it."""
    return lambda a, b: loss(a, b.detach())


def _indexed(index: Tensor, temperature: float) -> Loss:
    """solo-learn has one function for SimCLR and for SupCon."""
    return lambda a, b: solo.simclr_loss_func(torch.cat((a, b)), index.repeat(2), temperature)


def _barlow(a: Tensor, b: Tensor) -> Tensor:
    # Its normalization is made anew in every call, in the default precision.
    torch.set_default_dtype(torch.float64)
    try:
        return solo.barlow_loss_func(a, b, lamb=0.0051, scale_loss=1.0)
    finally:
        torch.set_default_dtype(torch.float32)


def _vicreg(variance: float) -> Loss:
    weights = {"invariance": 25.0, "variance": variance, "covariance": 1.0}
    return lambda a, b: sum((weights[k] * v for k, v in vicreg(a, b).items()), start=torch.zeros(()))


def _scores(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    return normalize(a, dim=1), normalize(b, dim=1)


def _swav(a: Tensor, b: Tensor) -> Tensor:
    a, b = _scores(a, b)
    return (swapped(a, sinkhorn(b), 0.2) + swapped(b, sinkhorn(a), 0.2)) / 2


def _solo_swav(a: Tensor, b: Tensor) -> Tensor:
    scores, codes = _scores(a, b), SinkhornKnopp(3, 0.05, 1)
    return solo.swav_loss_func([*scores], [codes(s.detach()) for s in scores], 0.2)


def _dino(a: Tensor, b: Tensor) -> Tensor:
    center = torch.zeros(DIM, dtype=a.dtype)
    a, b = _scores(a, b)
    return (centered_cross_entropy(a, b, center) + centered_cross_entropy(b, a, center)) / 2


def _lightly_dino(a: Tensor, b: Tensor) -> Tensor:
    a, b = _scores(a, b)
    return lightly.DINOLoss(DIM).double()([a.detach(), b.detach()], [a, b], teacher_temp=0.04)


def _mae(a: Tensor, b: Tensor) -> Tensor:
    made, images, mask = _pictures(a, b)
    return masked_mse(made, patches(images, 4), mask, standardize=True)


def _solo_mae(a: Tensor, b: Tensor) -> Tensor:
    made, images, mask = _pictures(a, b)
    side = 4  # ours keeps the channels of a patch first, theirs last
    made = made.unflatten(2, (3, side * side)).transpose(2, 3).flatten(2)
    return solo.mae_loss_func(images, made, mask.to(made), side, norm_pix_loss=True)


def _pictures(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(2, 4, 48) made patches of 3·4·4 from ``a``, (2, 3, 8, 8) images from ``b``, which are hidden."""
    made = torch.cat((a, a * a)).flatten()[: 2 * 4 * 48].reshape(2, 4, 48)
    images = b.detach().flatten()[: 2 * 3 * 64].reshape(2, 3, 8, 8)
    return made, images, torch.tensor([[1, 0, 1, 1], [0, 1, 1, 0]], dtype=torch.bool)


def compared(ours: Loss, theirs: Loss) -> tuple[float, float]:
    """Relative difference of the values and, in norm, of the gradients."""
    found = []
    for loss in (ours, theirs):
        rng = generator(0, "formulas")
        a, b = (torch.randn(COUNT, DIM, generator=rng, dtype=torch.float64).requires_grad_() for _ in "ab")
        value = loss(a, b)
        value.backward()
        grads = [torch.zeros_like(x) if x.grad is None else x.grad for x in (a, b)]
        found.append((value.detach(), torch.cat(grads)))
    (v, g), (w, h) = found
    return abs(float(v - w) / float(w)), float((g - h).norm() / h.norm())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", action="store_true", help="keep it in results/formulas.json")
    args = parser.parse_args()
    rows = []
    for name, peer, ours, theirs, note in cases():
        value, gradient = (contract.significant(v, 2) for v in compared(ours, theirs))
        rows.append({"loss": name, "peer": peer, "value": value, "gradient": gradient, "note": note})
        print(f"{name:20} {peer:11} value {value:8.1e} gradient {gradient:8.1e}  {note}")
    if args.write:
        about = "Relative differences of our losses and their gradients from the peers', double precision."
        folder = Path(__file__).parent / "results"
        contract.write("formulas", about, rows, {"rows": COUNT, "dim": DIM}, [0], 0, folder)


if __name__ == "__main__":
    main()
