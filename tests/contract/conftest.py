"""How the contracts get at a part they know nothing of but its name.

Two conventions make that possible. Settings are made small by rule: an encoder becomes a tiny one that gives
features of the same shape (``TINY``), and settings of a well-known name become small numbers (``NUMBERS``).
A batch is made from ``needs``: ``SAMPLES`` says how the entry of each name looks; a method that needs a new
kind of entry adds it there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from counterpoint.core.config import Config
from counterpoint.core.encoder import EncoderConfig
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.types import Batch
from counterpoint.encoders.convnet import ConvNet
from counterpoint.encoders.unet import UNet

SIZE = 16
"""Side of a patch in pixels."""


def scenes(count: int, side: int) -> Tensor:
    """(count, 1, side, side) in [0, 1]: waves of random direction and phase."""
    rng = torch.Generator().manual_seed(11)
    k, phase = torch.rand(count, 2, 4, generator=rng) - 0.5, 6.3 * torch.rand(count, 1, 1, 4, generator=rng)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    waves = (
        x[None, :, :, None] * k[:, None, None, 0] + y[None, :, :, None] * k[:, None, None, 1] + phase
    ).cos()
    return (0.5 + waves.mean(-1) / 2)[:, None]


SAMPLES: dict[str, Callable[[Tensor], Tensor]] = {
    "image": lambda scene: scene,
    "label": lambda scene: torch.arange(len(scene)) // 2,
    "fixed": lambda scene: scene,
    "moving": lambda scene: (1 - scene).square(),
}
"""Entry of a batch → how it shows (B, 1, T, T) scenes."""


class Samples:
    """Aligned entries for what a method needs; an epoch is 8 of them in random order."""

    def __init__(self, method: Method) -> None:
        self.provides = method.needs | {"id"}
        # A viewer that cuts patches out of larger tiles says how large.
        scene = scenes(len(self), getattr(method.views, "tile", SIZE))
        self.entries = {name: SAMPLES[name](scene) for name in method.needs}

    def __len__(self) -> int:
        return 8

    def steps(self, size: int) -> int:
        return len(self) // size

    def epoch(self, size: int, rng: torch.Generator, start: int = 0) -> Iterator[Batch]:
        for ids in torch.randperm(len(self), generator=rng).split(size)[start:]:
            yield {name: entry[ids] for name, entry in self.entries.items()} | {"id": ids}


TINY: dict[str, Callable[[EncoderConfig], EncoderConfig]] = {
    "unet": lambda _: UNet.Config(widths=(3, 4)),
    "tiramisu": lambda _: UNet.Config(widths=(3, 4)),
    "vit": lambda old: dataclasses.replace(old, channels=1, size=SIZE, patch=4, dim=8, depth=1, heads=2),
}
"""Kind of encoder → a tiny one; all others give one row a sample and become a narrow ConvNet."""
NUMBERS = {
    "size": SIZE, "local": 8, "locals": 1, "hidden": 8, "predictor": 8, "dim": 6, "prototypes": 5, "queue": 6,
    "decoder": 8, "decoder_depth": 1, "decoder_heads": 2, "freeze": 0.0, "start": 0,
    "split": "bands",  # these images have no color
}  # fmt: skip
"""Well-known settings, small; none of a queue or a frozen start is left out."""


def shrunk(config: Config) -> Config:
    """The settings made small by rule, those of parts too."""
    changes: dict[str, object] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, EncoderConfig):
            tiny = TINY.get(value.kind, lambda _: ConvNet.Config(channels=1, width=4))
            changes[field.name] = tiny(value)
        elif isinstance(value, Config):
            changes[field.name] = shrunk(value)
        elif field.name in NUMBERS:
            changes[field.name] = NUMBERS[field.name]
    return dataclasses.replace(config, **changes)


@pytest.fixture
def small() -> Callable[[type[Config]], MethodConfig]:
    """Small settings of a method."""
    return lambda config: shrunk(config())


@pytest.fixture
def samples() -> type[Samples]:
    """Data for a method."""
    return Samples


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
