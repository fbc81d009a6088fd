"""Projection head: what stands between features and loss, learned, fixed or nothing, and is left behind.

Xue, Gan, Ni, Joshi, Mirzasoleiman. Investigating the Benefits of Projection Head for Representation Learning.
ICLR 2024. arXiv:2403.11391.

Every layer weighs features of the data more unequally than the one before: what crops disturb, or is weak, is
kept below the head better than above it. A fixed diagonal does without a head to learn: the loss sees
features by falling weights, and the weights are dropped. Task ``layers`` asks which layer to take.

Not as in the paper: a ResNet-18 with a stem for small images by default, and a smaller κ for its many
features; no head that starts as the identity.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.roles import Roles
from counterpoint.core.types import Progress, Terms, Views
from counterpoint.encoders.resnet import ResNet
from counterpoint.heads.diagonal import Diagonal
from counterpoint.heads.mlp import mlp
from counterpoint.objectives.spectral import spectral
from counterpoint.objectives.tableless import contrast_within
from counterpoint.views.presets import SimCLRCrops


class ProjectionHead(Method):
    """Contrast of two crops below a head that can be chosen."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of the head and of the contrast above it."""

        head: Literal["diagonal", "mlp", "linear", "none"] = "diagonal"
        """The paper's fixed weights; a perceptron, as SimCLR has it; one linear layer; or nothing."""
        kappa: float = 1.02
        """By how much each weight of the diagonal is smaller than the one before, ≥ 1; so that the last is
        some thousand times smaller than the first."""
        layers: int = 2
        """Of the perceptron."""
        hidden: int = 2048
        """Width of the perceptron between its layers."""
        dim: int = 128
        """Width above a perceptron or linear layer; the others keep that of the features."""
        form: Literal["nt_xent", "spectral"] = "nt_xent"
        """The loss: SimCLR's, or that of the paper's theory, in which lengths count."""
        temperature: float = 0.5
        """What the cosines of nt_xent are divided by (τ), > 0."""
        encoder: EncoderConfig = field(default_factory=ResNet.Config)
        """The network whose features are wanted."""
        views: SimCLRCrops = field(default_factory=SimCLRCrops)
        """How two crops of an image are made."""

    needs = frozenset({"image"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.settings = config, config
        self.views, self.encoder = config.views.build(), config.encoder.build()
        width = self.encoder.out_dim
        self.projector: nn.Module = nn.Identity()
        if config.head == "diagonal":
            self.projector = Diagonal(width, config.kappa)
        elif config.head != "none":
            layers = config.layers if config.head == "mlp" else 1
            self.projector = mlp(width, config.hidden, config.dim, layers)

    def loss(self, views: Views, at: Progress) -> Terms:  # noqa: ARG002 -- the same at every step
        """NT-Xent over all crops, or the spectral loss from first to second crops."""
        z = self.projector(self.encoder(torch.cat([v.x for v in views])))
        if self.settings.form == "spectral":
            return Terms({"spectral": spectral(*z.chunk(2))})
        ids = torch.cat([v.ids for v in views])
        return Terms({"nt_xent": contrast_within(z, ids, self.settings.temperature)})

    def network(self, role: str) -> Encoder:
        """The encoder, role "image": (B, C, H, W) → (B, out_dim); the head is left behind."""
        return Roles({"image": self.encoder})[role]
