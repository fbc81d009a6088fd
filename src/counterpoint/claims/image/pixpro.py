"""Places that agree across views, once they were propagated, tell more than averages that agree."""

from __future__ import annotations

from dataclasses import replace

from counterpoint.claims._scenes import DIFFERS, ENCODER, VIEWS, learned, probed
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.methods.image.byol import BYOL
from counterpoint.methods.image.pixpro import PixPro
from counterpoint.methods.image.simclr import SimCLR

STEPS = 560


def arms(seed: int) -> Arms:
    """The three tasks on places, and what is the same on averages, with the same crops and steps."""
    small = {"encoder": ENCODER, "hidden": 128, "dim": 64, "views": VIEWS}
    pixpro = PixPro.Config(**small, momentum=0.97)
    asked = {
        "pixpro": pixpro,
        "without propagation": replace(pixpro, task="consistency"),
        "contrast of places": replace(pixpro, task="contrast"),
        "byol": BYOL.Config(**small, momentum=0.97),
        "simclr": SimCLR.Config(**small, temperature=0.2),
    }
    found = {arm: learned(config, seed, steps=STEPS)[0] for arm, config in asked.items()}
    found["untrained"] = learned(pixpro, seed, steps=0)[0]
    return {arm: probed(method.network("image"), seed) for arm, method in found.items()}


CLAIM = Claim(
    paper=Paper(
        authors="Xie, Lin, Zhang, Cao, Lin, Hu",
        title="Propagate Yourself: Exploring Pixel-Level Consistency for Unsupervised Visual Representation "
        "Learning",
        venue="CVPR",
        year=2021,
        arxiv="2011.10043",
        where="section 4: comparison with instance-level methods, ablation of the propagation module",
    ),
    says="Cells of maps learned place by place say better what lies there than those learned through "
    "averages; propagation keeps them from collapsing, makes them smoother than contrast does, and better.",
    arms=arms,
    expect=(
        Expect(arm="pixpro", than="untrained", metric="cells", margin=0.05),
        Expect(arm="pixpro", than="without propagation", metric="cells"),
        Expect(arm="pixpro", than="byol", metric="cells"),
        Expect(arm="pixpro", than="simclr", metric="cells"),
        Expect(arm="pixpro", than="contrast of places", metric="cells"),
        Expect(arm="pixpro", than="contrast of places", metric="smooth"),
    ),
    differs=DIFFERS.format(steps=STEPS),
)
