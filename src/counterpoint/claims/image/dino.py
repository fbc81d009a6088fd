"""A centered and sharpened teacher teaches; without sharpening the student learns nothing."""

from __future__ import annotations

from dataclasses import replace

from counterpoint.claims._digits import DIFFERS, ENCODER, SIDE, judged, pixels
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.methods.image.dino import DINO
from counterpoint.views.presets import DINOCrops


def arms(seed: int) -> Arms:
    """The paper's idea and what could explain its gain away."""
    config = DINO.Config(
        encoder=ENCODER,
        hidden=64,
        dim=32,
        prototypes=64,
        momentum=0.97,
        views=DINOCrops(size=SIDE, flip=0.0, locals=2, local=10, strength=0.5),
    )
    return {
        "dino": judged(config, seed),
        "no sharpening": judged(replace(config, teacher_temperature=1.0), seed),
        "untrained": judged(config, seed, epochs=0),
        "pixels": pixels(seed),
    }


CLAIM = Claim(
    paper=Paper(
        authors="Caron, Touvron, Misra, Jégou, Mairal, Bojanowski, Joulin",
        title="Emerging Properties in Self-Supervised Vision Transformers",
        venue="ICCV",
        year=2021,
        arxiv="2104.14294",
        where="Figure 7",
    ),
    says="Sharpening is needed: without it the codes become uniform.",
    arms=arms,
    expect=(
        Expect(arm="dino", than="untrained", metric="few", margin=0.05),
        Expect(arm="dino", than="no sharpening", metric="few"),
    ),
    differs=DIFFERS.format(epochs=20) + " Colors are jittered at half the strength, as in the other claims.",
)
