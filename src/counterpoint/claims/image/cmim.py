"""Codes pushed apart serve few labels better whatever the batch, and the decoder's state serves best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from counterpoint.claims._glyphs import ENCODER, SIDE, glyphs
from counterpoint.claims._trial import trained
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.core.rng import generator
from counterpoint.methods.image.cmim import CMIM
from counterpoint.metrics.geometry import effective_rank
from counterpoint.tasks.features import Embedded, evaluating, features
from counterpoint.tasks.linear_probe import LinearProbe

STEPS, WEIGHT = 400, 100.0
BATCHES = (16, 64, 256)


def arms(seed: int) -> Arms:
    """cMIM, a sum for its mean and no contrast, in batches of three sizes; and other autoencoders."""
    mim = CMIM.Config(encoder=ENCODER, size=SIDE, dim=16, hidden=128, contrast=0.0)
    forms = {"mim": mim, "cmim": replace(mim, contrast=WEIGHT)}
    forms["summed"] = replace(forms["cmim"], average=False)
    found: dict[str, Mapping[str, float]] = {}
    for form, config in forms.items():
        sizes = {size: judged(config, seed, size) for size in BATCHES}
        found |= {f"{form}, {size}": numbers["code"] for size, numbers in sizes.items()}
        found |= {f"{form}, {of}": numbers for of, numbers in sizes[64].items()}
        few, mse = ([numbers["code"][metric] for numbers in sizes.values()] for metric in ("few", "mse"))
        found[f"{form}, between batches"] = {"few": max(few) - min(few), "mse": max(mse) / min(mse) - 1}
    others = {
        "ae": replace(mim, form="ae"),
        "vae": replace(mim, form="vae"),
        "cmim, weight 1": replace(mim, contrast=1.0),
    }
    for arm, config in others.items():
        found |= {f"{arm}, {of}": numbers for of, numbers in judged(config, seed, 64).items()}
    return found | {f"untrained, {of}": numbers for of, numbers in judged(mim, seed, 0).items()}


def judged(config: Any, seed: int, batch: int) -> dict[str, dict[str, float]]:
    """Few labels on the code, the decoder's state, and random features of the code, as many as that has.

    Beside the code stand "mse" of test images made from it, "rank", and its "deviation".
    """
    train, test = glyphs("train"), glyphs("test")
    method, _ = trained(config, seed, train, steps=STEPS if batch else 0, batch=batch or 64)
    assert isinstance(method, CMIM)
    network = method.network("image")
    code = [features(network, data, tap="code") for data in (train, test)]
    state = [features(network, data) for data in (train, test)]
    draw = torch.randn(config.dim, config.hidden, generator=generator(seed, "random features"))
    shift = torch.rand(config.hidden, generator=generator(seed, "random shifts"))
    spread = code[0].z.std()
    random = [Embedded((e.z / spread @ draw + shift).relu(), e.id, e.label) for e in code]
    with evaluating(method):
        made = method.decoded(code[1].z)
        sure: Tensor = method.log_variance(method.latent.encoder(test.image)).clamp(min=config.lowest)
    return {
        "code": {
            "few": few(code, seed),
            "mse": float((made - test.image).square().mean()),
            "rank": effective_rank(code[1].z),
            "deviation": float((sure / 2).exp().mean()),
        },
        "decoder": {"few": few(state, seed)},
        "random features": {"few": few(random, seed)},
    }


def few(of: Sequence[Embedded], seed: int) -> float:
    """Accuracy on the second from 5 labels per class of the first, mean of 10 draws."""
    probe = LinearProbe(LinearProbe.Config(labels="5/class"))
    return fmean(probe.judge(of[0], of[1], 100 * seed + draw)["accuracy"] for draw in range(10))


CLAIM = Claim(
    paper=Paper(
        authors="Livne",
        title="cMIM: A Contrastive Mutual Information Framework for Unified Generative and Discriminative "
        "Representation Learning",
        venue="arXiv",
        year=2025,
        arxiv="2502.19642",
        where="experiments on images and molecules: cMIM, MIM, informative embeddings, batch sizes",
    ),
    says="The contrast makes codes serve few labels better at no cost in reconstruction, its mean depends on "
    "the batch less than a sum does, and the decoder's state serves better than the code or random features.",
    arms=arms,
    expect=(
        Expect(arm="cmim, code", than="mim, code", metric="few"),
        Expect(arm="cmim, code", than="mim, code", metric="mse", margin=-0.001, better="lower"),
        Expect(arm="cmim, between batches", than="summed, between batches", metric="few", better="lower"),
        Expect(arm="cmim, between batches", than="summed, between batches", metric="mse", better="lower"),
        Expect(arm="cmim, decoder", than="cmim, code", metric="few"),
        Expect(arm="cmim, decoder", than="cmim, random features", metric="few"),
    ),
    differs=f"Drawn characters of 64 classes at 16 pixels, codes of 16 numbers, {STEPS} steps with Adam "
    f"whatever the batch; the contrast weighs {WEIGHT:g} at a temperature of 1, since beside a likelihood "
    "summed over pixels a weight of 1 does little; judged by a ridge probe on 5 labels per class, mean of 10 "
    "draws.",
)
