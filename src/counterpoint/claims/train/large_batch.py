"""Linear scaling: a batch k times as large takes k times the rate, with a warm-up, up to some size of batch.

Goyal, Dollár, Girshick, Noordhuis, Wesolowski, Kyrola, Tulloch, Jia, He. Accurate, Large Minibatch SGD:
Training ImageNet in 1 Hour. 2017. arXiv:1706.02677.
"""

from __future__ import annotations

from dataclasses import replace

from counterpoint.claims._large import DIFFERS, LARGE, SGD, SMALL, Recipe, parts, trained, tuned
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.train.optim import REFERENCE

FEW, LARGER = 64, (64, 128, 256, LARGE)
"""Four times the smallest batch, and all larger ones, up to thirty-two times."""


def arms(seed: int) -> Arms:
    """The small batch; larger ones with its rate, the scaled rate, a warm-up, a rate of their own."""
    data = parts(seed)
    base = tuned(seed, data, Recipe())
    scaled = replace(SGD, lr=base.rate * REFERENCE / SMALL, scale="linear")
    found = {str(SMALL): base}
    for batch in LARGER:
        for name, config in (
            ("same rate", replace(SGD, lr=base.rate)),
            ("linear", replace(scaled, warmup=0.0)),
            ("linear, warm-up", scaled),
        ):
            found[f"{batch}, {name}"] = trained(Recipe(optim=config, batch=batch), seed, data)
        start = replace(SGD, lr=base.rate * batch / SMALL / 2)
        found[f"{batch}, tuned"] = tuned(seed, data, Recipe(optim=start, batch=batch))
    return {name: one.numbers() for name, one in found.items()}


CLAIM = Claim(
    paper=Paper(
        authors="Goyal, Dollár, Girshick, Noordhuis, Wesolowski, Kyrola, Tulloch, Jia, He",
        title="Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour",
        venue="arXiv",
        year=2017,
        arxiv="1706.02677",
        where="Figure 1 and Table 1",
    ),
    says="With the rate scaled in proportion to the batch and a warm-up, four times the batch is as accurate "
    "as the small one in as many epochs, more so than with the same rate; thirty-two times is not, though "
    "the warm-up helps.",
    arms=arms,
    expect=(
        Expect(arm=f"{FEW}, linear, warm-up", than=str(SMALL), metric="accuracy", margin=-0.01),
        Expect(arm=f"{FEW}, linear, warm-up", than=f"{FEW}, same rate", metric="accuracy"),
        Expect(arm=str(SMALL), than=f"{LARGE}, linear, warm-up", metric="accuracy", margin=0.01),
        Expect(arm=f"{LARGE}, linear, warm-up", than=f"{LARGE}, linear", metric="accuracy"),
    ),
    differs=DIFFERS,
)
