"""DCL: SimCLR without the positive in the denominator; DCLW also weighs positives that lie far apart more.

Yeh, Hong, Hsu, Liu, Chen, LeCun. Decoupled Contrastive Learning. ECCV 2022. arXiv:2110.06848.

The loss is the mean over the 2B anchors (the paper's sum of two directions is twice that) and may be
negative; the weight of DCLW gets no gradient.

Not as in the paper: a ResNet-18 with a stem for small images by default (the paper: ResNet-50).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch.nn.functional import cosine_similarity

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.roles import Roles
from counterpoint.core.types import Progress, Terms, Views
from counterpoint.encoders.resnet import ResNet
from counterpoint.heads.mlp import mlp
from counterpoint.objectives.tableless import contrast_within
from counterpoint.pairs.hard import far_positives
from counterpoint.views.presets import SimCLRCrops


class DCL(Method):
    """Alignment with the positive plus log-sum-exp over the 2(B − 1) negatives."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of DCL."""

        encoder: EncoderConfig = field(default_factory=ResNet.Config)
        """The network whose features are wanted."""
        hidden: int = 2048
        """Width of the projector's hidden layer."""
        dim: int = 128
        """Width of the embedding."""
        temperature: float = 0.1
        """What the cosines are divided by (the paper's τ), > 0."""
        weighted: bool = False
        """Weigh positives by how far apart they are: DCLW."""
        sigma: float = 0.5
        """Spread of the weights of DCLW (the paper's σ), > 0; small weighs more unequally."""
        views: SimCLRCrops = field(default_factory=SimCLRCrops)
        """How two crops of an image are made."""

    needs = frozenset({"image"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.temperature, self.sigma = config.temperature, config.sigma if config.weighted else None
        self.views = config.views.build()
        self.encoder = config.encoder.build()
        self.projector = mlp(self.encoder.out_dim, config.hidden, config.dim, last_norm=True)

    def loss(self, views: Views, at: Progress) -> Terms:  # noqa: ARG002 -- the same at every step
        """Equations 6 (DCL) and 7 (DCLW) of the paper, mean over the 2B anchors."""
        first, second = (self.projector(self.encoder(v.x)) for v in views)
        z = torch.cat((first, second))
        pull = None
        if self.sigma is not None:
            pull = far_positives(cosine_similarity(first, second).detach(), self.sigma).repeat(2)
        ids = torch.cat([v.ids for v in views])
        return Terms({"decoupled": contrast_within(z, ids, self.temperature, decoupled=True, pull=pull)})

    def network(self, role: str) -> Encoder:
        """The encoder, role "image": (B, C, H, W) → (B, out_dim)."""
        return Roles({"image": self.encoder})[role]
