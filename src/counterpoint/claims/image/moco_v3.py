"""Symmetric contrast with a teacher and a predictor learns features without a queue."""

from __future__ import annotations

from dataclasses import replace

from counterpoint.claims._digits import DIFFERS, ENCODER, SIDE, judged, pixels
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.methods.image.moco_v3 import MoCoV3
from counterpoint.views.presets import BYOLCrops


def arms(seed: int) -> Arms:
    """The paper's idea and what could explain its gain away."""
    config = MoCoV3.Config(
        encoder=ENCODER,
        hidden=64,
        dim=32,
        temperature=0.2,
        momentum=0.97,
        views=BYOLCrops(size=SIDE, flip=0.0),
    )
    return {
        "moco v3": judged(config, seed),
        "no momentum": judged(replace(config, momentum=0.0), seed),
        "untrained": judged(config, seed, epochs=0),
        "pixels": pixels(seed),
    }


CLAIM = Claim(
    paper=Paper(
        authors="Chen, Xie, He",
        title="An Empirical Study of Training Self-Supervised Vision Transformers",
        venue="ICCV",
        year=2021,
        arxiv="2104.02057",
        where="section 4, ablations",
    ),
    says="It learns, and the teacher does not harm against keys from the student itself.",
    arms=arms,
    expect=(
        Expect(arm="moco v3", than="untrained", metric="few", margin=0.05),
        Expect(arm="moco v3", than="no momentum", metric="few", margin=-0.02),
    ),
    differs=DIFFERS.format(epochs=20),
)
