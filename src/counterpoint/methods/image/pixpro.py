"""PixPro: a place of one view meets the same place of another, once places alike have spoken with each other.

Xie, Lin, Zhang, Cao, Lin, Hu. Propagate Yourself: Exploring Pixel-Level Consistency for Unsupervised Visual
Representation Learning. CVPR 2021. arXiv:2011.10043.

What is learned is the encoder's last map, before its average. The student alone propagates: that is what
keeps embeddings apart without negatives. "contrast" is PixContrast, the paper's first pretext task.

Not as in the paper: a ResNet-18 with a stem for small images by default (the paper: ResNet-50, LARS); no
branch for whole images, whose weight in the authors' code is 0 unless told. Their loss is twice this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.roles import Roles
from counterpoint.core.types import Progress, Terms, Views
from counterpoint.encoders.resnet import ResNet
from counterpoint.heads.dense import dense
from counterpoint.heads.maps import Tap
from counterpoint.heads.propagation import Propagation
from counterpoint.memories.teacher import Teacher
from counterpoint.objectives.placewise import place_contrast, place_regression
from counterpoint.pairs.cells import same_cells
from counterpoint.views.overlap import box_of
from counterpoint.views.presets import BYOLCrops


class PixPro(Method):
    """Consistency of places with a slow teacher, one side propagated."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of PixPro."""

        task: Literal["propagation", "consistency", "contrast"] = "propagation"
        """PixPro, the same without propagation, or PixContrast."""
        sharpness: float = 2.0
        """How alike places must be to hear each other (the paper's γ), > 0."""
        transform: Literal[0, 1, 2] = 1
        """Layers of what places say to each other."""
        radius: float = 0.7
        """Largest distance of the same place in two views, in diagonals of the larger cell (T)."""
        temperature: float = 0.3
        """Of the contrast (τ), > 0."""
        momentum: float = 0.99
        """Of the teacher at the beginning; it rises to 1."""
        encoder: EncoderConfig = field(default_factory=ResNet.Config)
        """The network whose features are wanted."""
        tap: str = ""
        """The layer whose map is learned; empty for the last one that may be read."""
        hidden: int = 4096
        """Channels of the projector's hidden layer."""
        dim: int = 256
        """Channels of the embedding."""
        views: BYOLCrops = field(default_factory=BYOLCrops)
        """How two crops of an image are made."""

    needs = frozenset({"image"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.settings = config, config
        self.encoder, self.views = config.encoder.build(), config.views.build()
        self.projector = dense(Tap(self.encoder, config.tap).out_dim, config.hidden, config.dim)
        self.predictor = nn.Identity()
        if config.task == "propagation":
            self.predictor = Propagation(config.dim, config.transform, config.sharpness)
        self.teacher = Teacher(self._student(), config.momentum)

    def loss(self, views: Views, at: Progress) -> Terms:  # noqa: ARG002 -- the same at every step
        """Equation 6 of the paper (2 for the contrast), each of its two directions for itself."""
        student = self._student()
        seen = [self.predictor(student(v.x)) for v in views]
        known = [self.teacher(v.x) for v in views]
        return Terms({"first": self._way(views, seen, known, 0), "second": self._way(views, seen, known, 1)})

    def after_step(self, at: Progress, kept: Mapping[str, Tensor]) -> None:  # noqa: ARG002 -- nothing was kept
        """The teacher follows the updated student."""
        self.teacher.follow(self._student(), at)

    def network(self, role: str) -> Encoder:
        """The encoder, role "image": (B, C, H, W) → (B, out_dim); read its map at ``tap``."""
        return Roles({"image": self.encoder})[role]

    def _way(self, views: Views, seen: list[Tensor], known: list[Tensor], i: int) -> Tensor:
        """From view ``i`` of the student to the other of the teacher."""
        y, x = seen[i], known[1 - i]
        boxes = (box_of(views[i]), box_of(views[1 - i]))
        pairs = same_cells(*boxes, (y.shape[2], y.shape[3]), (x.shape[2], x.shape[3]), self.settings.radius)
        y, x = (m.flatten(2).mT for m in (y, x))
        if self.settings.task == "contrast":
            return place_contrast(y, x, pairs, self.settings.temperature)
        return place_regression(y, x, pairs.positive)

    def _student(self) -> nn.Module:
        return nn.Sequential(Tap(self.encoder, self.settings.tap), self.projector)
