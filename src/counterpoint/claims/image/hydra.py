"""A gate makes arbitrary pairs of classes learnable, with features no worse than those of like pairs."""

from __future__ import annotations

from dataclasses import replace

import torch

from counterpoint.claims._digits import ENCODER, SIDE, asked, embedded
from counterpoint.claims._glyphs import CLASSES, glyphs
from counterpoint.claims._trial import trained
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.core.method import MethodConfig
from counterpoint.core.rng import generator
from counterpoint.data.arrays import Arrays
from counterpoint.data.digits import digits
from counterpoint.methods.image.core_tuning import CoreTuning
from counterpoint.methods.image.hydra import Hydra
from counterpoint.views.presets import ManyCrops

STEPS, BATCH = {"digits": 440, "characters": 360}, {"digits": 64, "characters": 128}
"""Updates of every arm, and how many images each."""


def arms(seed: int) -> Arms:
    """With and without gates on arbitrary, equal and distinct classes, wrong labels, and cross entropy."""
    views = ManyCrops(count=1, size=SIDE, flip=0.0, area=(0.7, 1.0), strength=0.25)
    hydra = Hydra.Config(encoder=ENCODER, hidden=64, dim=32, codes=64, views=views)
    entropy = CoreTuning.Config(encoder=ENCODER, contrast=0.0, mix="none", views=views)
    plain = {
        "hydra": hydra,
        "arbitrary, no gate": replace(hydra, gate="none"),
        "supcon": replace(hydra, gate="none", pairs="identical"),
        "cross entropy": entropy,
    }
    further = {
        "hydra, gated cosine": replace(hydra, gate="cosine"),
        "one class, gate": replace(hydra, pairs="identical"),
        "distinct, gate": replace(hydra, pairs="distinct"),
    }
    found: dict[str, dict[str, float]] = {}
    small = digits("train", size=SIDE), digits("test", size=SIDE)
    for arm, config in plain.items():
        found[f"{arm}, digits"] = judged(config, seed, *small, "digits")
    found["hydra, wrong labels, digits"] = judged(hydra, seed, shuffled(small[0], seed), small[1], "digits")
    found["untrained, digits"] = judged(hydra, seed, *small, "")
    many = glyphs("train"), glyphs("test")
    for arm, config in (plain | further).items():
        of_many = replace(config, classes=CLASSES)  # pyright: ignore[reportCallIssue] -- all of them have it
        found[f"{arm}, characters"] = judged(of_many, seed, *many, "characters")
    found["untrained, characters"] = judged(hydra, seed, *many, "")
    return found


def judged(config: MethodConfig, seed: int, train: Arrays, test: Arrays, kind: str) -> dict[str, float]:
    """Train (not at all without a kind), ask frozen features by true labels; the gates' last notes beside."""
    method, log = trained(config, seed, train, steps=STEPS.get(kind, 0), batch=BATCH.get(kind, 64))
    known = digits("train", size=SIDE) if kind == "digits" else train
    numbers = asked(method.network, known, test, seed) | embedded(method, test)
    return numbers | (log[-1]["notes"] if log else {})


def shuffled(data: Arrays, seed: int) -> Arrays:
    """The same images, each with the label of another."""
    assert data.label is not None
    order = torch.randperm(len(data), generator=generator(seed, "wrong labels"))
    return Arrays(data.image, data.label[order], data.classes, name="digits")


CLAIM = Claim(
    paper=Paper(
        authors="Wu, Atito, Feng, Mo, Kittler, Awais",
        title="Rethinking Positive Pairs in Contrastive Learning",
        venue="arXiv",
        year=2024,
        arxiv="2410.18200",
        where="CIFAR-10 and ImageNet-1K, arbitrary pairs with and without the gate",
    ),
    says="Arbitrary pairs of classes spoil features without a gate and not with one: these then need fewer "
    "labels than SupCon's, and the embedding fills more dimensions.",
    arms=arms,
    expect=(
        Expect(arm="hydra, digits", than="arbitrary, no gate, digits", metric="few", margin=0.02),
        Expect(arm="hydra, characters", than="arbitrary, no gate, characters", metric="few", margin=0.02),
        Expect(arm="hydra, digits", than="hydra, wrong labels, digits", metric="few", margin=0.05),
        Expect(arm="hydra, digits", than="supcon, digits", metric="few"),
        Expect(arm="hydra, characters", than="supcon, characters", metric="few"),
        Expect(arm="hydra, digits", than="supcon, digits", metric="embedding_rank"),
    ),
    differs="Digits of scikit-learn and drawn characters of 64 classes at 16 pixels, a small network, "
    f"{STEPS['digits']} steps of {BATCH['digits']} and {STEPS['characters']} of {BATCH['characters']} with "
    "Adam, one crop an image; judged by nearest neighbors and by a ridge probe on 5 labels per class, mean "
    "of 10 draws. SupCon is of one crop as well.",
)
