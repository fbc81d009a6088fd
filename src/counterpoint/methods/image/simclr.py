"""SimCLR: two crops of an image agree; all other images of the batch are negatives.

Chen, Kornblith, Norouzi, Hinton. A Simple Framework for Contrastive Learning of Visual Representations. ICML
2020. arXiv:2002.05709.

Not as in the paper: a ResNet-18 with a stem for small images by default (the paper: ResNet-50).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.roles import Roles
from counterpoint.core.types import Progress, Terms, Views
from counterpoint.encoders.resnet import ResNet
from counterpoint.heads.mlp import mlp
from counterpoint.objectives.tableless import contrast_within
from counterpoint.views.presets import SimCLRCrops


class SimCLR(Method):
    """NT-Xent: normalized, temperature-scaled cross entropy over the 2B − 1 other views of a batch."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of SimCLR."""

        encoder: EncoderConfig = field(default_factory=ResNet.Config)
        """The network whose features are wanted."""
        hidden: int = 2048
        """Width of the projector's hidden layer."""
        dim: int = 128
        """Width of the embedding."""
        temperature: float = 0.5
        """What the cosines are divided by (the paper's τ), > 0; 0.5 is the paper's for CIFAR-10."""
        views: SimCLRCrops = field(default_factory=SimCLRCrops)
        """How two crops of an image are made."""

    needs = frozenset({"image"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.temperature = config.temperature
        self.views = config.views.build()
        self.encoder = config.encoder.build()
        self.projector = mlp(self.encoder.out_dim, config.hidden, config.dim, last_norm=True)

    def loss(self, views: Views, at: Progress) -> Terms:  # noqa: ARG002 -- the same at every step
        """Equation 1 of the paper, mean over the 2B anchors."""
        z = self.projector(self.encoder(torch.cat([v.x for v in views])))
        ids = torch.cat([v.ids for v in views])
        return Terms({"nt_xent": contrast_within(z, ids, self.temperature)})

    def network(self, role: str) -> Encoder:
        """The encoder, role "image": (B, C, H, W) → (B, out_dim)."""
        return Roles({"image": self.encoder})[role]
