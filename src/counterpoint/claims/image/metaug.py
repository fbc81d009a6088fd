"""Generators that learn through the encoders' step make harder features, and encoders learn from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from counterpoint.claims._digits import asked
from counterpoint.claims._glyphs import DIFFERS, SIDE, glyphs, pixels
from counterpoint.claims._trial import trained
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.encoders.convnet import ConvNet
from counterpoint.methods.image.metaug import MetAug
from counterpoint.views.presets import PlainCrop

STEPS, LAST = 140, 20
"""Updates of every arm; of how many at the end the notes are averaged."""


def arms(seed: int) -> Arms:
    """All pairs in one loss, made features with more and more of the idea, noise; a softmax for each pair."""
    data, test = glyphs("train"), glyphs("test")
    unified = MetAug.Config(
        encoder=ConvNet.Config(channels=1, width=8), hidden=64, dim=32, negatives=64, split="bands", made=0.0,
        regular=0.0, views=PlainCrop(size=SIDE, flip=0.0),
    )  # fmt: skip
    meta = replace(unified, made=0.1)

    def judged(config: MetAug.Config, steps: int = STEPS) -> dict[str, float]:
        method, log = trained(config, seed, data, steps=steps)
        return {**asked(method.network, data, test, seed), **notes(log)}

    found = {
        "softmax of each pair": judged(replace(unified, temperature=0.07)),
        "all pairs": judged(unified),
        "made, no meta step": judged(replace(meta, inner=0.0)),
        "made": judged(meta),
        "made, long step": judged(replace(meta, inner=0.1)),
        "made, margins": judged(replace(meta, regular=1.0)),
    }
    near = max(found["made, margins"]["cosine"], 0.1)
    noise = ((1 / near**2 - 1) / unified.dim) ** 0.5  # by which features come as near to where they were
    found["noise"] = judged(replace(meta, noise=noise))
    return found | {"untrained": judged(unified, 0), "pixels": pixels(seed)}


def notes(log: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Of the encoders' turn, mean over the last updates."""
    last = [line.get("encoders", line)["notes"] for line in log[-LAST:]]
    return {name: fmean(line[name] for line in last) for name in (last[0] if last else ())}


CLAIM = Claim(
    paper=Paper(
        authors="Li, Qiang, Zheng, Su, Xiong",
        title="MetAug: Contrastive Learning via Meta Feature Augmentation",
        venue="ICML",
        year=2022,
        arxiv="2203.05119",
        where="abstract; sections on meta feature augmentation, margin-injected regularization, unified loss",
    ),
    says="All pairs in one loss need fewer labels than a softmax for each pair; made features, with margins "
    "and the meta step, fewer still than none, than noise, and than generators without the meta step; the "
    "margins make features harder and keep them apart.",
    arms=arms,
    expect=(
        Expect(arm="all pairs", than="softmax of each pair", metric="few"),
        Expect(arm="made, margins", than="all pairs", metric="few"),
        Expect(arm="made, margins", than="noise", metric="few"),
        Expect(arm="made, margins", than="made, no meta step", metric="few"),
        Expect(arm="made, margins", than="made", metric="hardness"),
        Expect(arm="made, margins", than="made, no meta step", metric="spread"),
    ),
    differs=DIFFERS.format(steps=STEPS)
    + " Coarse and fine parts and the whole stand in place of light, color and the whole; a network half as "
    "wide for each, 64 negatives. Made features weigh 0.1 and margins 1: with the released weights, 1e-5 and "
    "1e-11, their gradient is a thousandth of the rest at most. Hardness is the mean score of made features "
    "with negatives, over that of the features they were made of.",
)
