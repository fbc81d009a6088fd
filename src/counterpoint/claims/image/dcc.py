"""Gradients of all classes together keep what tells them apart, where class by class shared content rules."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.core.rng import generator, seed_all
from counterpoint.data.arrays import Arrays
from counterpoint.data.digits import digits
from counterpoint.metrics.classes import accuracy
from counterpoint.procedures.image.dcc import DCC, classifier, teach

SIDE, CLASSES, PATTERNS, LOUD, NETWORKS = 8, (1, 7, 3, 8, 4, 9), 5, 2.0, 3
"""Pixels; digits that look alike, in pairs; patterns that all classes share; how much louder than a digit
each of these may be; networks that judge."""
WIDTH, DEPTH = 32, 2
"""Of all networks: channels and blocks."""


def shared(part: str, loud: float) -> Arrays:
    """Digits, each under a mixture of patterns that says nothing of it."""
    whole = digits(part, size=SIDE)
    label = whole.label
    assert label is not None
    rows = torch.cat([(label == c).nonzero()[:, 0] for c in CLASSES])
    number = torch.tensor([CLASSES.index(c) for c in label[rows].tolist()])
    pattern = torch.rand(PATTERNS, SIDE * SIDE, generator=generator(0, "patterns"))
    mixture = torch.rand(len(rows), PATTERNS, generator=generator(0, "mixtures", part))
    image = whole.image[rows] + loud * (mixture @ pattern).view(-1, 1, SIDE, SIDE)
    return Arrays(image / (1 + loud * PATTERNS), number)


def judged(made: tuple[Tensor, Tensor], train: Arrays, test: Arrays, seed: int) -> dict[str, float]:
    """Accuracy on ``test`` of networks taught by the made images alone; of one by them cut off to [0, 1]."""
    std, mean = torch.std_mean(train.image, correction=0)
    found = {}
    for name, image in (("accuracy", made[0]), ("cut off", made[0].clamp(0, 1))):
        right = []
        for n in range(NETWORKS if name == "accuracy" else 1):
            with torch.random.fork_rng(devices=[]):
                seed_all(seed, "judge", n)
                network = classifier((1, SIDE, SIDE), len(CLASSES), WIDTH, DEPTH)
            x, rng = (image - mean) / std, generator(seed, "judge", n)
            teach(network, x, made[1], 100, 0.02, rng, momentum=0.9, decay=5e-4)
            with torch.no_grad():
                predicted = network((test.image - mean) / std).argmax(1)
            assert test.label is not None
            right.append(accuracy(predicted, test.label))
        found[name] = sum(right) / len(right)
    return found


def arms(seed: int) -> Arms:
    """Condensed together or class by class, as long or longer; images drawn, and means of classes."""
    dcc = DCC.Config(
        outer=40,
        inner=5,
        epochs=5,
        warmup_outer=10,
        warmup_inner=5,
        real=32,
        seed=seed,
        width=WIDTH,
        depth=DEPTH,
    )
    dc = replace(dcc, collective=False)
    found: dict[str, dict[str, float]] = {}
    for words, loud in (("shared", LOUD), ("plain", 0.0)):
        train, test = shared("train", loud), shared("test", loud)
        asked = {"dcc": dcc, "dc": dc, "random": None}
        if words == "shared":
            asked |= {
                "dcc, no warm-up": replace(dcc, warmup_outer=0),
                "dc, 3 times the updates": replace(dc, outer=120),
            }
        for arm, config in asked.items():
            made = _drawn(train, seed) if config is None else DCC(config).condensed(train)
            found[f"{arm}, {words}"] = judged(made, train, test, seed)
        found[f"class means, {words}"] = judged(_means(train), train, test, seed)
        gain = found[f"dcc, {words}"]["accuracy"] - found[f"dc, {words}"]["accuracy"]
        found[f"gain of dcc over dc, {words}"] = {"accuracy": gain}
    return found


def _drawn(train: Arrays, seed: int) -> tuple[Tensor, Tensor]:
    """One image of each class, as DCC starts from others."""
    label = train.label
    assert label is not None
    rng = generator(seed, "drawn")
    rows = [(label == k).nonzero()[:, 0] for k in range(len(CLASSES))]
    some = torch.stack([of[torch.randint(len(of), (), generator=rng)] for of in rows])
    return train.image[some], label[some]


def _means(train: Arrays) -> tuple[Tensor, Tensor]:
    label = torch.arange(len(CLASSES))
    return torch.stack([train.image[train.label == k].mean(0) for k in label]), label


CLAIM = Claim(
    paper=Paper(
        authors="Lee, Chun, Jung, Yun, Yoon",
        title="Dataset Condensation with Contrastive Signals",
        venue="ICML",
        year=2022,
        arxiv="2202.02916",
        where="section 3 (class-irrelevant information) and tables of accuracy by images per class",
    ),
    says="Where all classes share loud content, one image a class condensed over all classes together "
    "teaches more than one condensed class by class, for three times as many updates too, than a mean and "
    "than a real one, and the gain is larger than without that content.",
    arms=arms,
    expect=(
        Expect(arm="dcc, shared", than="dc, shared", metric="accuracy"),
        Expect(arm="dcc, shared", than="dc, 3 times the updates, shared", metric="accuracy"),
        Expect(arm="dcc, shared", than="class means, shared", metric="accuracy"),
        Expect(arm="dcc, shared", than="random, shared", metric="accuracy"),
        Expect(arm="gain of dcc over dc, shared", than="gain of dcc over dc, plain", metric="accuracy"),
    ),
    differs="Six digits of scikit-learn that look alike in pairs, 8 pixels, with mixtures of five patterns "
    "laid over them, each up to twice as loud; networks of two blocks of 32 channels, 40 of them (the first "
    "10 of the warm-up) with 5 steps each, 32 real images of a class a step; three networks judge, each "
    "trained for 100 epochs on the made images alone.",
)
