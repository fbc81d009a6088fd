"""Contrast on hard mixtures tunes a contrastively trained network better than cross entropy does."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from counterpoint.claims._glyphs import ENCODER, SIDE, glyphs
from counterpoint.claims._trial import trained
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.core.networks import save_networks
from counterpoint.core.rng import generator
from counterpoint.data.arrays import Arrays
from counterpoint.methods.image.core_tuning import CoreTuning
from counterpoint.methods.image.simclr import SimCLR
from counterpoint.tasks.features import evaluating
from counterpoint.views.presets import ManyCrops, SimCLRCrops

BEFORE, STEPS, BATCH = 400, 250, 96
"""Updates of the training without labels and of the tuning; images of a step of the tuning."""
CLASSES, LABELED, DRAWS = 32, 8, 2
"""Characters to be told apart, labels of each, and draws of these labels."""


def arms(seed: int) -> Arms:
    """Cross entropy, with contrast, with mixtures of either kind, all of it, and as released."""
    simclr = SimCLR.Config(
        encoder=ENCODER, hidden=64, dim=32, temperature=0.2, views=SimCLRCrops(size=SIDE, flip=0.0)
    )
    before, _ = trained(simclr, seed, glyphs("train"), steps=BEFORE)
    full = CoreTuning.Config(
        encoder=ENCODER, classes=CLASSES, hidden=64, dim=32,
        views=ManyCrops(count=1, size=SIDE, flip=0.0, area=(0.7, 1.0), strength=0.25),
    )  # fmt: skip
    asked = {
        "core-tuning": full,
        "core-tuning, weight 1": replace(full, contrast=1.0),
        "cross entropy": replace(full, contrast=0.0, mix="none"),
        "and contrast": replace(full, mix="none", focal=False),
        "and mixup": replace(full, contrast=0.0, mix="random"),
        "and hard mixtures": replace(full, contrast=0.0),
        "as released": replace(full, released=True),
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "networks.safetensors"
        save_networks(file, {"image": before.network("image")})  # pyright: ignore[reportArgumentType]
        found = {arm: tuned(replace(config, model=str(file)), seed) for arm, config in asked.items()}
    return found | {"core-tuning, from nothing": tuned(full, seed)}


def tuned(config: CoreTuning.Config, seed: int) -> Mapping[str, float]:
    """Test accuracy of the classifier and how classes scatter, mean over draws of the labels."""
    test, numbers = of_classes(glyphs("test")), []
    for draw in range(DRAWS):
        method, _ = trained(config, seed, labeled(seed, draw), steps=STEPS, batch=BATCH, lr=4e-3)
        with evaluating(method):
            features: Tensor = method.network("image")(test.image)
            right = method.get_submodule("classifier")(features).argmax(1) == test.label
        assert test.label is not None
        numbers.append((float(right.float().mean()), scatter(features, test.label)))
    return {name: fmean(n[i] for n in numbers) for i, name in enumerate(("accuracy", "scatter"))}


def scatter(features: Tensor, label: Tensor) -> float:
    """Share of the features' variance that is within classes, in [0, 1]."""
    means = torch.stack([features[label == c].mean(0) for c in range(CLASSES)])
    within = (features - means[label]).square().sum()
    return float(within / (features - features.mean(0)).square().sum())


def of_classes(data: Arrays) -> Arrays:
    """The first of all characters."""
    assert data.label is not None
    return data.subset((data.label < CLASSES).nonzero()[:, 0])


def labeled(seed: int, draw: int) -> Arrays:
    """So many of each of these characters, at random."""
    data, rng = of_classes(glyphs("train")), generator(seed, "labels", draw)
    order = torch.randperm(len(data), generator=rng)
    assert data.label is not None
    first = torch.cat([order[data.label[order] == c][:LABELED] for c in range(CLASSES)])
    return data.subset(first)


CLAIM = Claim(
    paper=Paper(
        authors="Zhang, Hooi, Hu, Liang, Feng",
        title="Unleashing the Power of Contrastive Self-Supervised Visual Models via Contrast-Regularized "
        "Fine-Tuning",
        venue="NeurIPS",
        year=2021,
        arxiv="2102.06605",
        where="comparison of fine-tuning methods, ablation of contrast and mixtures",
    ),
    says="A network trained by contrast tells more characters apart when tuned by all of Core-tuning than by "
    "cross entropy alone, with plain contrast, or with mixup of features, and its classes scatter less.",
    arms=arms,
    expect=(
        Expect(arm="core-tuning", than="cross entropy", metric="accuracy"),
        Expect(arm="core-tuning", than="and contrast", metric="accuracy"),
        Expect(arm="core-tuning", than="and mixup", metric="accuracy"),
        Expect(arm="core-tuning", than="cross entropy", metric="scatter", better="lower"),
    ),
    differs=f"Drawn characters at 16 pixels, a small network: {BEFORE} steps of SimCLR on 64 of them without "
    f"labels, then {STEPS} of {BATCH} on {LABELED} of each of {CLASSES}, with Adam; mean of {DRAWS} draws of "
    "the labels. The contrastive term weighs 0.1, where the paper searches 0.1, 1 and 10 for every set.",
)
