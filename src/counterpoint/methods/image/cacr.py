"""CACR: a query is drawn to its farther positives more and pushed from its nearer negatives more.

Zheng, Chen, Yao, Yang, Li, Zhang, Zhang, Tsang, Zhou, Zhou. Contrastive Attraction and Contrastive Repulsion
for Representation Learning. TMLR 2023. arXiv:2105.03746.

Positives contrast with positives and negatives with negatives: there is no softmax over both. It takes three
views at least for the former to mean anything.

Not as in the paper: a ResNet-18 with a stem for small images by default (the paper: a small AlexNet, whose
output is the embedding), hence a projector; no queue (the paper: with MoCo's for ImageNet).
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
from counterpoint.objectives.attraction import attraction, repulsion
from counterpoint.views.presets import CACRCrops


class CACR(Method):
    """Doubly contrastive: within positives, within negatives."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of CACR."""

        attraction: float = 1.0
        """How much more farther positives draw (the paper's t⁺), ≥ 0; 0 draws with all alike."""
        repulsion: float = 0.9
        """How much more nearer negatives push (t⁻), ≥ 0; 2 in the paper for more classes, 0 pushes from all
        alike."""
        detach: bool = False
        """No gradient through these weights."""
        pull: float = 1.0
        """Weight of attraction (α)."""
        push: float = 1.0
        """Weight of repulsion (β)."""
        encoder: EncoderConfig = field(default_factory=ResNet.Config)
        """The network whose features are wanted."""
        hidden: int = 2048
        """Width of the projector's hidden layer."""
        dim: int = 128
        """Dimensions of the sphere."""
        views: CACRCrops = field(default_factory=CACRCrops)
        """How the crops of an image are made: a query and its positives, taking turns."""

    needs = frozenset({"image"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.settings = config, config
        self.views = config.views.build()
        self.encoder = config.encoder.build()
        self.projector = mlp(self.encoder.out_dim, config.hidden, config.dim, last_norm=True)

    def loss(self, views: Views, at: Progress) -> Terms:  # noqa: ARG002 -- the same at every step
        """L_CA and L_CR of the paper, every view being a query."""
        s = self.settings
        rows = self.projector(self.encoder(torch.cat([v.x for v in views])))
        z = rows.view(len(views), -1, rows.shape[1])
        parts = {
            "attraction": attraction(z, s.attraction, detach=s.detach),
            "repulsion": repulsion(z, s.repulsion, detach=s.detach),
        }
        return Terms(parts, weights={"attraction": s.pull, "repulsion": s.push})

    def network(self, role: str) -> Encoder:
        """The encoder, role "image": (B, C, H, W) → (B, out_dim)."""
        return Roles({"image": self.encoder})[role]
