"""Without the variance term embeddings collapse; without the covariance term their rank falls."""

from __future__ import annotations

from dataclasses import replace

from counterpoint.claims._digits import DIFFERS, ENCODER, SIDE, judged, pixels
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.methods.image.vicreg import VICReg
from counterpoint.views.presets import BYOLCrops


def arms(seed: int) -> Arms:
    """The paper's idea and what could explain its gain away."""
    config = VICReg.Config(encoder=ENCODER, hidden=128, dim=128, views=BYOLCrops(size=SIDE, flip=0.0))
    return {
        "vicreg": judged(config, seed),
        "no variance": judged(replace(config, variance=0.0), seed),
        "no covariance": judged(replace(config, covariance=0.0), seed),
        "untrained": judged(config, seed, epochs=0),
        "pixels": pixels(seed),
    }


CLAIM = Claim(
    paper=Paper(
        authors="Bardes, Ponce, LeCun",
        title="VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning",
        venue="ICLR",
        year=2022,
        arxiv="2105.04906",
        where="Table 7",
    ),
    says="Features serve few labels; both terms against collapse do what they are for.",
    arms=arms,
    expect=(
        Expect(arm="vicreg", than="untrained", metric="few", margin=0.05),
        Expect(arm="vicreg", than="no variance", metric="few"),
        Expect(arm="vicreg", than="no covariance", metric="embedding_rank", margin=2.0),
    ),
    differs=DIFFERS.format(epochs=20),
)
