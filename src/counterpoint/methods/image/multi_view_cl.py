"""Multi-View CL: all views of an image in one term, views of other images repelling those of their kind.

Koromilas, Georgiou, Bouritsas, Giannakopoulos, Nicolaou, Panagakis. A Principled Framework for Multi-View
Contrastive Learning. arXiv 2025. arXiv:2507.06979.

MV-DHEL by default; MV-InfoNCE and what the paper compares them with by ``form``. More views are more
computation: compare forms at equal numbers of views, and numbers of views at equal images encoded.

Not as in the paper: the last normalization of the projector has no scale to learn; the stem of the ResNet-18
is for small images whatever the data are called (the released code has it for CIFAR-10 alone).
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
from counterpoint.objectives.multiview import averaged, mv_dhel, mv_info_nce, pairwise, poly_view
from counterpoint.views.presets import ManyCrops

FORMS = {
    "mv_dhel": mv_dhel,
    "mv_info_nce": mv_info_nce,
    "pairwise": pairwise,
    "averaged": averaged,
    "poly_view": poly_view,
}


class MultiViewCL(Method):
    """One term for each image over all its views."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of MV-DHEL and its kin."""

        form: Literal["mv_dhel", "mv_info_nce", "pairwise", "averaged", "poly_view"] = "mv_dhel"
        """The loss: the paper's two; NT-Xent over pairs of views; each view and the mean of the others;
        Poly-View."""
        temperature: float = 0.5
        """What the cosines are divided by (the paper's τ), > 0; 0.1 in the paper for ImageNet-1K."""
        views: ManyCrops = field(default_factory=ManyCrops)
        """How the crops of an image are made, and how many."""
        encoder: EncoderConfig = field(default_factory=ResNet.Config)
        """The network whose features are wanted."""
        hidden: int = 2048
        """Width of the projector between its layers."""
        dim: int = 128
        """Dimensions of the sphere."""

    needs = frozenset({"image"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.form, self.temperature = config.form, config.temperature
        self.views = config.views.build()
        self.encoder = config.encoder.build()
        width = self.encoder.out_dim
        self.projector = mlp(width, config.hidden, config.dim, last_norm=True, last_affine=False)

    def loss(self, views: Views, at: Progress) -> Terms:  # noqa: ARG002 -- the same at every step
        """The chosen form, mean over images."""
        z = self.projector(self.encoder(torch.cat([v.x for v in views])))
        stacked = z.view(len(views), -1, z.shape[1])
        return Terms({self.form: FORMS[self.form](stacked, self.temperature)})

    def network(self, role: str) -> Encoder:
        """The encoder, role "image": (B, C, H, W) → (B, out_dim)."""
        return Roles({"image": self.encoder})[role]
