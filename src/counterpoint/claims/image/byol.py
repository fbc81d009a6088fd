"""Predicting a slow teacher learns features; a teacher that never moves teaches less."""

from __future__ import annotations

from dataclasses import replace

from counterpoint.claims._digits import DIFFERS, ENCODER, SIDE, judged, pixels
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.methods.image.byol import BYOL
from counterpoint.views.presets import BYOLCrops


def arms(seed: int) -> Arms:
    """The paper's idea and what could explain its gain away."""
    config = BYOL.Config(
        encoder=ENCODER, hidden=64, dim=32, momentum=0.97, views=BYOLCrops(size=SIDE, flip=0.0)
    )
    return {
        "byol": judged(config, seed),
        "fixed teacher": judged(replace(config, momentum=1.0), seed),
        "untrained": judged(config, seed, epochs=0),
        "pixels": pixels(seed),
    }


CLAIM = Claim(
    paper=Paper(
        authors="Grill, Strub, Altché, Tallec, Richemond, Buchatskaya, Doersch, Avila Pires, Guo, Gheshlaghi "
        "Azar, Piot, Kavukcuoglu, Munos, Valko",
        title="Bootstrap Your Own Latent",
        venue="NeurIPS",
        year=2020,
        arxiv="2006.07733",
        where="Table 5a",
    ),
    says="A fixed random teacher is better than nothing, and one that follows is better still.",
    arms=arms,
    expect=(
        Expect(arm="byol", than="untrained", metric="few", margin=0.05),
        Expect(arm="byol", than="fixed teacher", metric="few"),
    ),
    differs=DIFFERS.format(epochs=20),
)
