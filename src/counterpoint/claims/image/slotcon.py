"""Groups of places that nobody named follow the materials of a scene; without a center they become one."""

from __future__ import annotations

from dataclasses import replace

import torch

from counterpoint.claims._scenes import DIFFERS, ENCODER, VIEWS, grouping, learned, probed, scenes
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.core.method import Method
from counterpoint.methods.image.pixpro import PixPro
from counterpoint.methods.image.simclr import SimCLR
from counterpoint.methods.image.slotcon import SlotCon

STEPS, GROUPS = 220, 16


def arms(seed: int) -> Arms:
    """SlotCon, each of its parts left out, and what groups nothing, whose features k-means groups."""
    small = {"encoder": ENCODER, "hidden": 128, "dim": 64, "views": VIEWS}
    slotcon = SlotCon.Config(**small, prototypes=GROUPS, momentum=0.97)
    asked = {
        "slotcon": slotcon,
        "without contrast of slots": replace(slotcon, grouping=1.0),
        "without grouping": replace(slotcon, grouping=0.0),
        "without a center": replace(slotcon, center_momentum=1.0),
        "simclr": SimCLR.Config(**small, temperature=0.2),
        "pixpro": PixPro.Config(**small, momentum=0.97),
    }
    found = {arm: learned(config, seed, steps=STEPS)[0] for arm, config in asked.items()}
    found["untrained"] = learned(slotcon, seed, steps=0)[0]
    return {arm: judged(method, seed) for arm, method in found.items()}


def judged(method: Method, seed: int) -> dict[str, float]:
    """What cells tell, and how well their groups agree with materials: prototypes' where there are any."""
    network, groups = method.network("image"), None
    if isinstance(method, SlotCon):
        method.eval()
        groups = torch.cat([method.grouped(part["image"]) for part in scenes("test")[0].parts(64)])
    return probed(network, seed) | grouping(network, seed, groups, GROUPS)


CLAIM = Claim(
    paper=Paper(
        authors="Wen, Zhao, Zheng, Zhang, Qi",
        title="Self-Supervised Visual Representation Learning with Semantic Grouping",
        venue="NeurIPS",
        year=2022,
        arxiv="2205.15288",
        where="section 4: transfer to dense tasks, ablation of the losses and of centering, groups found",
    ),
    says="The prototypes group cells by material better than k-means does on SimCLR's features; the contrast "
    "of slots makes features tell more, and without the center few groups are left.",
    arms=arms,
    expect=(
        Expect(arm="slotcon", than="simclr", metric="ari"),
        Expect(arm="slotcon", than="without contrast of slots", metric="cells"),
        Expect(arm="slotcon", than="without grouping", metric="ari"),
        Expect(arm="slotcon", than="without a center", metric="groups", margin=2.0),
        Expect(arm="slotcon", than="untrained", metric="cells", margin=0.05),
    ),
    differs=DIFFERS.format(steps=STEPS)
    + " 16 prototypes; where there are none, k-means of as many clusters on the features groups the cells.",
)
