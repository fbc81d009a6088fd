"""AMCL: several heads, each with its own likeness of images, and a learned temperature for every pair.

Wang, Koniusz, Gedeon, Zheng. Adaptive Multi-head Contrastive Learning. ECCV 2024. arXiv:2310.05615.

The form for SimCLR, as the paper's tables have it; the released code has a sigmoid alone in its place. What
the heads learn is summed; heads and temperatures are left behind after training. Only their first weights
make heads differ: alike at the start, they would stay so.

Not as in the paper: a ResNet-18 with a stem for small images by default. The paper searches the weight of the
price and how many negatives count for every data set.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.errors import InputError
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.roles import Roles
from counterpoint.core.types import Pairs, Progress, Terms, Views
from counterpoint.encoders.resnet import ResNet
from counterpoint.heads.mlp import mlp
from counterpoint.objectives.adaptive import pair_temperatures, price_of_pairs
from counterpoint.objectives.contrastive import cosine_logits, decoupled
from counterpoint.pairs.hard import hardest
from counterpoint.pairs.ids import same_sample
from counterpoint.views.presets import SimCLRCrops


class AMCL(Method):
    """Multi-head contrast with adaptive temperatures."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of AMCL."""

        heads: int = 4
        """How many projectors (the paper's C); 3 to 5 there."""
        adaptive: bool = True
        """Learn a temperature for every pair; else all have ``temperature``."""
        low: float = 1e-5
        """Least temperature a pair may have, > 0; 0.05 is safer where the price is not searched for."""
        high: float = 2.0
        """Greatest temperature a pair may have."""
        price: float = 0.02
        """Weight of what temperatures cost (the paper's β), ≥ 0."""
        negatives: int = 1
        """How many of an anchor's hardest negatives push it (κ): their maximum by default, 0 for all."""
        temperature: float = 0.2
        """What the cosines are divided by if it is not learned, > 0."""
        phi: int = 128
        """Width of the perceptron, shared by the heads, that temperatures are read from."""
        encoder: EncoderConfig = field(default_factory=ResNet.Config)
        """The network whose features are wanted."""
        hidden: int = 2048
        """Width of a head's hidden layer."""
        dim: int = 128
        """Width of a head's embedding."""
        views: SimCLRCrops = field(default_factory=SimCLRCrops)
        """How two crops of an image are made."""

    needs = frozenset({"image"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        if config.heads < 1 or not 0 < config.low <= config.high:
            raise InputError(
                "amcl: expected at least one head and 0 < low ≤ high, found "
                f"{config.heads}, {config.low} and {config.high}"
            )
        self.config, self.settings = config, config
        self.views = config.views.build()
        self.encoder = config.encoder.build()
        width = self.encoder.out_dim
        self.heads = nn.ModuleList(
            mlp(width, config.hidden, config.dim, last_norm=True) for _ in range(config.heads)
        )
        self.phi = mlp(config.dim, config.phi, config.dim, norm=False) if config.adaptive else None

    def loss(self, views: Views, at: Progress) -> Terms:  # noqa: ARG002 -- the same at every step
        """The sum over heads of the paper's objective for SimCLR, mean over the 2B anchors."""
        features = self.encoder(torch.cat([v.x for v in views]))
        pairs = same_sample(torch.cat([v.ids for v in views]))
        found = [self._of_head(normalize(head(features), dim=1), pairs) for head in self.heads]
        contrast, price, near, far = (torch.stack(each) for each in zip(*found, strict=True))
        notes = {"temperature of positives": near.mean(), "temperature of negatives": far.mean()}
        parts = {"contrast": contrast.sum(), "price": price.sum()}
        return Terms(parts, weights={"price": self.settings.price}, notes=notes)

    def network(self, role: str) -> Encoder:
        """The encoder, role "image": (B, C, H, W) → (B, out_dim)."""
        return Roles({"image": self.encoder})[role]

    def _of_head(self, z: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Contrast and price of one head, unweighted, and the mean temperatures of its pairs."""
        s = self.settings
        if self.phi is None:
            temperature = torch.full_like(pairs.positive, s.temperature, dtype=torch.float32)
        else:
            temperature = pair_temperatures(self.phi(z), s.low, s.high)
        logits = cosine_logits(z, z, temperature)
        among = hardest(logits, pairs.negative, s.negatives) if s.negatives else pairs.negative
        contrast = decoupled(logits, Pairs(pairs.positive, among))
        one = hardest(logits, pairs.negative, 1)
        price = price_of_pairs(temperature, pairs.positive, one, s.dim)
        near, far = (temperature.detach()[mask].mean() for mask in (pairs.positive, pairs.negative))
        return contrast, price, near, far
