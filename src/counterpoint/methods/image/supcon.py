"""SupCon: all images of one class are positives of each other.

Khosla, Teterwak, Wang, Sarna, Tian, Isola, Maschinot, Liu, Krishnan. Supervised Contrastive Learning. NeurIPS
2020. arXiv:2004.11362.

Not as in the paper: SimCLR's crops (the paper: AutoAugment) and a ResNet-18 for small images by default.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.roles import Roles
from counterpoint.core.types import Progress, Terms, Views
from counterpoint.encoders.resnet import ResNet
from counterpoint.heads.mlp import mlp
from counterpoint.objectives.contrastive import cosine_logits, sup_con
from counterpoint.objectives.tableless import contrast_within
from counterpoint.pairs.labels import same_class
from counterpoint.views.image import AsIs
from counterpoint.views.presets import SimCLRCrops
from counterpoint.views.several import Several


class SupCon(Method):
    """Supervised contrast, equation 2 ("out") or 3 ("in") of the paper."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of SupCon."""

        encoder: EncoderConfig = field(default_factory=ResNet.Config)
        """The network whose features are wanted."""
        hidden: int = 2048
        """Width of the projector's hidden layer."""
        dim: int = 128
        """Width of the embedding."""
        temperature: float = 0.1
        """What the cosines are divided by (the paper's τ), > 0."""
        form: Literal["out", "in"] = "out"
        """Sum over positives outside the logarithm (the paper's choice) or inside."""
        views: SimCLRCrops = field(default_factory=SimCLRCrops)
        """How two crops of an image are made."""

    needs = frozenset({"image", "label"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.temperature = config.temperature
        self.form: Literal["out", "in"] = config.form
        self.views = Several(config.views.build(), AsIs(("label",)))
        self.encoder = config.encoder.build()
        self.projector = mlp(self.encoder.out_dim, config.hidden, config.dim, norm=False)

    def loss(self, views: Views, at: Progress) -> Terms:  # noqa: ARG002 -- the same at every step
        """Mean over the 2B anchors that have a positive."""
        *crops, labels = views
        z = self.projector(self.encoder(torch.cat([v.x for v in crops])))
        classes = labels.x.repeat(len(crops))
        if self.form == "out":
            return Terms({"supervised": contrast_within(z, classes, self.temperature)})
        logits = cosine_logits(z, z, self.temperature)
        return Terms({"supervised": sup_con(logits, same_class(classes), self.form)})

    def network(self, role: str) -> Encoder:
        """The encoder, role "image": (B, C, H, W) → (B, out_dim)."""
        return Roles({"image": self.encoder})[role]
