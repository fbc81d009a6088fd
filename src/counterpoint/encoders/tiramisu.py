"""Tiramisu: the dense U-Net of the CoMIR paper.

Jégou, Drozdzal, Vazquez, Romero, Bengio. The One Hundred Layers Tiramisu: Fully Convolutional DenseNets for
Semantic Segmentation. 2017. arXiv:1611.09326. Here in the form of CoMIR (arXiv:2006.06325): compression in
the transitions down, nearest-neighbor upsampling followed by a convolution in the transitions up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.errors import InputError


class Tiramisu(Encoder):
    """Dense blocks: every layer sees all layers of its block before it and adds ``growth`` channels.

    Any size goes in: it is mirrored at the lower and right edge up to a multiple of ``multiple`` and cropped
    back. Batch normalization and dropout: call ``eval()`` before whole images go in.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(EncoderConfig):
        """Settings of a dense U-Net; the defaults are those of the paper's microscopy networks."""

        channels: int = 1
        """Channels of the input image."""
        out: int = 1
        """Channels of the map; 1 or 3 can be looked at."""
        first: int = 32
        """Channels of the first convolution."""
        down: tuple[int, ...] = (4, 4, 4, 4, 4, 4)
        """Layers of each dense block on the way down."""
        up: tuple[int, ...] = (4, 4, 4, 4, 4, 4)
        """Layers of each dense block on the way up, the deepest first; as many as in ``down``."""
        bottleneck: int = 4
        """Layers of the deepest dense block."""
        growth: int = 12
        """Channels that each layer adds."""
        compression: float = 0.75
        """Share of its channels that a transition down passes on, in (0, 1]."""
        dropout: float = 0.2
        """Chance that a value is set to 0 after each convolution of a block, in [0, 1); where it is not 0,
        transitions down drop whole channels with chance 0.2."""

        def __post_init__(self) -> None:
            counts = (*self.down, *self.up, self.bottleneck, self.growth, self.first, self.channels, self.out)
            if not self.down or len(self.down) != len(self.up) or min(counts) < 1:
                raise InputError(f"tiramisu: expected positive numbers, as many down as up, found {self}")
            if not 0 < self.compression <= 1 or not 0 <= self.dropout < 1:
                raise InputError(f"tiramisu: expected compression in (0, 1], dropout in [0, 1), found {self}")

        @classmethod
        def paper(cls, channels: int = 1, out: int = 1) -> Self:
            """The networks of the paper's microscopy experiments: 1.05 million parameters, six poolings."""
            return cls(channels=channels, out=out)

        @classmethod
        def small(cls, channels: int = 1, out: int = 3) -> Self:
            """The networks of the paper's aerial experiment: 0.17 million parameters, three poolings."""
            three = (2, 2, 2)
            return cls(
                channels=channels,
                out=out,
                first=16,
                down=three,
                up=three,
                bottleneck=3,
                compression=1.0,
                dropout=0.0,
            )

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        growth, drop = config.growth, config.dropout
        self.first = nn.Conv2d(config.channels, config.first, 3, padding=1)
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        width, skips = config.first, []
        for layers in config.down:
            self.down.append(_Block(width, growth, layers, drop))
            width += growth * layers
            skips.append(width)
            self.shrink.append(_shrink(width, int(width * config.compression), drop))
            width = int(width * config.compression)
        self.taps = {f"down.{i}": skip for i, skip in enumerate(skips)}
        self.bottleneck = _Block(width, growth, config.bottleneck, drop, fresh=True)
        width = growth * config.bottleneck
        self.taps["bottleneck"] = width
        self.grow, self.up = nn.ModuleList(), nn.ModuleList()
        for i, layers in enumerate(config.up):
            last = i == len(config.up) - 1
            self.grow.append(_grow(width))
            width += skips.pop()
            self.up.append(_Block(width, growth, layers, drop, fresh=not last))
            width = width + growth * layers if last else growth * layers
            self.taps[f"up.{i}"] = width
        self.head = nn.Conv2d(width, config.out, 1, bias=False)
        self.taps["head"] = self.out_dim = config.out
        self.multiple = 2 ** len(config.down)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) → (B, out, H, W), any H and W."""
        height, width = x.shape[-2:]
        x = _mirrored(_mirrored(x, -2, self.multiple), -1, self.multiple)
        x, skips = self.first(x), []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            x = block(x)
            skips.append(x)
            x = shrink(x)
        x = self.bottleneck(x)
        for grow, block in zip(self.grow, self.up, strict=True):
            x = block(torch.cat([skips.pop(), grow(x)], 1))
        return self.head(x)[..., :height, :width]


class _Block(nn.Module):
    """A dense block; ``fresh`` ones pass on only what their layers added."""

    def __init__(self, width: int, growth: int, layers: int, dropout: float, fresh: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_layer(width + i * growth, growth, dropout) for i in range(layers))
        self.kept = int(fresh)

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for layer in self.layers:
            seen.append(layer(torch.cat(seen, 1)))
        return torch.cat(seen[self.kept :], 1)


def _layer(width: int, growth: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm2d(width), nn.ReLU(True), nn.Conv2d(width, growth, 3, padding=1), nn.Dropout(dropout)
    )


def _shrink(width: int, out: int, dropout: float) -> nn.Sequential:
    drop = nn.Dropout2d(0.2 if dropout else 0.0)
    return nn.Sequential(
        nn.BatchNorm2d(width), nn.ReLU(True), nn.Conv2d(width, out, 1), drop, nn.MaxPool2d(2)
    )


def _grow(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1), nn.ReLU(True))


def _mirrored(x: Tensor, axis: int, multiple: int) -> Tensor:
    """``x`` reflected at the end of ``axis`` up to a multiple; to and fro where it is short."""
    size = x.shape[axis]
    missing = -size % multiple
    if not missing:
        return x
    to_and_fro: Sequence[int] = [*range(size), *range(size - 2, 0, -1)]
    index = [to_and_fro[i % len(to_and_fro)] for i in range(size + missing)]
    return x.index_select(axis, torch.tensor(index, device=x.device))
