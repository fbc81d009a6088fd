"""Other images are useful positives, by pseudo-labels kept online, half-hard negatives, a loose boundary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from counterpoint.claims._digits import ENCODER, SIDE, asked
from counterpoint.claims._trial import trained
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.core.rng import generator
from counterpoint.data.arrays import Arrays
from counterpoint.data.digits import digits
from counterpoint.memories.clusters import Clusters
from counterpoint.methods.image.interclr import InterCLR
from counterpoint.methods.image.moco import MoCo
from counterpoint.metrics.clustering import nmi
from counterpoint.pairs.drawn import drawn
from counterpoint.pairs.labels import same_class
from counterpoint.views.presets import MoCoCrops

STEPS = 330


def arms(seed: int) -> Arms:
    """InterCLR and, one at a time, other margins, other negatives, offline labels, true ones; MoCo."""
    data, test = digits("train", size=SIDE), digits("test", size=SIDE)
    alike = {
        "encoder": ENCODER, "hidden": 64, "dim": 32, "momentum": 0.99, "queue": 512,
        "views": MoCoCrops(size=SIDE, flip=0.0),
    }  # fmt: skip
    inter = InterCLR.Config(prototypes=50, least=5, pool=144, negatives=64, start=2, **alike)
    configs = {
        "interclr": inter,
        "margin 0": replace(inter, margin=0.0),
        "margin 0.25": replace(inter, margin=0.25),
        "hard negatives": replace(inter, sampling="hard"),
        "random negatives": replace(inter, sampling="random"),
        "offline labels": replace(inter, labels="offline"),
        "true labels": replace(inter, labels="oracle"),
    }
    found: dict[str, Mapping[str, float]] = {}
    for arm, config in configs.items():
        method, _ = trained(config, seed, data, steps=STEPS)
        of_bank = bank(method.get_submodule("clusters"), config, data, seed)
        found[arm] = {**asked(method.network, data, test, seed), **of_bank}
    for arm, steps in {"moco": STEPS, "untrained": 0}.items():
        method, _ = trained(MoCo.Config(**alike), seed, data, steps=steps)
        found[arm] = asked(method.network, data, test, seed)
    return found


def bank(clusters: torch.nn.Module, config: InterCLR.Config, data: Arrays, seed: int) -> dict[str, float]:
    """At the end: "nmi" of pseudo-labels and classes, and "same", the share of false negatives.

    These are rows of a remembered image's own class that are drawn as its negatives.
    """
    assert isinstance(clusters, Clusters) and data.label is not None
    rows, label = clusters.read(), clusters.label
    truth = data.label[: len(rows)]
    other = same_class(label, label).negative
    rng = generator(seed, "negatives")
    taken = drawn(rows @ rows.T, other, config.sampling, config.pool, config.negatives, rng)
    same = (taken & (truth[:, None] == truth[None, :])).sum() / taken.sum()
    return {"nmi": nmi(label.numpy(), truth.numpy()), "same": float(same)}


CLAIM = Claim(
    paper=Paper(
        authors="Xie, Zhan, Liu, Ong, Loy",
        title="Delving into Inter-Image Invariance for Unsupervised Visual Representations",
        venue="IJCV",
        year=2022,
        arxiv="2008.11702",
        where="section 4: pseudo-label maintenance, sampling strategy, decision boundary",
    ),
    says="Other images of a pseudo-label are useful positives; labels kept online are better than offline "
    "ones, semi-hard negatives are less often false and serve better than hard ones, and a margin below 0 is "
    "better than none or one above.",
    arms=arms,
    expect=(
        Expect(arm="interclr", than="moco", metric="few"),
        Expect(arm="interclr", than="offline labels", metric="few"),
        Expect(arm="interclr", than="offline labels", metric="nmi"),
        Expect(arm="interclr", than="hard negatives", metric="same", better="lower"),
        Expect(arm="interclr", than="hard negatives", metric="few"),
        Expect(arm="interclr", than="margin 0", metric="few"),
        Expect(arm="interclr", than="margin 0.25", metric="few"),
    ),
    differs=f"Digits of scikit-learn at 16 pixels, a small network, {STEPS} steps of 64 with Adam; judged by "
    "nearest neighbors and by a ridge probe on 5 labels per class, mean of 10 draws. 50 clusters of at least "
    "5, a queue of 512 keys, a teacher of momentum 0.99; 64 negatives between images, of the hardest tenth; "
    "two epochs of MoCo before. Pseudo-labels and negatives are judged at the end; the arm with true labels "
    "shows what the best labels could give.",
)
