"""LARS: each layer's step in proportion to its weights, so that training survives large batches.

You, Gitman, Ginsburg. Large Batch Training of Convolutional Networks. 2017. arXiv:1708.03888.
"""

from __future__ import annotations

from dataclasses import replace

from counterpoint.claims._large import DIFFERS, LARGE, SGD, SMALL, WARMUPS, Recipe, parts, tuned
from counterpoint.core.claim import Arms, Claim, Expect, Paper


def arms(seed: int) -> Arms:
    """LARS and SGD with the large batch, after as many trials, and SGD with the small one."""
    data = parts(seed)
    lars, sgd = [], []
    for warmup in WARMUPS:
        lars += [replace(SGD, name="lars", lr=1.0, warmup=warmup, trust=t) for t in (0.05, 0.1, 0.2)]
        sgd += [replace(SGD, lr=0.8, warmup=warmup, momentum=m) for m in (0.8, 0.9, 0.95)]
    found = {f"{SMALL}, sgd": tuned(seed, data, Recipe())}
    for name, configs in (("lars", lars), ("sgd", sgd)):
        recipes = [Recipe(optim=config, batch=LARGE) for config in configs]
        found[f"{LARGE}, {name}"] = tuned(seed, data, *recipes)
    return {name: one.numbers() for name, one in found.items()}


CLAIM = Claim(
    paper=Paper(
        authors="You, Gitman, Ginsburg",
        title="Large Batch Training of Convolutional Networks",
        venue="arXiv",
        year=2017,
        arxiv="1708.03888",
        where="section 6, experiments",
    ),
    says="Where the largest batch costs SGD accuracy, LARS loses less, in as many epochs.",
    arms=arms,
    expect=(
        Expect(arm=f"{SMALL}, sgd", than=f"{LARGE}, sgd", metric="accuracy"),
        Expect(arm=f"{LARGE}, lars", than=f"{LARGE}, sgd", metric="accuracy"),
    ),
    differs=DIFFERS + " With the largest batch three warm-ups are tried for both, and three momenta of SGD, "
    "three coefficients of LARS.",
)
