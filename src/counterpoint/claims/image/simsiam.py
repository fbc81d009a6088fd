"""A stopped gradient and a predictor are enough: features are learned and the embedding does not collapse."""

from __future__ import annotations

from counterpoint.claims._digits import DIFFERS, ENCODER, SIDE, judged, pixels
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.methods.image.simsiam import SimSiam


def arms(seed: int) -> Arms:
    """The paper's idea and what could explain its gain away."""
    config = SimSiam.Config(encoder=ENCODER, dim=64, hidden=16, layers=2, size=SIDE, flip=0.0)
    return {
        "simsiam": judged(config, seed),
        "untrained": judged(config, seed, epochs=0),
        "pixels": pixels(seed),
        "collapsed": {"spread": 0.5},
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
    says="The embedding keeps its spread (1 is a sphere, 0 a point) and the features serve few labels.",
    arms=arms,
    expect=(
        Expect(arm="simsiam", than="untrained", metric="few", margin=0.05),
        Expect(arm="simsiam", than="collapsed", metric="spread"),
    ),
    differs=DIFFERS.format(epochs=20)
    + " The arm without a stopped gradient is not run: the method has no such setting.",
)
