"""A queue of keys from a slow teacher learns features; without the slowness it learns worse ones."""

from __future__ import annotations

from dataclasses import replace

from counterpoint.claims._digits import DIFFERS, ENCODER, SIDE, judged, pixels
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.methods.image.moco import MoCo
from counterpoint.views.presets import MoCoCrops


def arms(seed: int) -> Arms:
    """The paper's idea and what could explain its gain away."""
    config = MoCo.Config(
        encoder=ENCODER, hidden=64, dim=32, momentum=0.99, queue=512, views=MoCoCrops(size=SIDE, flip=0.0)
    )
    return {
        "moco": judged(config, seed),
        "no momentum": judged(replace(config, momentum=0.0), seed),
        "untrained": judged(config, seed, epochs=0),
        "pixels": pixels(seed),
    }


CLAIM = Claim(
    paper=Paper(
        authors="He, Fan, Wu, Xie, Girshick",
        title="Momentum Contrast for Unsupervised Visual Representation Learning",
        venue="CVPR",
        year=2020,
        arxiv="1911.05722",
        where="section 4.1, ablation of momentum",
    ),
    says="The slow teacher is what makes the queue work.",
    arms=arms,
    expect=(
        Expect(arm="moco", than="untrained", metric="few", margin=0.05),
        Expect(arm="moco", than="no momentum", metric="few"),
    ),
    differs=DIFFERS.format(epochs=20),
)
