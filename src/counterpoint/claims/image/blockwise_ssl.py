"""Blocks that learn apart from each other learn nearly what a whole network does, and more block by block."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import torch

from counterpoint.claims._glyphs import DIFFERS, ENCODER, SIDE, glyphs
from counterpoint.claims._trial import trained
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.core.method import Method
from counterpoint.core.rng import generator, seed_all
from counterpoint.encoders.blocks import Blocks
from counterpoint.methods.image.blockwise_ssl import BlockwiseSSL
from counterpoint.tasks.features import features
from counterpoint.tasks.linear_probe import LinearProbe
from counterpoint.train.loop import fresh
from counterpoint.views.presets import BYOLCrops

STEPS, BATCH = 300, 128


def arms(seed: int) -> Arms:
    """Blockwise and end to end, what of it is left out, and labels in its place; asked behind every block."""
    blockwise = BlockwiseSSL.Config(
        encoder=ENCODER, blocks=3, expansion=64, hidden=64, dim=64, off_diagonal=0.05,
        views=BYOLCrops(size=SIDE, flip=0.0),
    )  # fmt: skip
    asked = {
        "blockwise": blockwise,
        "end to end": replace(blockwise, end_to_end=True),
        "without noise": replace(blockwise, noise=0.0),
        "without expansion": replace(blockwise, expansion=0),
        "labels in each block": replace(blockwise, classes=64),
    }
    methods = {
        arm: trained(c, seed, glyphs("train"), steps=STEPS, batch=BATCH)[0] for arm, c in asked.items()
    }
    methods["untrained"] = only(methods["blockwise"], 0, seed)
    methods["first block only"] = only(methods["blockwise"], 1, seed)
    found = {f"{arm}, block {k}": few(method, k, seed) for arm, method in methods.items() for k in (1, 2, 3)}
    last = {arm: found[f"{arm}, block 3"]["few"] for arm in methods}
    found["gain over untrained"] = {"few": last["blockwise"] - last["untrained"]}
    found["gap to end to end"] = {"few": last["end to end"] - last["blockwise"]}
    return found


def only(learned: Method, blocks: int, seed: int) -> Method:
    """A fresh method with the first blocks of another one; its normalization has seen the data."""
    assert isinstance(learned, BlockwiseSSL)
    method = fresh(replace(learned.settings, noise=0.0), seed)
    assert isinstance(method, BlockwiseSSL)
    for k in range(blocks):
        for part in (f"encoder.{learned.blocks.ends[k]}", f"heads.{k}"):
            theirs = learned.blocks.get_submodule(part).state_dict()
            method.blocks.get_submodule(part).load_state_dict(theirs)
    seed_all(seed, "statistics")
    with torch.no_grad():
        for batch in glyphs("train").epoch(BATCH, generator(seed, "statistics")):
            for view in method.views(batch, generator(seed, "statistics of views")):
                method.blocks.each(view.x)
    return method


def few(method: Method, block: int, seed: int) -> dict[str, float]:
    """Accuracy from 5 labels per class on the features of a block, counted from 1, mean of 10 draws."""
    network = method.network("image")
    assert isinstance(network, Blocks)
    train, test = (features(network, glyphs(part), tap=f"heads.{block - 1}") for part in ("train", "test"))
    probe = LinearProbe(LinearProbe.Config(labels="5/class"))
    return {"few": fmean(probe.judge(train, test, 100 * seed + draw)["accuracy"] for draw in range(10))}


CLAIM = Claim(
    paper=Paper(
        authors="Siddiqui, Krueger, LeCun, Deny",
        title="Blockwise Self-Supervised Learning at Scale",
        venue="TMLR",
        year=2024,
        arxiv="2302.01647",
        where="linear probes behind each block, comparison with end-to-end training",
    ),
    says="Without a gradient between blocks accuracy rises from block to block, and comes nearer to that of "
    "the network trained end to end than to that of the untrained one.",
    arms=arms,
    expect=(
        Expect(arm="blockwise, block 3", than="untrained, block 3", metric="few", margin=0.05),
        Expect(arm="blockwise, block 2", than="blockwise, block 1", metric="few"),
        Expect(arm="blockwise, block 3", than="blockwise, block 2", metric="few"),
        Expect(arm="blockwise, block 3", than="first block only, block 3", metric="few"),
        Expect(arm="gain over untrained", than="gap to end to end", metric="few"),
        Expect(arm="blockwise, block 3", than="without expansion, block 3", metric="few"),
    ),
    differs=DIFFERS.format(steps=STEPS).replace("of 64 with", f"of {BATCH} with")
    + " Three blocks of one convolution each, features and embeddings of 64 numbers, λ of 0.05.",
)
