"""How the contracts get at a part they know nothing of but its name.

Two conventions make that possible. Settings are made small by rule: every encoder of a method becomes a
narrow U-Net, and ``size``, the side of a patch in pixels, becomes 16. A batch is made from ``needs``:
``SAMPLES`` says how the entry of each name looks; a method that needs a new kind of entry adds it there.
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

    def epoch(self, size: int, rng: torch.Generator) -> Iterator[Batch]:
        for ids in torch.randperm(len(self), generator=rng).split(size):
            yield {name: entry[ids] for name, entry in self.entries.items()} | {"id": ids}


def shrunk(config: MethodConfig) -> MethodConfig:
    """The settings made small by rule."""
    changes: dict[str, object] = {}
    for field in dataclasses.fields(config):
        if isinstance(getattr(config, field.name), EncoderConfig):
            changes[field.name] = UNet.Config(widths=(3, 4))
        elif field.name == "size":
            changes[field.name] = SIZE
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
