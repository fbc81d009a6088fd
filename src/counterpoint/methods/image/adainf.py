"""AdaInf: with generated images beside the real ones, crops change less and real images count for more.

Wang, Zhang, Wang. Do Generated Data Always Help Contrastive Learning? ICLR 2024. arXiv:2403.12448.

There is no new loss: it is SimCLR with weaker crops, on ``data.inflation.Inflated``, which is what
``counterpoint train adainf --data REAL --generated GENERATED --times 10`` trains on. These flags inflate the
data of every method for images; here are the crops that go with them. Trained for a number of updates, not of
epochs, an inflated set costs no more than a plain one.

Not as in the paper: Adam's settings of ``train`` instead of LARS unless chosen.
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
from counterpoint.views.image import Crops, MultiCrop


class AdaInf(Method):
    """NT-Xent over weakly changed crops."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of AdaInf for a symmetric method, SimCLR (table of augmentations in the appendix)."""

        views: Crops = field(default_factory=lambda: Crops(count=2, area=(0.2, 1.0), jittered=0.4, blur=0.5))
        """How two crops of an image are made; without inflation the paper has an area from 0.08, a strength
        of 1 and 0.8 of the crops jittered."""
        hidden: int = 2048
        """Width of the projector's hidden layer."""
        encoder: EncoderConfig = field(default_factory=ResNet.Config)
        """The network whose features are wanted."""
        temperature: float = 0.2
        """What the cosines are divided by (the paper's τ), > 0."""
        dim: int = 256
        """Width of the embedding."""

    needs = frozenset({"image"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = config.encoder.build()
        self.projector = mlp(self.encoder.out_dim, config.hidden, config.dim, norm=False)
        self.temperature, self.views = config.temperature, MultiCrop((config.views,))

    def loss(self, views: Views, at: Progress) -> Terms:  # noqa: ARG002 -- the same at every step
        """Mean over all crops; copies of an image in one batch are positives of each other."""
        crops, ids = torch.cat([v.x for v in views]), torch.cat([v.ids for v in views])
        z = self.projector(self.encoder(crops))
        return Terms({"nt_xent": contrast_within(z, ids, self.temperature)})

    def network(self, role: str) -> Encoder:
        """The encoder, role "image": (B, C, H, W) → (B, out_dim)."""
        return Roles({"image": self.encoder})[role]
