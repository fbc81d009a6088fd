"""More images want weaker crops, and where a poor generator made them, real ones that count for more."""

from __future__ import annotations

import torch

from counterpoint.claims._digits import asked
from counterpoint.claims._glyphs import ENCODER, SIDE, glyphs
from counterpoint.claims._trial import trained
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.core.data import Data
from counterpoint.core.rng import generator
from counterpoint.data.arrays import Arrays
from counterpoint.data.inflation import Inflated
from counterpoint.methods.image.adainf import AdaInf
from counterpoint.views.image import Crops

REAL, GENERATED, TIMES, STEPS, BATCH = 32, 640, 10, 600, 32
"""Real images, twenty times as many generated ones, what a real one counts for, updates of every arm."""
CROPS = {
    "weak": Crops(count=2, size=SIDE, flip=0.0, area=(0.5, 1.0), jittered=0.4, strength=0.25),
    "strong": Crops(count=2, size=SIDE, flip=0.0, area=(0.08, 1.0), jittered=0.8, strength=1.0),
}


def poor(real: Arrays, seed: int) -> Arrays:
    """What a poor generator makes of the real images: each mixed with one of its four nearest, and noise."""
    rng, x = generator(seed, "poor generator"), real.image
    apart = torch.cdist(x.flatten(1), x.flatten(1)).fill_diagonal_(torch.inf)
    first = torch.randint(len(x), (GENERATED,), generator=rng)
    near = apart.topk(4, largest=False).indices[first]
    second = near.gather(1, torch.randint(4, (GENERATED, 1), generator=rng))[:, 0]
    share = torch.rand(GENERATED, 1, 1, 1, generator=rng)
    noise = 0.05 * torch.randn(GENERATED, *x.shape[1:], generator=rng)
    return Arrays(((1 - share) * x[first] + share * x[second] + noise).clamp(0, 1))


def arms(seed: int) -> Arms:
    """Weak or strong crops of the real images alone and inflated by a perfect or a poor generator."""
    whole, test = glyphs("train"), glyphs("test")
    order = torch.randperm(len(whole), generator=generator(seed, "real"))
    real, perfect = whole.subset(order[:REAL]), whole.subset(order[REAL : REAL + GENERATED])
    sets: dict[str, Data] = {"real alone": real}
    for name, made in (("perfect", perfect), ("poor", poor(real, seed))):
        sets |= {f"{name}, {times}:1": Inflated(real, made, times) for times in (1, TIMES)}
    found = {"untrained": _judged("weak", real, seed, 0, whole, test)}
    for crops in CROPS:
        found |= {f"{name}, {crops}": _judged(crops, data, seed, STEPS, whole, test)
                  for name, data in sets.items()}  # fmt: skip
    gains = {
        f"gain of weak over strong, {name}": {
            metric: found[f"{name}, weak"][metric] - found[f"{name}, strong"][metric]
            for metric in ("few", "knn")
        }
        for name in sets
    }
    return found | gains


def _judged(crops: str, data: Data, seed: int, steps: int, train: Arrays, test: Arrays) -> dict[str, float]:
    config = AdaInf.Config(encoder=ENCODER, hidden=64, dim=32, views=CROPS[crops])
    method, _ = trained(config, seed, data, steps=steps, batch=BATCH)
    return dict(asked(method.network, train, test, seed))


CLAIM = Claim(
    paper=Paper(
        authors="Wang, Zhang, Wang",
        title="Do Generated Data Always Help Contrastive Learning?",
        venue="ICLR",
        year=2024,
        arxiv="2403.12448",
        where="section 3 (mixing, augmentation strength) and table of linear accuracy by inflation",
    ),
    says="Weak crops gain more over strong ones where a perfect generator inflates the data; with a poor "
    "generator, weak crops and real images that count ten times need fewer labels than plain inflation, and "
    "than the same crops without inflation.",
    arms=arms,
    expect=(
        Expect(
            arm="gain of weak over strong, perfect, 1:1",
            than="gain of weak over strong, real alone",
            metric="few",
        ),
        Expect(arm="poor, 10:1, weak", than="poor, 1:1, strong", metric="few"),
        Expect(arm="poor, 10:1, weak", than="poor, 1:1, weak", metric="few"),
        Expect(arm="poor, 10:1, weak", than="real alone, weak", metric="few"),
    ),
    differs="Drawn characters of 64 classes at 16 pixels: 32 real images and 640 generated ones, a small "
    "network, 600 steps of 32 with Adam whatever the data. The perfect generator draws as the real images "
    "were drawn, the poor one mixes neighbors and adds noise. Weak crops show half of a character at least, "
    "since a fifth of one says little; judged by nearest neighbors and by a ridge probe on 5 labels per "
    "class, mean of 10 draws, from real drawings alone.",
)
