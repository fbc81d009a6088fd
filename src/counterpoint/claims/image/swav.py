"""Balanced codes teach; codes so soft that they say nothing do not."""

from __future__ import annotations

from dataclasses import replace

from counterpoint.claims._digits import DIFFERS, ENCODER, SIDE, judged, pixels
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.methods.image.swav import SwAV
from counterpoint.views.presets import SwAVCrops


def arms(seed: int) -> Arms:
    """The paper's idea and what could explain its gain away."""
    config = SwAV.Config(
        encoder=ENCODER,
        hidden=64,
        dim=32,
        prototypes=30,
        views=SwAVCrops(size=SIDE, flip=0.0, locals=0, strength=0.5),
    )
    return {
        "swav": judged(config, seed),
        "uniform codes": judged(replace(config, sharpness=10.0), seed),
        "untrained": judged(config, seed, epochs=0),
        "pixels": pixels(seed),
    }


CLAIM = Claim(
    paper=Paper(
        authors="Caron, Misra, Mairal, Goyal, Bojanowski, Joulin",
        title="Unsupervised Learning of Visual Features by Contrasting Cluster Assignments",
        venue="NeurIPS",
        year=2020,
        arxiv="2006.09882",
        where="section 4",
    ),
    says="Predicting balanced cluster codes learns features that serve few labels.",
    arms=arms,
    expect=(
        Expect(arm="swav", than="untrained", metric="few", margin=0.05),
        Expect(arm="swav", than="uniform codes", metric="few"),
    ),
    differs=DIFFERS.format(epochs=20) + " Colors are jittered at half the strength, as in the other claims.",
)
