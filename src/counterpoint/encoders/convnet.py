"""ConvNet: three strided convolutions and an average, for small images, tests and quick claims."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.errors import InputError


class ConvNet(Encoder):
    """Each layer halves the image and doubles the channels; the last map is averaged to features."""

    @dataclass(frozen=True, kw_only=True)
    class Config(EncoderConfig):
        """Settings of a small convolutional network."""

        channels: int = 3
        """Channels of the input image."""
        width: int = 32
        """Channels of the first layer; the second has 2×, the third and the features have 4× as many."""

        def __post_init__(self) -> None:
            if min(self.channels, self.width) < 1:
                raise InputError(f"convnet: expected positive channels and width, found {self}")

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * 2**i for i in range(3)]
        self.layers = nn.Sequential(*(_layer(a, b) for a, b in pairwise([config.channels, *widths])))
        self.out_dim = widths[-1]
        self.taps = {f"layers.{i}": width for i, width in enumerate(widths)}

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) → (B, 4·width), any H and W."""
        return self.layers(x).mean((2, 3))


def _layer(channels: int, width: int) -> nn.Sequential:
    """3×3 convolution of stride 2 (its bias would be taken off again), batch normalization, ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True)
    )
