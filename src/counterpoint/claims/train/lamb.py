"""LAMB: Adam with each layer's step in proportion to its weights, so that training survives large batches.

You, Li, Reddi, Hseu, Kumar, Bhojanapalli, Song, Demmel, Keutzer, Hsieh. Large Batch Optimization for Deep
Learning: Training BERT in 76 minutes. ICLR 2020. arXiv:1904.00962.
"""

from __future__ import annotations

from dataclasses import replace

from counterpoint.claims._large import DIFFERS, LARGE, SGD, WARMUPS, Recipe, parts, tuned
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.train.optim import OptimConfig

MEMORIES = (0.9, 0.99, 0.999)
"""Of the square of the gradient."""


def arms(seed: int) -> Arms:
    """LAMB, AdamW and SGD with the large batch, after as many trials."""
    data = parts(seed)
    configs: dict[str, list[OptimConfig]] = {"lamb": [], "adamw": [], "sgd": []}
    adamw, lamb = (replace(SGD, name=name, weight_decay=0.01) for name in ("adamw", "lamb"))
    for warmup in WARMUPS:
        for two in MEMORIES:
            configs["lamb"].append(replace(lamb, lr=0.15, warmup=warmup, betas=(0.9, two)))
            configs["adamw"].append(replace(adamw, lr=0.05, warmup=warmup, betas=(0.9, two)))
        configs["sgd"] += [replace(SGD, lr=0.8, warmup=warmup, momentum=m) for m in (0.8, 0.9, 0.95)]
    return {
        name: tuned(seed, data, *(Recipe(optim=config, batch=LARGE) for config in tried)).numbers()
        for name, tried in configs.items()
    }


CLAIM = Claim(
    paper=Paper(
        authors="You, Li, Reddi, Hseu, Kumar, Bhojanapalli, Song, Demmel, Keutzer, Hsieh",
        title="Large Batch Optimization for Deep Learning: Training BERT in 76 minutes",
        venue="ICLR",
        year=2020,
        arxiv="1904.00962",
        where="section 4, experiments",
    ),
    says="With the largest batch LAMB is more accurate than AdamW and than SGD, in as many epochs.",
    arms=arms,
    expect=(
        Expect(arm="lamb", than="adamw", metric="accuracy"),
        Expect(arm="lamb", than="sgd", metric="accuracy"),
    ),
    differs=DIFFERS + " All with batches of 512; three warm-ups are tried for each, and three momenta of "
    "SGD, three memories of the squared gradient of the others.",
)
