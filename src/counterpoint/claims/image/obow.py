"""Words, teacher and classifier that keep up with each other teach more than any that stands still."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

from torch.nn.functional import interpolate

from counterpoint.claims._digits import asked
from counterpoint.claims._glyphs import DIFFERS, ENCODER, glyphs
from counterpoint.claims._trial import trained
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.data.arrays import Arrays
from counterpoint.methods.image.obow import OBoW
from counterpoint.views.presets import OBoWCrops

STEPS, LAST, SIDE = 240, 50, 32
"""Updates of every arm; of how many at the end the terms are averaged; pixels, for maps worth the name."""


def arms(seed: int) -> Arms:
    """OBoW, and without one after the other of what moves in it."""
    data, test = enlarged("train"), enlarged("test")
    crops = OBoWCrops(size=SIDE, crop=20, local=12, cropped=1, locals=1, strength=0.5, flip=0.0)
    obow = OBoW.Config(encoder=ENCODER, prototypes=256, views=crops)
    configs = {
        "obow": obow,
        "words fixed": replace(obow, online=False),
        "teacher fixed": replace(obow, momentum=1.0),
        "words and teacher fixed": replace(obow, online=False, momentum=1.0),
        "classifier of its own": replace(obow, generated=False),
        "last level only": replace(obow, levels=1),
        "untrained": obow,
    }
    found = {}
    for arm, config in configs.items():
        method, log = trained(config, seed, data, steps=0 if arm == "untrained" else STEPS)
        numbers = dict(asked(method.network, data, test, seed))
        if log:
            numbers["divergence"] = fmean(line["terms"]["crops"] for line in log[-LAST:])
            numbers |= log[-1]["notes"]
        found[arm] = numbers
    return found


def enlarged(part: str) -> Arrays:
    """The drawn characters at twice their size."""
    small = glyphs(part)
    return Arrays(interpolate(small.image, (SIDE, SIDE), mode="bilinear"), small.label, name="glyphs")


CLAIM = Claim(
    paper=Paper(
        authors="Gidaris, Bursuc, Puy, Komodakis, Cord, Pérez",
        title="OBoW: Online Bag-of-Visual-Words Generation for Self-Supervised Learning",
        venue="CVPR",
        year=2021,
        arxiv="2012.11552",
        where="section 4.2, ablations of the vocabulary, the classifier and the levels",
    ),
    says="Fewer labels are needed with an online vocabulary and an online teacher than where either or both "
    "stand still, with two levels than with one, and with a classifier generated from the words than with "
    "one of its own, which also foretells worse.",
    arms=arms,
    expect=(
        Expect(arm="obow", than="words and teacher fixed", metric="few"),
        Expect(arm="obow", than="words fixed", metric="few"),
        Expect(arm="obow", than="teacher fixed", metric="few"),
        Expect(arm="obow", than="classifier of its own", metric="few"),
        Expect(arm="obow", than="classifier of its own", metric="divergence", better="lower"),
        Expect(arm="obow", than="last level only", metric="few"),
    ),
    differs=DIFFERS.format(steps=STEPS)
    + " Characters are enlarged to 32 pixels; 256 words a level, of 4×4 and 8×8 maps, one crop of 20 pixels "
    "and one patch of 12. Divergence is that of crops, mean of the last 50 steps.",
)
