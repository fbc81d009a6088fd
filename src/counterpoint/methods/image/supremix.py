"""SupReMix: contrast for regression, with mixtures of the batch as harder negatives and harder positives.

Wu, Dong, Chen, Zhou, Zhou. Mixup Your Own Pairs. arXiv 2023. arXiv:2309.16633.

Negatives count the more the farther their target is. Mixtures of anchor and negative are negatives, mixtures
of a smaller and a larger target that meet the anchor's are positives; all are constants. A linear probe on
the features does the regression.

Not as in the paper: a ResNet-18 with a stem for small images by default (the paper: ResNet-50); of the
mixtures that are positives some are drawn (the released code makes all, in cubic memory).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.distributions import Beta
from torch.nn.functional import normalize

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.errors import InputError
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.roles import Roles
from counterpoint.core.types import Progress, Terms, Views
from counterpoint.encoders.resnet import ResNet
from counterpoint.heads.mlp import mlp
from counterpoint.objectives.contrastive import anchor_mean, contrast, cosine_logits
from counterpoint.objectives.precision import wide
from counterpoint.pairs.targets import (
    Law,
    Mixtures,
    magnified,
    mixed_across,
    mixed_with_own,
    mixture_logits,
    same_target,
)
from counterpoint.views.image import AsIs
from counterpoint.views.presets import SimCLRCrops
from counterpoint.views.several import Several


class SupReMix(Method):
    """Supervised contrastive regression with mixed pairs; without mixtures it is the paper's SupCR."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of SupReMix."""

        target: str = "label"
        """The entry of a batch, (B,) numbers, to be regressed."""
        unit: float = 1.0
        """What targets are divided by, > 0; all that follows counts in it. The paper's are years of age."""
        same: float = 0.0
        """How far apart targets of positives may be, ≥ 0; more for targets that are not whole numbers."""
        window: float = 5.0
        """How far from the anchor's the targets may be that mix to it, > 0."""
        weights: Law = "linear"
        """How negatives count by the distance of their targets: 1 + d, 1 + d² or all alike."""
        own: tuple[float, float] = (2.0, 8.0)
        """Beta distribution of the anchor's share in the negatives mixed with it."""
        negatives: bool = True
        """Mix every negative with the anchor."""
        positives: int = 64
        """Most mixtures that are positives of an anchor; 0 for none."""
        renorm: bool = False
        """Bring mixtures to unit length."""
        temperature: float = 0.3
        """What the cosines are divided by (the paper's τ), > 0; 0.1 in the paper for text."""
        encoder: EncoderConfig = field(default_factory=ResNet.Config)
        """The network whose features are wanted."""
        hidden: int = 2048
        """Width of the projector's hidden layer."""
        dim: int = 128
        """Width of the embedding."""
        views: SimCLRCrops = field(default_factory=SimCLRCrops)
        """How two crops of an image are made."""

    needs = frozenset({"image", "label"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        if not config.unit > 0:
            raise InputError(f"unit: expected a number > 0, found {config.unit}")
        self.config, self.settings = config, config
        self.views = Several(config.views.build(), AsIs((config.target,)))
        # what is needed depends on the settings here
        self.needs = frozenset({"image", config.target})  # pyright: ignore[reportAttributeAccessIssue]
        self.encoder = config.encoder.build()
        self.projector = mlp(self.encoder.out_dim, config.hidden, config.dim, norm=False)

    def loss(self, views: Views, at: Progress) -> Terms:  # noqa: ARG002 -- the same at every step
        """One softmax over samples and mixtures, mean over positives, then over anchors that have any."""
        s = self.settings
        *crops, targets = views
        z = normalize(wide(self.projector(self.encoder(torch.cat([v.x for v in crops])))), dim=1)
        y = wide(targets.x).repeat(len(crops)) / s.unit
        pairs = same_target(y, s.same)
        positive, pushing = pairs.positive, pairs.negative * magnified(y, y, s.weights)
        logits, made = cosine_logits(z, z, s.temperature), self._mixtures(y)
        for mixtures, near in made:
            logits = torch.cat([logits, mixture_logits(z, mixtures, s.temperature, renorm=s.renorm)], 1)
            positive = torch.cat([positive, mixtures.there & near], 1)
            there = mixtures.there & (not near)
            pushing = torch.cat([pushing, there * magnified(y, mixtures.target, s.weights)], 1)
        loss = anchor_mean(contrast(logits, positive, pushing), positive)
        mixed = sum(m.there.float().sum(1).mean() for m, near in made if near)
        return Terms({"regression": loss}, notes={"mixed_positives": mixed})

    def network(self, role: str) -> Encoder:
        """The encoder, role "image": (B, C, H, W) → (B, out_dim)."""
        return Roles({"image": self.encoder})[role]

    @torch.no_grad()
    def _mixtures(self, y: Tensor) -> list[tuple[Mixtures, bool]]:
        """What is mixed in this step, and whether it is positive; drawn as dropout is."""
        s = self.settings
        made: list[tuple[Mixtures, bool]] = []
        if s.negatives:
            share = Beta(*s.own).sample((len(y), len(y))).to(y)
            made.append((mixed_with_own(y, share, s.same), False))
        if s.positives:
            made.append((mixed_across(y, s.window, s.positives, torch.default_generator), True))
        return made
