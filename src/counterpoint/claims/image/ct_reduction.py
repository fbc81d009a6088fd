"""Slices that say nothing new are better left out: selected by hash, few of them teach more than all."""

from __future__ import annotations

import torch
from torch import Tensor

from counterpoint.claims._digits import ENCODER, SIDE, asked
from counterpoint.claims._trial import trained
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.core.data import Data
from counterpoint.core.rng import generator
from counterpoint.data.arrays import Arrays
from counterpoint.data.digits import digits
from counterpoint.data.grouped import ByGroup
from counterpoint.methods.image.simclr import SimCLR
from counterpoint.procedures.image.ct_reduction import CTReduction
from counterpoint.views.presets import SimCLRCrops

VOLUMES, SLICES, ANCHORS, STEPS, BATCH, NEAR = 64, 32, 3, 200, 64, 0.15
"""Volumes, slices of each, digits it passes, updates, batch; how little of the way between two digits two
slices of a volume lie apart that show the same."""


def volumes(seed: int) -> tuple[Arrays, Tensor]:
    """Volumes that morph from digit to digit, now fast and now hardly at all, and where each slice stands."""
    rng, pool = generator(seed, "volumes"), digits("train", size=SIDE).image
    anchor = pool[torch.randperm(len(pool), generator=rng)[: VOLUMES * ANCHORS]].view(VOLUMES, ANCHORS, -1)
    speed = torch.rand(VOLUMES, SLICES - 1, generator=rng).pow(4)
    at = torch.cat([torch.zeros(VOLUMES, 1), speed.cumsum(1)], 1)
    at = (ANCHORS - 1) * at / at[:, -1:]
    before = at.long().clamp(max=ANCHORS - 2)
    rows = torch.arange(VOLUMES)[:, None]
    share = (at - before)[..., None]
    image = (1 - share) * anchor[rows, before] + share * anchor[rows, before + 1]
    group = rows.expand(-1, SLICES).reshape(-1)
    return Arrays(image.view(-1, 1, SIDE, SIDE), group=group), at.flatten()


def twins(data: Data, group: Tensor, at: Tensor, seed: int) -> float:
    """How many others of its batch show what a sample shows: of the same volume, at nearly the same place."""
    found = []
    for epoch in range(4):
        for batch in data.epoch(BATCH, generator(seed, "twins", epoch)):
            g, x = group[batch["id"]], at[batch["id"]]
            same = (g[:, None] == g[None]) & ((x[:, None] - x[None]).abs() < NEAR)
            found.append(float(same.sum()) / len(g) - 1)
    return sum(found) / len(found)


def arms(seed: int) -> Arms:
    """All slices, those kept by hash, as many by stride or chance; and batches by volume instead."""
    whole, at = volumes(seed)
    hashed = CTReduction(CTReduction.Config()).kept(whole)
    rows = {"all": torch.arange(len(whole)), "hash": hashed}
    for by in ("every", "random"):
        config = CTReduction.Config(by=by, every=len(whole) / len(hashed), within="all", seed=seed)
        rows[by] = CTReduction(config).kept(whole)
    sets = {name: (whole.subset(kept), at[kept], STEPS) for name, kept in rows.items()}
    found = {name: _judged(*of, seed) for name, of in sets.items()}
    as_often = round(STEPS * len(whole) / len(hashed))
    found["all, equal epochs"] = _judged(*sets["all"][:2], as_often, seed)
    found["all, one of a volume"] = _judged(*sets["all"], seed, each=1)
    for name in ("all", "hash"):  # of those volumes of which the hash keeps four
        data, place, steps = sets[name]
        some = _many(whole, hashed)[_group(data)].nonzero()[:, 0]
        found[f"{name}, four of a volume"] = _judged(data.subset(some), place[some], steps, seed, each=4)
    return found | {"untrained": _judged(*sets["all"][:2], 0, seed)}


def _many(whole: Arrays, kept: Tensor) -> Tensor:
    """(volumes,) bool: of which at least four slices are kept."""
    return _group(whole)[kept].bincount(minlength=VOLUMES) >= 4


def _group(data: Arrays) -> Tensor:
    assert data.group is not None
    return data.group


def _judged(data: Arrays, at: Tensor, steps: int, seed: int, each: int = 0) -> dict[str, float]:
    """Numbers after a training; ``each``: how many slices of a volume come together, 0 as chance has it."""
    train, test = digits("train", size=SIDE), digits("test", size=SIDE)
    views = SimCLRCrops(size=SIDE, flip=0.0)
    config = SimCLR.Config(encoder=ENCODER, hidden=64, dim=32, temperature=0.2, views=views)
    shown = ByGroup(data, each) if each else data
    method, _ = trained(config, seed, shown, steps=steps, batch=BATCH)
    met = twins(shown, _group(data), at, seed)
    return {**asked(method.network, train, test, seed), "kept": float(len(data)), "twins": met}


CLAIM = Claim(
    paper=Paper(
        authors="Wolf, Payer, Lisson, Lisson, Beer, Götz, Ropinski",
        title="Less is More: Selective Reduction of CT Data for Self-Supervised Pre-Training of Deep "
        "Learning Models with Contrastive Learning Improves Downstream Classification Performance",
        venue="Computers in Biology and Medicine",
        year=2024,
        arxiv="2410.14524",
        where="tables of downstream AUC by reduction strategy",
    ),
    says="Slices kept by hash meet fewer that show the same, and features learned from them need fewer "
    "labels than those from all slices, at equal updates and at equal epochs, or from as many slices taken "
    "by stride or by chance.",
    arms=arms,
    expect=(
        Expect(arm="hash", than="all", metric="few"),
        Expect(arm="hash", than="every", metric="few"),
        Expect(arm="hash", than="random", metric="few"),
        Expect(arm="hash", than="all, equal epochs", metric="few"),
        Expect(arm="hash, four of a volume", than="all, four of a volume", metric="few"),
        Expect(arm="hash", than="random", metric="twins", better="lower"),
    ),
    differs="64 volumes of 32 slices of 16 pixels that morph between three digits of scikit-learn, now fast "
    "and now hardly at all; SimCLR with a small network and 200 steps of 64 with Adam instead of SwAV, and "
    "of all slices also as many epochs as the kept ones have then; judged on digits by nearest neighbors "
    "and by a ridge probe on 5 labels per class, mean of 10 draws. Twins are slices of a volume in one batch "
    "that stand at nearly the same place.",
)
