"""A second, made positive is harder than the query it is made of, and features learn more from both."""

from __future__ import annotations

from dataclasses import replace

from counterpoint.claims._glyphs import DIFFERS, ENCODER, SIDE, judged, pixels
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.methods.image.hallucinator import Hallucinator
from counterpoint.methods.image.moco import MoCo
from counterpoint.methods.image.simclr import SimCLR
from counterpoint.methods.image.simsiam import SimSiam
from counterpoint.views.presets import UnlikeCrops

STEPS = 400


def arms(seed: int) -> Arms:
    """Three frameworks with and without it; on MoCo its two halves apart, and a step that means nothing."""
    views = UnlikeCrops(size=SIDE, flip=0.0)
    alike = {"encoder": ENCODER, "hidden": 64, "dim": 32, "views": views}
    moco = MoCo.Config(momentum=0.99, queue=512, **alike)
    simclr = SimCLR.Config(temperature=0.2, **alike)
    wide = {"dim": 128, "layers": 2}
    siam = SimSiam.Config(encoder=ENCODER, hidden=32, views=views, **wide)  # pyright: ignore[reportArgumentType]
    made = Hallucinator.Config(momentum=0.99, queue=512, predictor=32, **alike)
    asked = {
        "moco": moco,
        "moco and hallucinator": made,
        "moco and perceptron alone": replace(made, reach=0.0),
        "moco and step alone": replace(made, smooth=False),
        "moco and random step": replace(made, away="nothing"),
        "simclr": simclr,
        "simclr and hallucinator": replace(made, framework="simclr"),
        "simclr and hallucinator, not masked": replace(made, framework="simclr", masked=False),
        "simsiam": siam,
        "simsiam and hallucinator": replace(made, framework="simsiam", hidden=128, **wide),
    }
    found = {arm: judged(config, seed, steps=STEPS) for arm, config in asked.items()}
    near = found["moco and hallucinator"]
    cosines = {name: {"cosine with key": near[name]} for name in ("query", "made")}
    return found | cosines | {"untrained": judged(moco, seed, steps=0), "pixels": pixels(seed)}


CLAIM = Claim(
    paper=Paper(
        authors="Wu, Hobbs, Hovakimyan",
        title="Hallucination Improves the Performance of Unsupervised Visual Representation Learning",
        venue="ICCV",
        year=2023,
        arxiv="2307.12168",
        where="section 4: gains on MoCo, SimCLR and SimSiam; ablation of extrapolation and smoothing",
    ),
    says="Made positives are less like their keys than the queries are; with them MoCo, SimCLR and SimSiam "
    "need fewer labels, and MoCo more so than with the perceptron alone, the step alone or a random step.",
    arms=arms,
    expect=(
        Expect(arm="made", than="query", metric="cosine with key", better="lower"),
        Expect(arm="moco and hallucinator", than="moco", metric="few"),
        Expect(arm="simclr and hallucinator", than="simclr", metric="few"),
        Expect(arm="simsiam and hallucinator", than="simsiam", metric="few"),
        Expect(arm="moco and hallucinator", than="moco and perceptron alone", metric="few"),
        Expect(arm="moco and hallucinator", than="moco and step alone", metric="few"),
        Expect(arm="moco and hallucinator", than="moco and random step", metric="few"),
    ),
    differs=DIFFERS.format(steps=STEPS)
    + " A queue of 512 keys, a teacher of momentum 0.99; all arms have the same crops, of which one avoids "
    "the middle. Cosines with the key are means of the last 100 steps.",
)
