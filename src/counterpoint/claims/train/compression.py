"""Compression: gradients sent by few bytes teach as well as whole ones, if what was not sent is sent later.

Karimireddy, Rebjock, Stich, Jaggi. Error Feedback Fixes SignSGD and other Gradient Compression Schemes. ICML
2019. arXiv:1901.09847.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from torch import nn
from torch.nn.functional import cross_entropy

from counterpoint.claims._large import SGD, Score, batches, climbed, network, parts, right, settle
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.data.arrays import Arrays
from counterpoint.train import optim
from counterpoint.train.compress import Compressed, Kind, PowerSGD, Sign, TopK, Whole

WORKERS, ROWS, UPDATES, WIDTH, MOMENTUM = 4, 16, 200, 16, 0.9
"""Simulated workers, rows of each, updates; channels of the network's first layer; momentum of all arms."""
KINDS: dict[str, Kind] = {
    "whole": Whole(),
    "signs": Sign(),
    "signs, forgotten": Sign(feedback=False),
    "top 1 %": TopK(share=0.01),
    "top 1 %, momentum before": TopK(share=0.01, momentum=MOMENTUM),
    "top 1 %, forgotten": TopK(share=0.01, feedback=False),
    "rank 1": PowerSGD(rank=1),
    "rank 2": PowerSGD(rank=2),
}


def arms(seed: int) -> Arms:
    """Each way of sending, at its best rate."""
    data = parts(seed)
    found: dict[str, dict[str, float]] = {}
    for name, kind in KINDS.items():
        net, sent, rate = climbed(partial(_tried, kind, seed, data), 0.1)[1]
        numbers = {"accuracy": right(net, data["test"])[0], "loss": right(net, data["train"])[1]}
        found[name] = numbers | {"bytes": float(sent), "rate": rate}
    whole = found["whole"]["bytes"]
    return {name: numbers | {"bytes": numbers["bytes"] / whole} for name, numbers in found.items()}


def _tried(
    kind: Kind, seed: int, data: dict[str, Arrays], lr: float
) -> tuple[Score, tuple[nn.Module, int, float]]:
    """The loss in the end, by which rates are chosen; the network, bytes that each worker sent, the rate."""
    net = network(seed, WIDTH)
    made = Compressed(kind, net, workers=WORKERS)
    own = getattr(kind, "momentum", 0.0) * getattr(kind, "feedback", False)
    config = replace(SGD, lr=lr, momentum=0.0 if own else MOMENTUM)
    optimizer, source = optim.optimizer(net, config), batches(data["train"], WORKERS * ROWS, seed)
    named = dict(net.named_parameters())
    for step in range(UPDATES):
        image, label = next(source)
        gradients = []
        for x, y in zip(image.split(ROWS), label.split(ROWS), strict=True):
            net.zero_grad()
            cross_entropy(net(x), y).backward()
            gradients.append({name: p.grad for name, p in named.items() if p.grad is not None})
        for name, mean in made(gradients).items():
            named[name].grad = mean
        for group in optimizer.param_groups:
            group["lr"] = optim.rate(config, (step + 0.5) / UPDATES)
        optimizer.step()
    settle(net, data["train"])
    return right(net, data["train"])[1:], (net, made.sent, lr)


CLAIM = Claim(
    paper=Paper(
        authors="Karimireddy, Rebjock, Stich, Jaggi",
        title="Error Feedback Fixes SignSGD and other Gradient Compression Schemes",
        venue="ICML",
        year=2019,
        arxiv="1901.09847",
        where="section 6, experiments",
    ),
    says="After as many updates, signs and the largest hundredth of the gradient leave a smaller loss if "
    "what was not sent is remembered; with it, and with a product of rank 2, accuracy is that of whole "
    "gradients, for less than a tenth of the bytes.",
    arms=arms,
    expect=(
        Expect(arm="signs", than="signs, forgotten", metric="loss", better="lower"),
        Expect(arm="top 1 %", than="top 1 %, forgotten", metric="loss", better="lower"),
        Expect(arm="signs", than="whole", metric="accuracy", margin=-0.01),
        Expect(arm="top 1 %", than="whole", metric="accuracy", margin=-0.01),
        Expect(arm="rank 2", than="whole", metric="accuracy", margin=-0.01),
        Expect(arm="signs", than="whole", metric="bytes", better="lower", margin=0.9),
        Expect(arm="top 1 %", than="whole", metric="bytes", better="lower", margin=0.9),
        Expect(arm="rank 2", than="whole", metric="bytes", better="lower", margin=0.9),
    ),
    differs="Digits of scikit-learn at 8 pixels, 512 to train on, 773 as the test; a network of three "
    "convolutions with batch normalization, cross-entropy; four simulated workers with 16 rows each, 200 "
    "updates by SGD with momentum 0.9 of the average. The rate of each arm is that which leaves the smallest "
    "loss, a factor of 2 apart, for it is the loss that is compared. Momentum before is that of deep "
    "gradient compression (Lin et al. 2018, arXiv:1712.01887), without its clipping and its larger shares at "
    "first. The product of rank r is PowerSGD (Vogels et al. 2019, arXiv:1905.13727).",
)
