"""Core-tuning: a network is tuned on labels by cross entropy and contrast, on pairs made harder by mixing.

Zhang, Hooi, Hu, Liang, Feng. Unleashing the Power of Contrastive Self-Supervised Visual Models via
Contrast-Regularized Fine-Tuning. NeurIPS 2021. arXiv:2102.06605.

For every image, of its features and those of the batch: a positive between the least alike of its class and
the most alike of another, and a negative that has a little of the anchor. Labels are mixed alike, and cross
entropy over all of them smooths the boundary.

Not as in the paper: a ResNet-18 with a stem for small images by default, crops for those; without ``model``
it starts from nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributions import Beta
from torch.nn.functional import cross_entropy, one_hot

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.errors import InputError
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.networks import load_networks
from counterpoint.core.roles import Roles
from counterpoint.core.types import Progress, Terms, Views
from counterpoint.encoders.resnet import ResNet
from counterpoint.heads.mlp import mlp
from counterpoint.objectives.contrastive import cosine_logits, sup_con
from counterpoint.objectives.focal import focal
from counterpoint.pairs.across import blended, hard_sources, same_soft
from counterpoint.views.image import AsIs
from counterpoint.views.presets import ManyCrops
from counterpoint.views.several import Several


class CoreTuning(Method):
    """Contrast-regularized tuning; with neither contrast nor mixtures it is tuning by cross entropy."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of Core-tuning."""

        model: str = ""
        """What is tuned: a run folder or networks file whose encoder takes the place of ``encoder``."""
        classes: int = 10
        """How many classes the labels have."""
        contrast: float = 0.1
        """Weight of the contrastive term (the paper's η): of 0.1, 1 and 10 what a data set likes best."""
        mix: Literal["hard", "random", "none"] = "hard"
        """Samples made: the paper's; mixtures of any two samples (mixup of features); or none."""
        alpha: float = 1.0
        """Of the Beta distribution of the shares (α), > 0; the paper tries 0.1, 1 and 10."""
        foreign: float = 0.8
        """Least share that a made negative has of another sample."""
        focal: bool = True
        """Positives not yet found count more."""
        released: bool = False
        """As in the released code: no gradient through the samples themselves, the anchor in place of its
        least alike positive, the contrastive sum divided by all samples."""
        temperature: float = 0.07
        """What the cosines are divided by (the paper's τ), > 0."""
        encoder: EncoderConfig = field(default_factory=ResNet.Config)
        """The network, where there is no ``model``."""
        hidden: int = 2048
        """Width of the projector's hidden layer."""
        dim: int = 256
        """Width of the embedding."""
        views: ManyCrops = field(default_factory=lambda: ManyCrops(count=1, area=(0.8, 1.0), strength=0.0))
        """How crops of an image are made."""

    needs = frozenset({"image", "label"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.settings = config, config
        self.views = Several(config.views.build(), AsIs(("label",)))
        if config.model:
            self.encoder = Roles(load_networks(config.model))["image"]
        else:
            self.encoder = config.encoder.build()
        self.classifier = nn.Linear(self.encoder.out_dim, config.classes, bias=False)
        self.projector = mlp(self.encoder.out_dim, config.hidden, config.dim, norm=False)

    def loss(self, views: Views, at: Progress) -> Terms:  # noqa: ARG002 -- the same at every step
        """Soft cross entropy and focal contrast over the samples and those made of them."""
        s = self.settings
        *crops, labels = views
        f, label = self.encoder(torch.cat([v.x for v in crops])), labels.x.repeat(len(crops))
        if not 0 <= int(label.min()) <= int(label.max()) < s.classes:
            raise InputError(
                f"classes: expected labels from 0 to below {s.classes}, found some from {int(label.min())} "
                f"to {int(label.max())}"
            )
        soft = one_hot(label, s.classes).float()
        made = self._made(f, soft, label)
        rows = torch.cat([f.detach() if s.released else f, *(row for row, _ in made)])
        soft = torch.cat([soft, *(mixed for _, mixed in made)])
        parts = {"classes": cross_entropy(self.classifier(rows), soft)}
        if s.contrast:
            z, pairs = self.projector(rows), same_soft(soft)
            logits = cosine_logits(z, z, s.temperature)
            over = "all" if s.released else "positives"
            parts["contrast"] = focal(logits, pairs, over) if s.focal else sup_con(logits, pairs)
        return Terms(parts, weights={"contrast": s.contrast} if s.contrast else {})

    def network(self, role: str) -> Encoder:
        """The encoder, role "image": (B, C, H, W) → (B, out_dim)."""
        return Roles({"image": self.encoder})[role]

    def _made(self, f: Tensor, soft: Tensor, label: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Features and labels of the samples made: negatives, then positives; drawn as dropout is."""
        s, count, itself = self.settings, len(f), torch.arange(len(f), device=f.device)
        if s.mix == "none":
            return []
        any_other = torch.randperm(count).to(f.device)
        share = Beta(s.alpha, s.alpha).sample((count,)).to(soft)
        if s.mix == "random":
            return [blended(f, soft, any_other, itself, share)]
        near, far = hard_sources(f, label)
        negatives = blended(f, soft, any_other, itself, share.clamp(min=s.foreign))
        share = Beta(s.alpha, s.alpha).sample((count,)).to(soft)
        return [negatives, blended(f, soft, itself if s.released else near, far, share)]
