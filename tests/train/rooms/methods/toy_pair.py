"""A tiny method: two networks agree, with noise in the views, a queue of past maps, and a hook an epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from counterpoint.encoders.toy import Toy  # pyright: ignore[reportMissingImports]
from torch import Tensor

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.roles import Roles
from counterpoint.core.types import Batch, Progress, Terms, View, Views


class ToyPair(Method):
    """Cross entropy over the batch and the queue."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of the toy."""

        fixed: EncoderConfig = field(default_factory=Toy.Config)
        """The network of the fixed modality."""
        moving: EncoderConfig = field(default_factory=Toy.Config)
        """The network of the moving modality."""
        noise: float = 0.1
        """Standard deviation of noise added to the views."""
        poison: int = -1
        """At which step the loss becomes nan."""
        steep: int = -1
        """At which step the gradient becomes nan, while the loss stays as it is."""

    config: Config
    needs = frozenset({"fixed", "moving"})
    roles = ("fixed", "moving")

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoders = Roles({"fixed": config.fixed.build(), "moving": config.moving.build()})
        self.register_buffer("queue", torch.zeros(6, 2))
        self.register_buffer("center", torch.zeros(2))

    def views(self, batch: Batch, rng: torch.Generator) -> Views:
        """Noisy copies."""
        noise = self.config.noise
        return tuple(
            View(batch[r] + noise * torch.randn(batch[r].shape, generator=rng), batch["id"], r)
            for r in self.roles
        )

    def loss(self, views: Views, at: Progress) -> Terms:
        """Term "agree", and "small"."""
        z = [self.encoders[v.role](v.x).mean((2, 3)) - self.center for v in views]
        logits = z[0] @ torch.cat([z[1], self.queue]).T
        agree = torch.nn.functional.cross_entropy(logits, torch.arange(len(z[0])))
        if at.step == self.config.poison:
            agree = agree * float("nan")
        if at.step == self.config.steep:
            agree = agree + (0 * agree).sqrt()
        small = z[0].square().mean()
        return Terms(
            {"agree": agree, "small": small}, {"small": 0.5}, {"at": at.fraction}, {"z": z[1].detach()}
        )

    def before_epoch(self, at: Progress, embed_all: Callable[[str], Tensor]) -> None:
        """Center the features."""
        self.center.copy_(embed_all("fixed").mean((0, 2, 3)))

    def after_step(self, at: Progress, kept: Mapping[str, Tensor]) -> None:
        """Push the maps into the queue."""
        self.queue.copy_(torch.cat([kept["z"], self.queue])[: len(self.queue)])

    def network(self, role: str) -> Encoder:
        """The network of a modality."""
        return self.encoders[role]
