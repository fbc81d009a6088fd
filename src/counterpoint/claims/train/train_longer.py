"""Train longer: large batches lose little where they are given as many updates as small ones.

Hoffer, Hubara, Soudry. Train longer, generalize better: closing the generalization gap in large batch
training of neural networks. NeurIPS 2017. arXiv:1705.08741.
"""

from __future__ import annotations

from dataclasses import replace

from counterpoint.claims._large import DIFFERS, LARGE, SGD, SMALL, Recipe, parts, tuned
from counterpoint.core.claim import Arms, Claim, Expect, Paper

GHOST = 64
"""Rows that a batch normalization sees at a time."""


def arms(seed: int) -> Arms:
    """The small batch; the large one for as many epochs, with ghost norms, for as many updates."""
    data = parts(seed)
    small, large = Recipe(), Recipe(optim=replace(SGD, lr=0.8), batch=LARGE)
    longer = replace(large, updates=small.length, optim=replace(SGD, lr=0.2))
    recipes = {
        f"{SMALL}": small,
        f"{LARGE}": large,
        f"{LARGE}, ghost norms": replace(large, ghost=GHOST),
        f"{LARGE}, as many updates": longer,
    }
    found = {name: tuned(seed, data, recipe).numbers() for name, recipe in recipes.items()}
    ends = found[f"{SMALL}"], found[f"{LARGE}"]
    found["half of the gap"] = {"accuracy": sum(end["accuracy"] for end in ends) / 2}
    return found


CLAIM = Claim(
    paper=Paper(
        authors="Hoffer, Hubara, Soudry",
        title="Train longer, generalize better: closing the generalization gap in large batch training of "
        "neural networks",
        venue="NeurIPS",
        year=2017,
        arxiv="1705.08741",
        where="Table 1",
    ),
    says="A batch thirty-two times as large loses accuracy in as many epochs, and more than half of that "
    "comes back with as many updates, more than with norms that see 64 rows at a time.",
    arms=arms,
    expect=(
        Expect(arm=f"{SMALL}", than=f"{LARGE}", metric="accuracy", margin=0.01),
        Expect(arm=f"{LARGE}, as many updates", than="half of the gap", metric="accuracy"),
        Expect(arm=f"{LARGE}, as many updates", than=f"{LARGE}, ghost norms", metric="accuracy"),
    ),
    differs=DIFFERS,
)
