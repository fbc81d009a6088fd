"""DINO: a student predicts a slow teacher's centered and sharpened codes of global crops from all crops.

Caron, Touvron, Misra, Jégou, Mairal, Bojanowski, Joulin. Emerging Properties in Self-Supervised Vision
Transformers. ICCV 2021. arXiv:2104.14294.

Not as in the paper: a ResNet-18 with a stem for small images, crops of 32 and 16 pixels and 4096 prototypes
by default; the weight decay stays constant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product

import torch
from torch import Tensor, nn

from counterpoint.core.encoder import Encoder, EncoderConfig, each_size
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.roles import Roles
from counterpoint.core.types import Progress, Terms, Views
from counterpoint.encoders.resnet import ResNet
from counterpoint.heads.mlp import mlp
from counterpoint.heads.prototypes import Prototypes
from counterpoint.memories.center import Center
from counterpoint.memories.teacher import Teacher
from counterpoint.objectives.assignment import centered_cross_entropy
from counterpoint.views.presets import DINOCrops


class DINO(Method):
    """Self-distillation without labels."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of DINO."""

        encoder: EncoderConfig = field(default_factory=ResNet.Config)
        """The network whose features are wanted."""
        hidden: int = 2048
        """Width of the head's hidden layers."""
        dim: int = 256
        """Width of the head's bottleneck."""
        prototypes: int = 4096
        """How many prototypes the codes are over; 65536 in the paper."""
        temperature: float = 0.1
        """Of the student, > 0."""
        teacher_temperature: float = 0.04
        """Of the teacher, > 0 and below the student's."""
        momentum: float = 0.996
        """Of the teacher at the beginning; it rises to 1."""
        center_momentum: float = 0.9
        """Of the running mean of the teacher's logits."""
        freeze: float = 0.01
        """Share of the training in which the prototypes stay as they began; the paper: the first epoch."""
        views: DINOCrops = field(default_factory=DINOCrops)
        """How the crops of an image are made."""

    needs = frozenset({"image"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        c = config
        self.temperatures, self.freeze = (c.temperature, c.teacher_temperature), c.freeze
        self.views = c.views.build()
        self.encoder = c.encoder.build()
        self.projector = mlp(self.encoder.out_dim, c.hidden, c.dim, layers=3, norm=False, activation="gelu")
        self.prototypes = Prototypes(c.dim, c.prototypes, in_graph=True)
        self.teacher = Teacher(self._student(), c.momentum)
        self.center = Center(c.prototypes, c.center_momentum)

    def loss(self, views: Views, at: Progress) -> Terms:
        """Equation 3 of the paper: all pairs of a teacher's global crop and another crop of the student."""
        features = each_size(self.encoder, [v.x for v in views])
        frozen = at.fraction < self.freeze
        student = [self.prototypes(self.projector(h), frozen) for h in features]
        teacher = [self.teacher(v.x) for v in views[:2]]
        center = self.center.read()
        parts = [
            centered_cross_entropy(student[j], teacher[i], center, *self.temperatures)
            for i, j in product(range(2), range(len(views)))
            if i != j
        ]
        return Terms({"distilled": torch.stack(parts).mean()}, keep={"logits": torch.cat(teacher)})

    def after_step(self, at: Progress, kept: Mapping[str, Tensor]) -> None:
        """The teacher and the center follow."""
        self.teacher.follow(self._student(), at)
        self.center.follow(kept["logits"])

    def network(self, role: str) -> Encoder:
        """The encoder, role "image": (B, C, H, W) → (B, out_dim)."""
        return Roles({"image": self.encoder})[role]

    def _student(self) -> nn.Module:
        return nn.Sequential(self.encoder, self.projector, self.prototypes)
