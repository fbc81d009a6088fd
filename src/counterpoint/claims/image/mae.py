"""Filling in hidden patches teaches a transformer features that serve few labels."""

from __future__ import annotations

from dataclasses import replace

from counterpoint.claims._digits import DIFFERS, SIDE, judged, pixels
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.encoders.vit import ViT
from counterpoint.methods.image.mae import MAE


def arms(seed: int) -> Arms:
    """The paper's idea and what could explain its gain away."""
    encoder = ViT.Config(
        channels=1, size=SIDE, patch=4, dim=48, depth=2, heads=4, positions="sincos", pool="mean"
    )
    config = MAE.Config(encoder=encoder, flip=0.0, decoder=32, decoder_depth=1, decoder_heads=4)
    return {
        "mae": judged(config, seed, epochs=60, lr=3e-3),
        "a quarter hidden": judged(replace(config, ratio=0.25), seed, epochs=60, lr=3e-3),
        "untrained": judged(config, seed, epochs=0),
        "pixels": pixels(seed),
    }


CLAIM = Claim(
    paper=Paper(
        authors="He, Chen, Xie, Li, Dollár, Girshick",
        title="Masked Autoencoders Are Scalable Vision Learners",
        venue="CVPR",
        year=2022,
        arxiv="2111.06377",
        where="Figure 5",
    ),
    says="The features serve few labels better than an untrained network; hiding much beats hiding little.",
    arms=arms,
    expect=(
        Expect(arm="mae", than="untrained", metric="few", margin=0.05),
        Expect(arm="mae", than="a quarter hidden", metric="few"),
    ),
    differs=DIFFERS.format(epochs=60),
)
