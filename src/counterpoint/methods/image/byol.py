"""BYOL: a view's prediction meets what a slow teacher sees in another view; there are no negatives.

Grill, Strub, Altché, Tallec, Richemond, Buchatskaya, Doersch, Avila Pires, Guo, Gheshlaghi Azar, Piot,
Kavukcuoglu, Munos, Valko. Bootstrap Your Own Latent. NeurIPS 2020. arXiv:2006.07733.

Not as in the paper: a ResNet-18 with a stem for small images by default (the paper: ResNet-50).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.roles import Roles
from counterpoint.core.types import Progress, Terms, Views
from counterpoint.encoders.resnet import ResNet
from counterpoint.heads.mlp import mlp
from counterpoint.memories.teacher import Teacher
from counterpoint.objectives.regression import cosine_regression
from counterpoint.views.presets import BYOLCrops


class BYOL(Method):
    """Regression on a teacher, both ways; only the student has a predictor."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of BYOL."""

        encoder: EncoderConfig = field(default_factory=ResNet.Config)
        """The network whose features are wanted."""
        hidden: int = 4096
        """Width of the hidden layers of projector and predictor."""
        dim: int = 256
        """Width of the embedding."""
        momentum: float = 0.996
        """Of the teacher at the beginning; it rises to 1. 0.99 for 100 epochs, 0.97 for fewer."""
        views: BYOLCrops = field(default_factory=BYOLCrops)
        """How two crops of an image are made."""

    needs = frozenset({"image"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.views = config.views.build()
        self.encoder = config.encoder.build()
        self.projector = mlp(self.encoder.out_dim, config.hidden, config.dim, last_bias=False)
        self.predictor = mlp(config.dim, config.hidden, config.dim, last_bias=False)
        self.teacher = Teacher(self._student(), config.momentum)

    def loss(self, views: Views, at: Progress) -> Terms:  # noqa: ARG002 -- the same at every step
        """Equation 2 of the paper and its mirror image, summed."""
        predictions = [self.predictor(self.projector(self.encoder(v.x))) for v in views]
        targets = [self.teacher(v.x) for v in views]
        parts = zip(("first", "second"), predictions, reversed(targets), strict=True)
        return Terms({name: cosine_regression(p, z) for name, p, z in parts})

    def after_step(self, at: Progress, kept: Mapping[str, Tensor]) -> None:  # noqa: ARG002 -- nothing was kept
        """The teacher follows the updated student."""
        self.teacher.follow(self._student(), at)

    def network(self, role: str) -> Encoder:
        """The encoder, role "image": (B, C, H, W) → (B, out_dim)."""
        return Roles({"image": self.encoder})[role]

    def _student(self) -> nn.Module:
        return nn.Sequential(self.encoder, self.projector)
