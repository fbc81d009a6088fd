"""A tiny encoder with everything that makes resuming hard: running statistics and dropout."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from counterpoint.core.encoder import Encoder, EncoderConfig


class Toy(Encoder):
    """Convolution, batch normalization, dropout, convolution."""

    @dataclass(frozen=True, kw_only=True)
    class Config(EncoderConfig):
        """Settings of the toy."""

        width: int = 4
        """Channels of the hidden layer."""
        dropout: float = 0.2
        """Share of hidden values left out."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.inner = nn.Conv2d(1, config.width, 3, padding=1)
        self.norm = nn.BatchNorm2d(config.width)
        self.drop = nn.Dropout(config.dropout)
        self.head = nn.Conv2d(config.width, 2, 1)
        self.out_dim = 2
        self.taps = {"inner": config.width, "head": 2}

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, H, W) → (B, 2, H, W)."""
        return self.head(self.drop(self.norm(self.inner(x)).relu()))
