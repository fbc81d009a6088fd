"""Neighbors as positives make up for augmentation that is left out."""

from __future__ import annotations

from counterpoint.claims._digits import DIFFERS, ENCODER, SIDE, judged, pixels
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.methods.image.nnclr import NNCLR
from counterpoint.methods.image.simclr import SimCLR
from counterpoint.views.presets import BYOLCrops, SimCLRCrops


def arms(seed: int) -> Arms:
    """The paper's idea and what could explain its gain away."""
    shape = {"encoder": ENCODER, "hidden": 64, "dim": 32, "temperature": 0.2}
    crops = {"size": SIDE, "flip": 0.0, "strength": 0.0}
    config = NNCLR.Config(**shape, views=BYOLCrops(**crops), predictor=64, queue=512)
    return {
        "nnclr, crops only": judged(config, seed),
        "simclr, crops only": judged(SimCLR.Config(**shape, views=SimCLRCrops(**crops)), seed),
        "untrained": judged(config, seed, epochs=0),
        "pixels": pixels(seed),
    }


CLAIM = Claim(
    paper=Paper(
        authors="Dwibedi, Aytar, Tompson, Sermanet, Zisserman",
        title="With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning of Visual "
        "Representations",
        venue="ICCV",
        year=2021,
        arxiv="2104.14548",
        where="Table 6",
    ),
    says="With crops as the only augmentation, neighbors learn features no worse than SimCLR does.",
    arms=arms,
    expect=(
        Expect(arm="nnclr, crops only", than="untrained", metric="few", margin=0.05),
        Expect(arm="nnclr, crops only", than="simclr, crops only", metric="few", margin=-0.02),
    ),
    differs=DIFFERS.format(epochs=20),
)
