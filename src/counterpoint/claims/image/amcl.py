"""Several heads with temperatures of their own learn better features, the more so the stronger the crops."""

from __future__ import annotations

from dataclasses import replace

from counterpoint.claims._digits import asked
from counterpoint.claims._glyphs import DIFFERS, ENCODER, SIDE, glyphs
from counterpoint.claims._trial import trained
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.methods.image.amcl import AMCL
from counterpoint.views.presets import ManyCrops

STEPS = 400
AREAS = {"weak": (0.5, 1.0), "strong": (0.08, 1.0)}
"""Smallest and largest share of a picture that a crop shows."""
JITTER = {"weak": 0.25, "strong": 1.0}


def arms(seed: int) -> Arms:
    """One head or four, temperatures fixed or of every pair, and one head as wide as four."""
    data, test = glyphs("train"), glyphs("test")
    found: dict[str, dict[str, float]] = {}
    for crops, area in AREAS.items():
        four = AMCL.Config(
            encoder=ENCODER, hidden=64, dim=32, phi=64, low=0.05, negatives=0,
            views=ManyCrops(count=2, size=SIDE, flip=0.0, area=area, strength=JITTER[crops]),  # pyright: ignore[reportArgumentType] -- of any area
        )  # fmt: skip
        one = replace(four, heads=1)
        asked_for = {
            "4 heads, adaptive": four,
            "4 heads, fixed": replace(four, adaptive=False),
            "1 head, adaptive": one,
            "1 head, fixed": replace(one, adaptive=False),
            "1 wide head, fixed": replace(one, adaptive=False, hidden=256, dim=128),
        }
        for arm, config in asked_for.items():
            method, log = trained(config, seed, data, steps=STEPS)
            found[f"{arm}, {crops}"] = {**asked(method.network, data, test, seed), **log[-1]["notes"]}
        gain = {
            metric: found[f"4 heads, adaptive, {crops}"][metric] - found[f"1 head, fixed, {crops}"][metric]
            for metric in ("few", "knn")
        }
        found[f"gain of both, {crops}"] = gain
    return found


CLAIM = Claim(
    paper=Paper(
        authors="Wang, Koniusz, Gedeon, Zheng",
        title="Adaptive Multi-head Contrastive Learning",
        venue="ECCV",
        year=2024,
        arxiv="2310.05615",
        where="tables of k-NN accuracy, ablation of heads, temperatures and augmentation",
    ),
    says="Under strong augmentation four heads with adaptive temperatures need fewer labels than one head, "
    "narrow or wide, and gain more than under weak augmentation.",
    arms=arms,
    expect=(
        Expect(arm="4 heads, adaptive, strong", than="1 head, fixed, strong", metric="few"),
        Expect(arm="4 heads, adaptive, strong", than="1 wide head, fixed, strong", metric="few"),
        Expect(arm="4 heads, adaptive, strong", than="4 heads, fixed, strong", metric="few"),
        Expect(arm="gain of both, strong", than="gain of both, weak", metric="few"),
    ),
    differs=DIFFERS.format(steps=STEPS) + " Weak crops show half of a character at least, strong ones 8 %, "
    "with four times the jitter. All negatives count, temperatures lie in [0.05, 2] (0.2 where fixed), and "
    "the price weighs 0.02: the paper searches these for every set.",
)
