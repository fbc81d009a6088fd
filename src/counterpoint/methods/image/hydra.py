"""Hydra (SimLAP): any two classes may be a positive pair, compared in dimensions that a gate opens for them.

Wu, Atito, Feng, Mo, Kittler, Awais. Rethinking Positive Pairs in Contrastive Learning. arXiv 2024.
arXiv:2410.18200.

A supervised method: what it is to be compared with is SupCon and cross entropy. One crop an image is enough,
because positives are other images. Gates are left behind after training.

Not as in the paper: a ResNet-18 with a stem for small images by default, crops without RandAugment and
erasing; no penalty on gates that are neither open nor closed, of which the released code has none; no teacher
(the first version: with MoCo v3's, pairs drawn by WordNet).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.errors import InputError
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.roles import Roles
from counterpoint.core.types import Progress, Terms, Views
from counterpoint.encoders.resnet import ResNet
from counterpoint.heads.gate import PairGate
from counterpoint.heads.mlp import mlp
from counterpoint.objectives.contrastive import contrast
from counterpoint.objectives.gated import gated_logits
from counterpoint.pairs.partners import Partner, of_partner, partners
from counterpoint.views.image import AsIs
from counterpoint.views.presets import ManyCrops
from counterpoint.views.several import Several


class Hydra(Method):
    """Contrast of arbitrary pairs of classes, each in a subspace of its own."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of Hydra."""

        classes: int = 10
        """How many classes the labels have; more than there are cost nothing but codes."""
        pairs: Partner = "arbitrary"
        """Of what class positives are: any of the batch, the anchor's own, or any other."""
        gate: Literal["product", "cosine", "none"] = "product"
        """How gates act: on both sides of the product; with the gated vectors brought to unit length, as in
        the first version; or not at all."""
        fuse: Literal["mean", "product"] = "mean"
        """What a gate is made of: the mean of two classes' codes, or the product of their gates."""
        codes: int = 512
        """Width of the codes of classes."""
        temperature: float = 0.1
        """What the products are divided by (the paper's τ), > 0."""
        encoder: EncoderConfig = field(default_factory=ResNet.Config)
        """The network whose features are wanted."""
        hidden: int = 2048
        """Width of the projector's hidden layer."""
        dim: int = 256
        """Width of the embedding and of the gates."""
        views: ManyCrops = field(default_factory=lambda: ManyCrops(count=1, area=(0.7, 1.0)))
        """How crops of an image are made; further ones join the batch as other images of the class do."""

    needs = frozenset({"image", "label"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.settings = config, config
        self.views = Several(config.views.build(), AsIs(("label",)))
        self.encoder = config.encoder.build()
        self.projector = mlp(self.encoder.out_dim, config.hidden, config.dim)
        self.projector.append(nn.LayerNorm(config.dim))
        self.gate = None
        if config.gate != "none":
            self.gate = PairGate(config.classes, config.dim, config.codes, config.fuse)

    def loss(self, views: Views, at: Progress) -> Terms:  # noqa: ARG002 -- the same at every step
        """Every positive for itself against all negatives; mean over all positives of the batch."""
        *crops, labels = views
        z = self.projector(self.encoder(torch.cat([v.x for v in crops])))
        label = self._checked(labels.x).repeat(len(crops))
        rng = torch.default_generator  # of the step, as that of dropout is
        partner = partners(label, self.settings.pairs, self.settings.classes, rng)
        pairs = of_partner(label, partner)
        gate = torch.ones_like(z) if self.gate is None else self.gate(label, partner)
        form = "cosine" if self.settings.gate == "cosine" else "product"
        logits = gated_logits(z, gate, self.settings.temperature, form)
        each = pairs.positive.to(logits)  # weights of 1: frequent classes count by their pairs
        losses = contrast(logits, each, pairs.negative, denominator="each")
        return Terms({"pairs": losses.sum() / each.sum().clamp(min=1)}, notes=_notes(gate.detach()))

    def network(self, role: str) -> Encoder:
        """The encoder, role "image": (B, C, H, W) → (B, out_dim)."""
        return Roles({"image": self.encoder})[role]

    def _checked(self, label: Tensor) -> Tensor:
        if int(label.min()) < 0 or int(label.max()) >= self.settings.classes:
            raise InputError(
                f"classes: expected labels from 0 to below {self.settings.classes}, found "
                f"{int(label.min())} to {int(label.max())}"
            )
        return label


def _notes(gate: Tensor) -> dict[str, Tensor]:
    """How open gates are, and how undecided: all open is no gate, all closed makes everything alike."""
    g = gate.float().clamp(1e-6, 1 - 1e-6)
    undecided = torch.special.entr(g) + torch.special.entr(1 - g)
    return {"open": gate.float().mean(), "undecided": undecided.mean() / torch.tensor(2.0).log()}
