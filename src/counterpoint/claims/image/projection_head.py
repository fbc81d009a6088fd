"""What crops disturb is kept below a head and lost above it, by a square root; a diagonal serves as well."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from counterpoint.claims._digits import ENCODER, SIDE
from counterpoint.claims._nuisance import Known, probed, puzzle
from counterpoint.claims._trial import trained
from counterpoint.core.claim import Arms, Claim, Expect, Paper
from counterpoint.core.rng import generator
from counterpoint.core.types import Batch, View, Views
from counterpoint.data.digits import digits
from counterpoint.methods.image.projection_head import ProjectionHead
from counterpoint.objectives.spectral import spectral
from counterpoint.tasks.features import Embedded, features
from counterpoint.views.image import Crops, MultiCrop
from counterpoint.views.presets import SimCLRCrops

STEPS, BATCH, WIDTH = 240, 96, 64
"""Updates, images of each, features below and above the head."""
LINEAR = 6000
"""Updates of the linear network."""


@dataclass(frozen=True, kw_only=True)
class Dropping(SimCLRCrops):
    """Two weak crops, of which each shows the digit or, with probability ``dropped``, its pattern alone."""

    size: int = SIDE
    dropped: float = 0.5

    def crops(self) -> tuple[Crops, ...]:
        """One set of one."""
        return (Crops(size=self.size, area=(0.7, 1.0), strength=0.25, flip=0.0),)

    def build(self) -> MultiCrop:
        """The viewer."""
        return _Dropped(self.crops(), self.dropped)


class _Dropped(MultiCrop):
    def __init__(self, crops: tuple[Crops, ...], dropped: float) -> None:
        super().__init__(crops)
        self.dropped = dropped

    def __call__(self, batch: Batch, rng: torch.Generator) -> Views:
        views: list[View] = []
        for _ in range(2):
            gone = torch.rand(len(batch["id"]), generator=rng) < self.dropped
            shown = torch.where(gone[:, None, None, None], batch["bare"], batch["image"])
            views += super().__call__({"image": shown, "id": batch["id"]}, rng)
        return tuple(views)


class Overlaid(Known):
    """Digits over patterns, and beside them the patterns "bare"."""

    def __init__(self, known: Known, part: str) -> None:
        assert known.label is not None
        super().__init__(known.image, known.label, known.prior)
        self.bare = known.image - 0.5 * digits(part, size=SIDE).image

    def _batch(self, index: Tensor) -> Batch:
        return {**super()._batch(index), "bare": self.bare[index]}


def arms(seed: int) -> Arms:
    """A learned head, none, and diagonals, by how often crops lose the digit; and the linear theory."""
    base = ProjectionHead.Config(encoder=ENCODER, hidden=WIDTH, dim=WIDTH, head="mlp")
    heads = {"learned head": base, "no head": replace(base, head="none")}
    heads |= {f"diagonal {k}": replace(base, head="diagonal", kappa=k) for k in (1.2, 1.1, 1.05)}
    asked = {0.0: ["learned head"], 0.5: list(heads), 0.9: list(heads)[:3]}
    found = {
        f"{head}, dropped {dropped:g}": judged(replace(heads[head], views=Dropping(dropped=dropped)), seed)
        for dropped, some in asked.items()
        for head in some
    }
    found["untrained"] = judged(replace(base, views=Dropping()), seed, steps=0)
    return {**found, **linear(seed)}


def judged(config: ProjectionHead.Config, seed: int, *, steps: int = STEPS) -> dict[str, float]:
    """Linear accuracy of digit and pattern below the head and above it; "gap" is what the digit loses."""
    (known, loud), (test, loud_test) = puzzle("train"), puzzle("test")
    method, _ = trained(config, seed, Overlaid(known, "train"), steps=steps, batch=BATCH)
    below = method.network("image")
    numbers: dict[str, float] = {}
    for place, network in (("below", below), ("above", nn.Sequential(below, method.projector))):  # pyright: ignore[reportArgumentType]
        a, b = (features(network, data) for data in (known, test))
        numbers[f"digit {place}"] = probed(a, b, seed)
        a, b = Embedded(a.z, a.id, loud), Embedded(b.z, b.id, loud_test)
        numbers[f"pattern {place}"] = probed(a, b, seed)
    return numbers | {"gap": numbers["digit below"] - numbers["digit above"]}


def linear(seed: int) -> Arms:
    """Two linear layers under the spectral loss: how far weights are from a law, and from its square root.

    Ten features of sign ±1 and noise σ of each view; the law says 1 / (1 + σ²) above the second layer and its
    root above the first. Mean absolute "error" over the features.
    """
    sigma, rng = torch.linspace(0, 2, 10), generator(seed, "linear")
    first, second = (nn.Parameter(0.1 * torch.randn(10, 10, generator=rng)) for _ in range(2))
    optimizer = torch.optim.SGD([first, second], lr=0.01)
    for _ in range(LINEAR):
        sign = (torch.rand(256, 10, generator=rng) < 0.5).float() * 2 - 1
        x = sign + sigma * torch.randn(2, 256, 10, generator=rng)
        optimizer.zero_grad()
        z = x @ first.T @ second.T
        spectral(z[0], z[1]).backward()
        optimizer.step()
    law, whole = 1 / (1 + sigma.square()), (second @ first).detach()
    weights = {"below": first.detach().norm(dim=0), "above": whole.norm(dim=0)}
    return {
        f"linear, {place}, {name}": {"error": float((weight - of).abs().mean())}
        for place, weight in weights.items()
        for name, of in (("law", law), ("root", law.sqrt()))
    }


CLAIM = Claim(
    paper=Paper(
        authors="Xue, Gan, Ni, Joshi, Mirzasoleiman",
        title="Investigating the Benefits of Projection Head for Representation Learning",
        venue="ICLR",
        year=2024,
        arxiv="2403.11391",
        where="theorem on linear networks; digits over images with augmentation that drops the digit",
    ),
    says="In a linear network weights below the head are the root of those above. In a network the digit "
    "that crops often lose is told better below a head than above, the more so the oftener it is lost, and "
    "better than without a head. A fixed diagonal serves as well.",
    arms=arms,
    expect=(
        Expect(
            arm="linear, below, root", than="linear, below, law", metric="error", better="lower", margin=0.05
        ),
        Expect(
            arm="linear, above, law", than="linear, above, root", metric="error", better="lower", margin=0.05
        ),
        Expect(arm="learned head, dropped 0.9", than="learned head, dropped 0", metric="gap"),
        Expect(arm="learned head, dropped 0.5", than="no head, dropped 0.5", metric="digit below"),
        Expect(arm="diagonal 1.2, dropped 0.5", than="no head, dropped 0.5", metric="digit below"),
        Expect(
            arm="diagonal 1.2, dropped 0.5",
            than="learned head, dropped 0.5",
            metric="digit below",
            margin=-0.02,
        ),
    ),
    differs=f"The linear network: ten features, {LINEAR} steps of 256. Images: digits of scikit-learn at 16 "
    f"pixels half hidden behind one of 10 patterns, a small network of {WIDTH} features, {STEPS} steps of "
    f"{BATCH} with Adam, as many dimensions above the head; ridge probes on all labels. The diagonal that "
    "counts falls to 1e-5, those of 1.1 and 1.05 to 2e-3 and 5e-2.",
)
