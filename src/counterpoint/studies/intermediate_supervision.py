"""Does contrastive supervision of the bottleneck give representations that register better?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product

from counterpoint.core.claim import Expect, Paper
from counterpoint.core.study import Arm, Study
from counterpoint.methods.registration.comir import CoMIR
from counterpoint.objectives.supervision import CRITICS, Critic, Schedule, Supervision

TAP = "bottleneck"
WAYS = ("alternating", "summed", "pre-training")


def arms(base: CoMIR.Config) -> Mapping[str, Arm]:
    """No supervision, three ways of it by three critics, and what could explain a difference away."""

    def arm(way: str, critic: Critic, about: str, longer: float = 1.0, **changes: object) -> Arm:
        output, inside = _schedules(way)
        term = Supervision(tap=TAP, critic=critic, temperature=base.temperature, schedule=inside)
        method = replace(base, schedule=output, intermediate=(replace(term, **changes),))
        return Arm(method=method, longer=longer, about=about, updates=output.updates)

    found = {"none": Arm(method=base, about="The method as it is.")}
    found |= {
        f"{way}, {critic}": arm(way, critic, f"Bottleneck supervised by {critic}, {way}.")
        for way, critic in product(WAYS, CRITICS)
    }
    fair = "As many updates of the decoder as without supervision."
    found["alternating, mse, twice as long"] = arm("alternating", "mse", fair, 2.0)
    found["pre-training, mse, twice as long"] = arm("pre-training", "mse", fair, 2.0)
    found["summed, mse, weight 0.1"] = arm("summed", "mse", "A weaker term.", weight=0.1)
    found["summed, mse, projector"] = arm("summed", "mse", "A remedy of collapse.", projector=16)
    found["summed, mse, one side constant"] = arm("summed", "mse", "A stopped gradient.", constant="fixed")
    return found


def _schedules(way: str) -> tuple[Schedule, Schedule]:
    """When the output is compared, and when the bottleneck."""
    match way:
        case "alternating":
            return Schedule(when="alternate", phase=0), Schedule(when="alternate", phase=1)
        case "pre-training":
            return Schedule(when="from"), Schedule(when="until")
        case _:
            return Schedule(), Schedule()


STUDY = Study(
    paper=Paper(
        authors="Wetzer, Lindblad, Sladoje",
        title="Can Representation Learning for Multimodal Image Registration be Improved by Supervision of "
        "Intermediate Layers?",
        venue="IbPRIA",
        year=2023,
        arxiv="2303.00403",
        where="abstract",
    ),
    asks="Does contrastive supervision of the bottleneck give representations that register better?",
    method="comir",
    judge="registration",
    arms=arms,
    expect=(
        *(
            Expect(arm="none", than=f"{way}, {critic}", metric="success")
            for way, critic in product(WAYS, CRITICS)
        ),
        Expect(arm="none", than="summed, mse", metric=f"{TAP} rank"),
    ),
    taps=(TAP,),
    differs="Small U-Nets on patches of 64 pixels instead of dense U-Nets on 128; the bottleneck is read "
    "after its last ReLU. The critics and ways are those of the abstract as this project understands them.",
)
