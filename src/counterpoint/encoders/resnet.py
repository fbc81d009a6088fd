"""ResNet: residual networks of 18 to 101 layers, with a stem for small images.

He, Zhang, Ren, Sun. Deep Residual Learning for Image Recognition. CVPR 2016. arXiv:1512.03385. With the
stride of a bottleneck in its 3×3 convolution, and layers named as in torchvision, whose weights fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.errors import InputError

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
"""Depth → blocks of each of the four stages (the paper's table 1)."""


class ResNet(Encoder):
    """A stem, four stages of residual blocks, each at half the resolution of the one before, an average."""

    @dataclass(frozen=True, kw_only=True)
    class Config(EncoderConfig):
        """Settings of a residual network."""

        channels: int = 3
        """Channels of the input image."""
        depth: Literal[18, 34, 50, 101] = 18
        """Layers; from 50 on blocks are bottlenecks, and features four times as wide."""
        width: int = 64
        """Channels of the first stage (the paper's 64); each stage doubles them."""
        stem: Literal["small", "full"] = "small"
        """The first layer: "small" is a 3×3 convolution that keeps the resolution, for images up to about 64
        pixels; "full" the paper's 7×7 of stride 2 and max-pooling, a quarter of the resolution."""
        zero_last: bool = False
        """Start the last normalization of each block at 0, so that blocks begin as identities (Goyal et al.
        2017, arXiv:1706.02677); the weights before it get no gradient until the first update."""

        def __post_init__(self) -> None:
            if min(self.channels, self.width) < 1:
                raise InputError(f"resnet: expected positive channels and width, found {self}")

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        small, width = config.stem == "small", config.width
        self.conv1 = _conv(config.channels, width, 3 if small else 7, 1 if small else 2)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, stride=2, padding=1)
        wider = 1 if config.depth < 50 else 4
        self.taps, before = {"maxpool": width}, width
        for i, count in enumerate(BLOCKS[config.depth]):
            stage = nn.Sequential()
            for j in range(count):
                inner = width * 2**i
                stage.append(_Block(before, inner, inner * wider, stride=2 if i and not j else 1))
                before = inner * wider
            self.add_module(f"layer{i + 1}", stage)
            self.taps[f"layer{i + 1}"] = before
        self.out_dim = before
        self._begin(config.zero_last)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) → (B, out_dim), any H and W; out_dim is 8·width, from depth 50 on 32·width."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for i in range(4):
            x = self.get_submodule(f"layer{i + 1}")(x)
        return x.mean((2, 3))

    def _begin(self, zero_last: bool) -> None:
        """He's normal initialization (arXiv:1502.01852), by the number of outputs."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, _Block) and zero_last:
                nn.init.zeros_(module.get_submodule(f"bn{module.count}").get_parameter("weight"))


class _Block(nn.Module):
    """Two 3×3 convolutions, or 1×1, 3×3 and 1×1 up to four times the width; added to a shortcut."""

    def __init__(self, channels: int, width: int, out: int, stride: int) -> None:
        super().__init__()
        sides = (3, 3) if out == width else (1, 3, 1)
        widths = [channels, *[width] * (len(sides) - 1), out]
        for i, (side, (before, after)) in enumerate(zip(sides, pairwise(widths), strict=True)):
            self.add_module(f"conv{i + 1}", _conv(before, after, side, stride if i == sides.index(3) else 1))
            self.add_module(f"bn{i + 1}", nn.BatchNorm2d(after))
        self.count = len(sides)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride > 1 or channels != out:
            self.downsample = nn.Sequential(_conv(channels, out, 1, stride), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        for i in range(1, self.count + 1):
            x = self.get_submodule(f"bn{i}")(self.get_submodule(f"conv{i}")(x))
            x = self.relu(x) if i < self.count else self.relu(x + shortcut)
        return x


def _conv(channels: int, width: int, side: int, stride: int = 1) -> nn.Conv2d:
    """A padded convolution without bias: a batch normalization follows."""
    return nn.Conv2d(channels, width, side, stride=stride, padding=side // 2, bias=False)
