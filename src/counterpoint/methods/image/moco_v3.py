"""MoCo v3: both views ask for each other's key in a slow teacher's batch, without a queue.

Chen, Xie, He. An Empirical Study of Training Self-Supervised Vision Transformers. ICCV 2021.
arXiv:2104.02057.

Not as in the paper: a ResNet-18 with a stem for small images by default (the paper: ResNet-50 and ViT; for
those set temperature 0.2, three layers in the projector, and the ViT's ``frozen_patches``).
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
from counterpoint.objectives.tableless import contrast_between
from counterpoint.views.presets import BYOLCrops


class MoCoV3(Method):
    """Symmetric contrast with a teacher and a predictor."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of MoCo v3."""

        encoder: EncoderConfig = field(default_factory=ResNet.Config)
        """The network whose features are wanted."""
        hidden: int = 4096
        """Width of the hidden layers of projector and predictor."""
        dim: int = 256
        """Width of the embedding."""
        layers: int = 2
        """Layers of the projector; 3 for a ViT."""
        temperature: float = 1.0
        """What the cosines are divided by (the paper's τ), > 0; the loss is multiplied by 2τ."""
        momentum: float = 0.99
        """Of the teacher at the beginning; it rises to 1."""
        views: BYOLCrops = field(default_factory=BYOLCrops)
        """How two crops of an image are made."""

    needs = frozenset({"image"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.temperature = config.temperature
        self.views = config.views.build()
        self.encoder = config.encoder.build()
        self.projector = mlp(
            self.encoder.out_dim, config.hidden, config.dim, config.layers, last_norm=True, last_affine=False
        )
        self.predictor = mlp(config.dim, config.hidden, config.dim)
        self.teacher = Teacher(self._student(), config.momentum)

    def loss(self, views: Views, at: Progress) -> Terms:  # noqa: ARG002 -- the same at every step
        """ctr(q1, k2) + ctr(q2, k1), algorithm 1 of the paper."""
        queries = [self.predictor(self.projector(self.encoder(v.x))) for v in views]
        keys = [self.teacher(v.x) for v in views]
        losses = [contrast_between(queries[i], keys[1 - i], self.temperature) for i in (0, 1)]
        weight = 2 * self.temperature
        return Terms({"first": losses[0], "second": losses[1]}, weights={"first": weight, "second": weight})

    def after_step(self, at: Progress, kept: Mapping[str, Tensor]) -> None:  # noqa: ARG002 -- nothing was kept
        """The teacher follows."""
        self.teacher.follow(self._student(), at)

    def network(self, role: str) -> Encoder:
        """The encoder, role "image": (B, C, H, W) → (B, out_dim)."""
        return Roles({"image": self.encoder})[role]

    def _student(self) -> nn.Module:
        return nn.Sequential(self.encoder, self.projector)
