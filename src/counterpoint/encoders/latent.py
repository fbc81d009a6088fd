"""Latent: a network to a short code, and a perceptron on from it: an autoencoder less its last layer."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.errors import InputError
from counterpoint.encoders.convnet import ConvNet


class Latent(Encoder):
    """Features are what a decoder holds right before its last layer; the code can be read at "code".

    So they are "informative embeddings" (Livne 2025, arXiv:2502.19642) wherever the decoder was trained to
    give images back: what it makes of a code it needs for them.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(EncoderConfig):
        """Settings of a network with a code inside."""

        channels: int = 3
        """Channels of the image; the network that reads it takes these, whatever it says itself."""
        encoder: EncoderConfig = field(default_factory=ConvNet.Config)
        """The network that reads the image."""
        dim: int = 64
        """Width of the code."""
        hidden: int = 256
        """Width of the decoder's two layers, and of the features."""

        def __post_init__(self) -> None:
            if min(self.channels, self.dim, self.hidden) < 1:
                raise InputError(f"latent: expected positive channels, dim and hidden, found {self}")

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        known: dict[str, Any] = {"channels": config.channels} if hasattr(config.encoder, "channels") else {}
        self.encoder = replace(config.encoder, **known).build()
        self.code = nn.Linear(self.encoder.out_dim, config.dim)
        self.decoder = nn.Sequential(
            nn.Linear(config.dim, config.hidden),
            nn.ReLU(),
            nn.Linear(config.hidden, config.hidden),
            nn.ReLU(),
        )
        self.out_dim, self.multiple = config.hidden, self.encoder.multiple
        self.taps = {"code": config.dim, "decoder": config.hidden}

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) → (B, hidden)."""
        return self.decoder(self.code(self.encoder(x)))
