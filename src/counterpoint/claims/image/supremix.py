"""Mixed pairs make embeddings of continuous targets better ordered, and the regression on them better."""

from __future__ import annotations

from dataclasses import replace

from counterpoint.claims._ellipses import ENCODER, Square, asked, ellipses, judged, regressed
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.methods.image.supremix import SupReMix

STEPS, SCARCE = 400, 2.0
"""Updates of every arm; by how many e-foldings high targets are rarer where they are scarce."""


def arms(seed: int) -> Arms:
    """Both kinds of mixtures, each alone, none, no weights either, and the absolute error end to end."""
    full = SupReMix.Config(
        encoder=ENCODER, hidden=64, dim=32, target="target", same=0.25, window=2.0,
        views=Square(),  # pyright: ignore[reportArgumentType] -- crops that keep proportions
    )  # fmt: skip
    supcr = replace(full, negatives=False, positives=0)
    found: dict[str, dict[str, float]] = {}
    for spread, train in (("even", ellipses("train")), ("scarce", ellipses("train", scarce=SCARCE))):
        configs = {"supremix": full, "supcr": supcr, "supcon": replace(supcr, weights="none")}
        if spread == "scarce":
            configs |= {"negatives only": replace(full, positives=0)}
            configs |= {"positives only": replace(full, negatives=False)}
        for arm, config in configs.items():
            found[f"{arm}, {spread}"] = judged(config, seed, train, steps=STEPS)
        network, own = regressed(seed, train, steps=STEPS)
        found[f"l1, {spread}"] = own
        found[f"l1 probed, {spread}"] = asked(network, train)
        found[f"untrained, {spread}"] = judged(full, seed, train, steps=0)
    return found


CLAIM = Claim(
    paper=Paper(
        authors="Wu, Dong, Chen, Zhou, Zhou",
        title="Mixup Your Own Pairs",
        venue="arXiv",
        year=2023,
        arxiv="2309.16633",
        where="comparison with SupCon, SupCR and end-to-end regression; imbalanced targets",
    ),
    says="Weights by distance order the embedding by the target, mixtures more so, and a linear probe then "
    "errs less than without mixtures and than a network trained on the error itself, also where high targets "
    "are scarce.",
    arms=arms,
    expect=(
        Expect(arm="supcr, even", than="supcon, even", metric="order"),
        Expect(arm="supremix, even", than="supcr, even", metric="order"),
        Expect(arm="supremix, even", than="supcr, even", metric="mae", better="lower"),
        Expect(arm="supremix, even", than="l1, even", metric="mae", better="lower"),
        Expect(arm="supremix, scarce", than="supcr, scarce", metric="order"),
        Expect(arm="supremix, scarce", than="supcr, scarce", metric="mae", better="lower"),
        Expect(arm="supremix, scarce", than="l1, scarce", metric="mae", better="lower"),
    ),
    differs="Drawn ellipses of 16 pixels whose elongation, from 0 to 10, is the target: 384 to learn from, "
    "evenly spread or falling to 1/e² at the longest, 512 evenly spread to judge by. A small network, "
    f"{STEPS} steps of 64 with Adam; positives are targets within 0.25, mixtures lie within 2; a ridge "
    "probe. Crops keep proportions.",
)
