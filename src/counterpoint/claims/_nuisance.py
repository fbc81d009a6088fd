"""Digits behind a loud pattern that says nothing of them, and attributes that do."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from counterpoint.claims._digits import asked
from counterpoint.claims._trial import trained
from counterpoint.core.method import MethodConfig
from counterpoint.core.rng import generator
from counterpoint.core.types import Batch
from counterpoint.data.arrays import Arrays
from counterpoint.data.digits import digits
from counterpoint.tasks.features import Embedded, features
from counterpoint.tasks.linear_probe import LinearProbe

SIDE, PATTERNS, ATTRIBUTES, WRONG = 16, 10, 12, 0.15
"""Pixels; how many patterns; attributes of a digit, and the share of them that are wrong."""


class Known(Arrays):
    """Images with an entry "prior" beside them."""

    def __init__(self, image: Tensor, label: Tensor, prior: Tensor) -> None:
        super().__init__(image, label, name="digits behind patterns")
        self.prior = prior
        self.provides |= {"prior"}

    def _batch(self, index: Tensor) -> Batch:
        return {**super()._batch(index), "prior": self.prior[index]}


def puzzle(part: str) -> tuple[Known, Tensor]:
    """Digits with patterns and attributes, and which pattern each has; the same for all times."""
    plain, rng = digits(part, size=SIDE), generator(0, "puzzle", part)
    code = (torch.rand(10, ATTRIBUTES, generator=generator(0, "attributes")) < 0.5).float()
    pattern = torch.rand(PATTERNS, 1, SIDE // 2, SIDE // 2, generator=generator(0, "patterns")).round()
    which = torch.randint(PATTERNS, (len(plain),), generator=rng)
    label = plain.label
    assert label is not None
    loud = nn.functional.interpolate(pattern, scale_factor=2)[which]
    flips = (torch.rand(len(plain), ATTRIBUTES, generator=rng) < WRONG).float()
    return Known(0.5 * plain.image + 0.5 * loud, label, (code[label] - flips).abs()), which


def judged(
    config: MethodConfig,
    seed: int,
    *,
    prior: Tensor | None = None,
    label: Tensor | None = None,
    steps: int = 240,
) -> dict[str, float]:
    """Train on the puzzle, with another prior or other labels if given, and ask frozen features.

    "probe": linear accuracy of the digit from all labels; "pattern": that of the pattern.
    """
    (train, loud), (test, loud_test) = puzzle("train"), puzzle("test")
    truth = train.label
    assert truth is not None
    shown = Known(train.image, truth if label is None else label, train.prior if prior is None else prior)
    method, log = trained(config, seed, shown, steps=steps, batch=256)
    a, b = (features(method.network("image"), data) for data in (train, test))
    notes = log[-1]["notes"] if log else {}
    nuisance = probed(Embedded(a.z, a.id, loud), Embedded(b.z, b.id, loud_test), seed)
    numbers = {"probe": probed(a, b, seed), "pattern": nuisance, **asked(method.network, train, test, seed)}
    return numbers | {name: float(value) for name, value in notes.items()}


def prior_alone(seed: int) -> dict[str, float]:
    """What the attributes themselves say of the digit, if one had them at the test."""
    train, test = puzzle("train")[0], puzzle("test")[0]
    a, b = (Embedded(x.prior, torch.arange(len(x)), x.label) for x in (train, test))
    return {"probe": probed(a, b, seed)}


def probed(train: Embedded, test: Embedded, seed: int) -> float:
    """Accuracy of a linear probe from all labels."""
    return LinearProbe(LinearProbe.Config()).judge(train, test, seed)["accuracy"]
