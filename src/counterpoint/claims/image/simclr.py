"""SimCLR's features serve few labels better than an untrained network's and than raw pixels."""

from __future__ import annotations

from counterpoint.claims._digits import DIFFERS, ENCODER, SIDE, judged, pixels
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.methods.image.simclr import SimCLR
from counterpoint.views.presets import SimCLRCrops


def arms(seed: int) -> Arms:
    """The paper's idea and what could explain its gain away."""
    config = SimCLR.Config(
        encoder=ENCODER, hidden=64, dim=32, temperature=0.2, views=SimCLRCrops(size=SIDE, flip=0.0)
    )
    return {
        "simclr": judged(config, seed),
        "untrained": judged(config, seed, epochs=0),
        "pixels": pixels(seed),
    }


CLAIM = Claim(
    paper=Paper(
        authors="Chen, Kornblith, Norouzi, Hinton",
        title="A Simple Framework for Contrastive Learning of Visual Representations",
        venue="ICML",
        year=2020,
        arxiv="2002.05709",
        where="Table 6",
    ),
    says="Learned without labels, the features need few labels to tell digits apart.",
    arms=arms,
    expect=(
        Expect(arm="simclr", than="untrained", metric="few", margin=0.05),
        Expect(arm="simclr", than="pixels", metric="few", margin=0.05),
    ),
    differs=DIFFERS.format(epochs=20),
)
