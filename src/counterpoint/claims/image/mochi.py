"""Mixed negatives make the task harder and the embedding more even, without a longer queue."""

from __future__ import annotations

from dataclasses import replace

from counterpoint.claims._glyphs import DIFFERS, ENCODER, SIDE, judged, pixels
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.methods.image.mochi import MoCHi
from counterpoint.views.presets import MoCoCrops

STEPS = 480


def arms(seed: int) -> Arms:
    """Both kinds of mixtures, each alone, none, a longer queue, and mixing that knows the classes."""
    mochi = MoCHi.Config(
        encoder=ENCODER, hidden=64, dim=32, momentum=0.99, queue=512, hardest=32, mixed=16, with_query=16,
        start=1, views=MoCoCrops(size=SIDE, flip=0.0),
    )  # fmt: skip
    moco = replace(mochi, mixed=0, with_query=0)
    asked = {
        "mochi": mochi,
        "among the hardest only": replace(mochi, with_query=0),
        "with the query only": replace(mochi, mixed=0),
        "oracle": replace(mochi, oracle=True),
        "moco": moco,
        "moco, queue doubled": replace(moco, queue=1024),
    }
    trained = {arm: judged(config, seed, steps=STEPS) for arm, config in asked.items()}
    return trained | {"untrained": judged(moco, seed, steps=0), "pixels": pixels(seed)}


CLAIM = Claim(
    paper=Paper(
        authors="Kalantidis, Sariyildiz, Pion, Weinzaepfel, Larlus",
        title="Hard Negative Mixing for Contrastive Learning",
        venue="NeurIPS",
        year=2020,
        arxiv="2010.01028",
        where="section 4 and 5: proxy task, uniformity, linear accuracy, class oracle",
    ),
    says="With mixtures the key is found less often, embeddings lie more evenly than a doubled queue makes "
    "them, features need fewer labels than MoCo's, and knowing the classes while mixing does not hurt.",
    arms=arms,
    expect=(
        Expect(arm="mochi", than="moco", metric="proxy", better="lower"),
        Expect(arm="mochi", than="moco, queue doubled", metric="uniform", better="lower"),
        Expect(arm="mochi", than="moco", metric="few"),
        Expect(arm="oracle", than="mochi", metric="few", margin=-0.01),
    ),
    differs=DIFFERS.format(steps=STEPS)
    + " A queue of 512 keys, 16 mixtures of either kind of the 32 hardest, "
    "after one epoch without; the teacher's momentum is 0.99.",
)
