"""A stopped gradient and a predictor are enough: features are learned and the embedding does not collapse."""

from __future__ import annotations

from dataclasses import replace

from counterpoint.claims._digits import DIFFERS, ENCODER, SIDE, judged, pixels
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.methods.image.simsiam import SimSiam
from counterpoint.views.presets import MoCoCrops


def arms(seed: int) -> Arms:
    """The paper's idea and what could explain its gain away."""
    config = SimSiam.Config(
        encoder=ENCODER, dim=64, hidden=16, layers=2, views=MoCoCrops(size=SIDE, flip=0.0)
    )
    return {
        "simsiam": judged(config, seed),
        "no stopped gradient": judged(replace(config, stop_gradient=False), seed),
        "untrained": judged(config, seed, epochs=0),
        "pixels": pixels(seed),
    }


CLAIM = Claim(
    paper=Paper(
        authors="Chen, He",
        title="Exploring Simple Siamese Representation Learning",
        venue="CVPR",
        year=2021,
        arxiv="2011.10566",
        where="Figure 2",
    ),
    says="With the gradient stopped the embedding keeps its spread (1 is a sphere, 0 a point) and the "
    "features serve few labels; without, it collapses.",
    arms=arms,
    expect=(
        Expect(arm="simsiam", than="untrained", metric="few", margin=0.05),
        Expect(arm="simsiam", than="no stopped gradient", metric="spread", margin=0.3),
        Expect(arm="simsiam", than="no stopped gradient", metric="few", margin=0.05),
    ),
    differs=DIFFERS.format(epochs=20),
)
