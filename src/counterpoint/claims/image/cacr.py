"""Weights within positives and within negatives make attraction and repulsion learn, most on long tails."""

from __future__ import annotations

from dataclasses import replace

import torch

from counterpoint.claims._digits import asked
from counterpoint.claims._glyphs import CLASSES, DIFFERS, ENCODER, SIDE, glyphs
from counterpoint.claims._trial import trained
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.core.method import MethodConfig
from counterpoint.data.arrays import Arrays
from counterpoint.methods.image.cacr import CACR
from counterpoint.methods.image.multi_view_cl import MultiViewCL
from counterpoint.views.presets import CACRCrops

STEPS, TAIL = 300, 12
"""Updates of every arm; how many times more there is of the first class than of the last."""


def long_tailed(data: Arrays) -> Arrays:
    """Of class c of C the first share ``TAIL^(−c/(C−1))`` of its samples, at least one."""
    label = data.label
    assert label is not None
    rank = torch.stack([(label == c).cumsum(0) for c in range(CLASSES)])[label, torch.arange(len(label))]
    share = TAIL ** (-label / (CLASSES - 1))
    return data.subset((rank <= (share * label.bincount()[label]).round().clamp(min=1)).nonzero()[:, 0])


def arms(seed: int) -> Arms:
    """CACR, without its weights, with either of them, and NT-Xent of all pairs of views, on both sets."""
    views = CACRCrops(size=SIDE, flip=0.0)
    cacr = CACR.Config(encoder=ENCODER, hidden=64, dim=32, views=views)
    pairs = MultiViewCL.Config(
        encoder=ENCODER, hidden=64, dim=32, form="pairwise",
        views=views,  # pyright: ignore[reportArgumentType] -- the same crops for all
    )  # fmt: skip
    uniform = replace(cacr, attraction=0.0, repulsion=0.0)
    balanced, test = glyphs("train"), glyphs("test")
    tailed = long_tailed(balanced)

    def judged(config: MethodConfig, data: Arrays) -> dict[str, float]:
        method, _ = trained(config, seed, data, steps=STEPS)
        return dict(asked(method.network, balanced, test, seed))

    found = {
        "cacr, balanced": judged(cacr, balanced),
        "uniform weights, balanced": judged(uniform, balanced),
        "nt-xent, balanced": judged(pairs, balanced),
        "cacr, long-tailed": judged(cacr, tailed),
        "uniform weights, long-tailed": judged(uniform, tailed),
        "nt-xent, long-tailed": judged(pairs, tailed),
        "positives alike, long-tailed": judged(replace(cacr, attraction=0.0), tailed),
        "negatives alike, long-tailed": judged(replace(cacr, repulsion=0.0), tailed),
    }
    gains = {
        f"gain over nt-xent, {data}": {
            metric: found[f"cacr, {data}"][metric] - found[f"nt-xent, {data}"][metric]
            for metric in ("few", "knn")
        }
        for data in ("balanced", "long-tailed")
    }
    return found | gains


CLAIM = Claim(
    paper=Paper(
        authors="Zheng, Chen, Yao, Yang, Li, Zhang, Zhang, Tsang, Zhou, Zhou",
        title="Contrastive Attraction and Contrastive Repulsion for Representation Learning",
        venue="TMLR",
        year=2023,
        arxiv="2105.03746",
        where="section 4, ablation of the weights and imbalanced data",
    ),
    says="With its weights CACR needs fewer labels than without, and than NT-Xent where classes are of "
    "unlike sizes, by more than where they are alike.",
    arms=arms,
    expect=(
        Expect(arm="cacr, balanced", than="uniform weights, balanced", metric="few"),
        Expect(arm="cacr, long-tailed", than="uniform weights, long-tailed", metric="few"),
        Expect(arm="cacr, long-tailed", than="nt-xent, long-tailed", metric="few"),
        Expect(arm="gain over nt-xent, long-tailed", than="gain over nt-xent, balanced", metric="few"),
    ),
    differs=DIFFERS.format(steps=STEPS) + " The long tail has 24 to 2 of a class; features are judged on "
    "balanced classes. Five views in all arms; NT-Xent at temperature 0.5.",
)
