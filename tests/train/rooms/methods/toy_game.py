"""A tiny game of two players: a critic tells two modalities apart, a maker turns one into the other."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from counterpoint.encoders.toy import Toy  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.types import Batch, Progress, Terms, View, Views


class ToyGame(Method):
    """Least squares between a critic and a maker."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of the toy."""

        maker: EncoderConfig = field(default_factory=Toy.Config)
        """The network that makes."""

    config: Config
    needs = frozenset({"fixed", "moving"})
    turns = ("critic", "maker")

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.maker = config.maker.build()
        self.critic = nn.Conv2d(2, 1, 3)

    def views(self, batch: Batch, rng: torch.Generator) -> Views:
        """The batch as it is."""
        return tuple(View(batch[role], batch["id"], role) for role in ("fixed", "moving"))

    def trained(self, turn: str) -> nn.Module:
        """Each player has weights of its own."""
        return self.critic if turn == "critic" else self.maker

    def loss(self, views: Views, at: Progress) -> Terms:
        """Term "told" or "fooled"."""
        made, real = self.maker(views[0].x), views[1].x.expand(-1, 2, -1, -1)
        if at.turn == "maker":
            return Terms({"fooled": (self.critic(made) - 1).square().mean()})
        told: Tensor = self.critic(made.detach()).square().mean() + (self.critic(real) - 1).square().mean()
        return Terms({"told": told})

    def network(self, role: str) -> Encoder:
        """The maker."""
        return self.maker
