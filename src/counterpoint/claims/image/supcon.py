"""Labels as positives learn better features than no labels do."""

from __future__ import annotations

from counterpoint.claims._digits import DIFFERS, ENCODER, SIDE, judged, pixels
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.methods.image.simclr import SimCLR
from counterpoint.methods.image.supcon import SupCon
from counterpoint.views.presets import SimCLRCrops


def arms(seed: int) -> Arms:
    """The paper's idea and what could explain its gain away."""
    shape = {"encoder": ENCODER, "hidden": 64, "dim": 32, "views": SimCLRCrops(size=SIDE, flip=0.0)}
    config = SupCon.Config(**shape)
    return {
        "supcon": judged(config, seed),
        "simclr": judged(SimCLR.Config(**shape, temperature=0.2), seed),
        "untrained": judged(config, seed, epochs=0),
        "pixels": pixels(seed),
    }


CLAIM = Claim(
    paper=Paper(
        authors="Khosla, Teterwak, Wang, Sarna, Tian, Isola, Maschinot, Liu, Krishnan",
        title="Supervised Contrastive Learning",
        venue="NeurIPS",
        year=2020,
        arxiv="2004.11362",
        where="Table 2",
    ),
    says="With the labels of the training set the features separate digits better than without.",
    arms=arms,
    expect=(
        Expect(arm="supcon", than="simclr", metric="few", margin=0.02),
        Expect(arm="supcon", than="untrained", metric="few", margin=0.05),
    ),
    differs=DIFFERS.format(epochs=20),
)
