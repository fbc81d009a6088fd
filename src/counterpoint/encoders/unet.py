"""U-Net: a small convolutional network whose output is as large as its input.

Ronneberger, Fischer, Brox. U-Net: Convolutional Networks for Biomedical Image Segmentation. MICCAI 2015.
arXiv:1505.04597. Here with padded convolutions, batch normalization, and upsampling by interpolation.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.errors import InputError


class UNet(Encoder):
    """Two convolutions a level, max-pooling down, interpolation and skip connections up, a linear head.

    Batch normalization uses the statistics of the batch in training and those gathered over training in
    evaluation: call ``eval()`` before whole images go in, or their maps will depend on what else they show.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(EncoderConfig):
        """Settings of a U-Net."""

        channels: int = 1
        """Channels of the input image."""
        out: int = 1
        """Channels of the map; 1 or 3 can be looked at."""
        widths: tuple[int, ...] = (8, 16, 32)
        """Channels of each level, from full resolution down; the last is the bottleneck."""
        upsampling: Literal["nearest", "bilinear"] = "nearest"
        """How a level is brought to twice its size."""

        def __post_init__(self) -> None:
            if not self.widths or min(*self.widths, self.channels, self.out) < 1:
                raise InputError(f"unet: expected positive channels, out and widths, found {self}")

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        *widths, deepest = config.widths
        self.down = nn.ModuleList(_level(a, b) for a, b in pairwise([config.channels, *widths]))
        self.pool = nn.MaxPool2d(2)
        self.bottleneck = _level(widths[-1] if widths else config.channels, deepest)
        self.grow = nn.Upsample(scale_factor=2, mode=config.upsampling)
        self.up = nn.ModuleList(_level(a + b, b) for a, b in pairwise([deepest, *reversed(widths)]))
        self.head = nn.Conv2d(config.widths[0], config.out, 1)
        self.out_dim = config.out
        self.multiple = 2 ** len(widths)
        self.taps = {f"down.{i}": width for i, width in enumerate(widths)}
        self.taps |= {"bottleneck": deepest}
        self.taps |= {f"up.{i}": width for i, width in enumerate(reversed(widths))}
        self.taps |= {"head": config.out}

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) → (B, out, H, W); H and W must be multiples of ``multiple``."""
        if x.shape[-1] % self.multiple or x.shape[-2] % self.multiple:
            raise ValueError(
                f"x: expected height and width in multiples of {self.multiple}, found {tuple(x.shape)}"
            )
        skips = []
        for level in self.down:
            x = level(x)
            skips.append(x)
            x = self.pool(x)
        x = self.bottleneck(x)
        for level in self.up:
            x = level(torch.cat([self.grow(x), skips.pop()], 1))
        return self.head(x)


def _level(channels: int, width: int) -> nn.Sequential:
    """Twice: 3×3 convolution (its bias would be taken off again), batch normalization, ReLU."""
    layers: list[nn.Module] = []
    for before in (channels, width):
        layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True)]
    return nn.Sequential(*layers)
