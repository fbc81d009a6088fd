"""A kernel on attributes shows what augmentation cannot: digits behind a pattern that is easier to tell."""

from __future__ import annotations

from dataclasses import replace

import torch

from counterpoint.claims._digits import ENCODER
from counterpoint.claims._nuisance import SIDE, judged, prior_alone, puzzle
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.core.rng import generator
from counterpoint.methods.image.decoupled_uniformity import DecoupledUniformity
from counterpoint.methods.image.multi_view_cl import MultiViewCL
from counterpoint.methods.image.supcon import SupCon
from counterpoint.pairs.kernels import bandwidth
from counterpoint.views.presets import ManyCrops

VIEWS = ManyCrops(count=2, size=SIDE, flip=0.0, area=(0.8, 1.0))
"""Weak ones, which leave the pattern as it is."""


def clustered(prior: torch.Tensor) -> torch.Tensor:
    """Labels made of the attributes: their ten clusters."""
    from sklearn.cluster import KMeans

    model = KMeans(10, n_init=10, random_state=0)  # pyright: ignore[reportArgumentType] -- its stub is wrong
    found = model.fit(prior.numpy()).labels_
    return torch.from_numpy(found).long()


def arms(seed: int) -> Arms:
    """The kernel at the width its rule gives, at others, on shuffled attributes; and without attributes."""
    plain = DecoupledUniformity.Config(encoder=ENCODER, hidden=64, dim=32, views=VIEWS)
    kernel = replace(plain, kernel="rbf")
    simclr = MultiViewCL.Config(
        encoder=ENCODER, hidden=64, dim=32, views=VIEWS, temperature=0.1, form="pairwise"
    )
    supcon = SupCon.Config(encoder=ENCODER, hidden=64, dim=32, views=VIEWS)  # pyright: ignore[reportArgumentType]
    prior = puzzle("train")[0].prior
    shuffled = prior[torch.randperm(len(prior), generator=generator(seed, "shuffled"))]
    rule = float(bandwidth(prior))
    widths = {
        f"kernel, {times:g} of the rule": judged(replace(kernel, sigma=times * rule), seed)
        for times in (0.1, 0.5, 2.0, 10.0)
    }
    return {
        "kernel": judged(kernel, seed),
        **widths,
        "kernel, shuffled": judged(kernel, seed, prior=shuffled),
        "no kernel": judged(plain, seed),
        "simclr": judged(simclr, seed),
        "supcon on clusters of attributes": judged(supcon, seed, label=clustered(prior)),
        "attributes alone": prior_alone(seed),
        "untrained": judged(plain, seed, steps=0),
    }


CLAIM = Claim(
    paper=Paper(
        authors="Dufumier, Barbano, Louiset, Duchesnay, Gori",
        title="Integrating Prior Knowledge in Contrastive Learning with Kernel",
        venue="ICML",
        year=2023,
        arxiv="2206.01646",
        where="section 5, weak attributes as the prior",
    ),
    says="Attributes learned from by a kernel lift the digit out from behind the pattern, which SimCLR and "
    "Decoupled Uniformity alone cannot; shuffled attributes do not.",
    arms=arms,
    expect=(
        Expect(arm="kernel", than="no kernel", metric="few"),
        Expect(arm="kernel", than="simclr", metric="few"),
        Expect(arm="kernel", than="kernel, shuffled", metric="few"),
        Expect(arm="no kernel", than="simclr", metric="few"),
    ),
    differs="Digits of scikit-learn at 16 pixels, half hidden behind one of 10 random patterns; 12 binary "
    "attributes of each digit, 15 % of them wrong; a small network, weak crops, 240 steps of 256 with Adam; "
    "judged by a ridge probe on 5 labels per class, mean of 10 draws. The kernel's width is twice the median "
    "distance of attributes.",
)
