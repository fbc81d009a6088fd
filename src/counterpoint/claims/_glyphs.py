"""Drawn characters of an alphabet nobody knows: many classes, as digits are not, and a trial on them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from counterpoint.claims._digits import asked, embedded
from counterpoint.claims._trial import trained
from counterpoint.core.method import MethodConfig
from counterpoint.core.rng import generator
from counterpoint.data.arrays import Arrays
from counterpoint.encoders.convnet import ConvNet
from counterpoint.metrics.geometry import uniformity
from counterpoint.tasks.features import evaluating

SIDE, CLASSES = 16, 64
"""Pixels of a character; how many characters the alphabet has."""
COUNT = {"train": 24, "test": 8}
"""How often each is written."""
ENCODER = ConvNet.Config(channels=1, width=16)
DIFFERS = (
    "Drawn characters of 64 classes at 16 pixels, 24 of each to learn from, a small network, {steps} steps "
    "of 64 with Adam; judged by nearest neighbors and by a ridge probe on 5 labels per class, mean of 10 "
    "draws. Crops are not mirrored: characters have sides."
)


def glyphs(part: str) -> Arrays:
    """Characters of two strokes; every writing bends, turns, shifts and thickens them. Always the same."""
    label = torch.arange(CLASSES).repeat(COUNT[part])
    alphabet = torch.rand(CLASSES, 2, 4, 2, generator=generator(0, "alphabet")) * 2 - 1
    drawn = torch.randn(len(label), 24, generator=generator(0, "glyphs", part))
    points = alphabet[label] + 0.12 * drawn[:, :16].view(-1, 2, 4, 2)
    turn = torch.eye(2) * (1 + 0.1 * drawn[:, 16, None, None]) + 0.12 * drawn[:, 17:21].view(-1, 2, 2)
    points = torch.einsum("nspi,nij->nspj", 0.7 * points, turn) + 0.1 * drawn[:, None, None, 21:23]
    image = _written(points, drawn[:, 23])
    noise = torch.randn(image.shape, generator=generator(0, "paper", part))
    return Arrays((image + 0.08 * noise).clamp(0, 1), label, name="glyphs")


def judged(config: MethodConfig, seed: int, *, steps: int = 480) -> dict[str, float]:
    """Train a method (not at all for 0 steps) and judge its encoder; its last notes stand beside that.

    Also "uniform": the uniformity of the test samples' embeddings by the projector, lower is more even.
    """
    train, test = glyphs("train"), glyphs("test")
    method, log = trained(config, seed, train, steps=steps)
    notes = [line["notes"] for line in log[-100:]]
    last = {name: sum(n[name] for n in notes) / len(notes) for name in (notes[-1] if notes else ())}
    projector = method.get_submodule("projector")
    with evaluating(method):
        z: Tensor = normalize(projector(method.network("image")(test.image)), dim=1)
    numbers = asked(method.network, train, test, seed) | embedded(method, test)
    return numbers | {"uniform": uniformity(z)} | last


def pixels(seed: int) -> dict[str, float]:
    """The judges' answer for raw pixels: what no network at all is worth."""
    return asked(lambda _role: nn.Flatten(), glyphs("train"), glyphs("test"), seed)


def _written(points: Tensor, thickness: Tensor) -> Tensor:
    """(N, 1, S, S) in [0, 1]: Bézier strokes (N, 2, 4, 2), by the distance of pixels to them."""
    t = torch.linspace(0, 1, 20)
    law = torch.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    line = torch.einsum("nspi,pt->nsti", points, law).flatten(1, 2)
    axis = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
    pixel = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).view(-1, 2)
    far = torch.cdist(pixel.expand(len(line), -1, -1), line).amin(2)
    width = (0.12 + 0.03 * thickness.clamp(-2, 2))[:, None]
    return ((width - far) * SIDE / 2 + 0.5).clamp(0, 1).view(-1, 1, SIDE, SIDE)
