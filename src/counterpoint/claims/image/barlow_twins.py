"""Decorrelating the dimensions keeps the embedding from collapsing to few of them."""

from __future__ import annotations

from dataclasses import replace

from counterpoint.claims._digits import DIFFERS, ENCODER, SIDE, judged, pixels
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.methods.image.barlow_twins import BarlowTwins
from counterpoint.views.presets import BYOLCrops


def arms(seed: int) -> Arms:
    """The paper's idea and what could explain its gain away."""
    config = BarlowTwins.Config(
        encoder=ENCODER, hidden=128, dim=128, off_diagonal=0.02, views=BYOLCrops(size=SIDE, flip=0.0)
    )
    return {
        "barlow twins": judged(config, seed),
        "no redundancy term": judged(replace(config, off_diagonal=0.0), seed),
        "untrained": judged(config, seed, epochs=0),
        "pixels": pixels(seed),
    }


CLAIM = Claim(
    paper=Paper(
        authors="Zbontar, Jing, Misra, LeCun, Deny",
        title="Barlow Twins: Self-Supervised Learning via Redundancy Reduction",
        venue="ICML",
        year=2021,
        arxiv="2103.03230",
        where="section 4",
    ),
    says="Features serve few labels, and the redundancy term raises the rank of the embedding.",
    arms=arms,
    expect=(
        Expect(arm="barlow twins", than="untrained", metric="few", margin=0.05),
        Expect(arm="barlow twins", than="no redundancy term", metric="embedding_rank", margin=2.0),
    ),
    differs=DIFFERS.format(epochs=20),
)
