"""SAM: the gradient of the worst place nearby leads to flat minima, which serve new samples better.

Foret, Kleiner, Mobahi, Neyshabur. Sharpness-Aware Minimization for Efficiently Improving Generalization. ICLR
2021. arXiv:2010.01412.
"""

from __future__ import annotations

from dataclasses import replace

from counterpoint.claims._large import DIFFERS, SGD, Recipe, parts, trained, tuned
from counterpoint.core.claim import Arms, Claim, Expect, Paper

BATCH, RADII = 64, (0.05, 0.1, 0.2)
"""Rows of a batch; radii that are tried."""


def arms(seed: int) -> Arms:
    """SAM, also at SGD's rate; SGD for as many updates, and for twice as many, which take the same time."""
    data = parts(seed)
    sgd = Recipe(optim=replace(SGD, lr=0.1), batch=BATCH)
    sam = [replace(sgd, optim=replace(sgd.optim, sam=radius)) for radius in RADII]
    found = {
        "sam": tuned(seed, data, *sam),
        "sgd": tuned(seed, data, sgd),
        "sgd, twice the updates": tuned(seed, data, replace(sgd, updates=2 * sgd.length)),
    }
    alike = replace(sam[0], optim=replace(sam[0].optim, lr=found["sgd"].rate))
    found["sam, rate of sgd"] = trained(alike, seed, data)
    return {name: one.numbers() for name, one in found.items()}


CLAIM = Claim(
    paper=Paper(
        authors="Foret, Kleiner, Mobahi, Neyshabur",
        title="Sharpness-Aware Minimization for Efficiently Improving Generalization",
        venue="ICLR",
        year=2021,
        arxiv="2010.01412",
        where="Table 1 and section 4, sharpness",
    ),
    says="At the same rate SAM ends where the Hessian's largest eigenvalue is smaller, and at its own it is "
    "more accurate than SGD, for twice as many updates too.",
    arms=arms,
    expect=(
        Expect(arm="sam, rate of sgd", than="sgd", metric="sharpness", better="lower"),
        Expect(arm="sam", than="sgd", metric="accuracy"),
        Expect(arm="sam", than="sgd, twice the updates", metric="accuracy"),
    ),
    differs=DIFFERS + " Batches of 64; of three radii the best on the second 512. The Hessian is that of the "
    "loss on what was trained on, the norms' statistics being fixed.",
)
