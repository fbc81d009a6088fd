"""MoCo: a query finds its key among the keys of a slow teacher, those of the last batches being negatives.

He, Fan, Wu, Xie, Girshick. Momentum Contrast for Unsupervised Visual Representation Learning. CVPR 2020.
arXiv:1911.05722. Version 2: Chen, Fan, Girshick, He. arXiv:2003.04297.

This is version 2; ``moco_v3`` is a method of its own. Keys go into the queue after the loss.

Not as in the paper: a ResNet-18 with a stem for small images by default; on one process there is no batch of
other processes to shuffle with, so keys are normalized with the statistics of their own batch; and one's own
keys of earlier epochs, which small data sets still have in the queue, are no negatives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.nn.functional import normalize

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.roles import Roles
from counterpoint.core.types import Progress, Terms, Views
from counterpoint.encoders.resnet import ResNet
from counterpoint.heads.mlp import mlp
from counterpoint.memories.queue import Queue
from counterpoint.memories.teacher import Teacher
from counterpoint.objectives.tableless import contrast_past
from counterpoint.views.presets import MoCoCrops


class MoCo(Method):
    """Momentum contrast, version 2."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of MoCo v2."""

        encoder: EncoderConfig = field(default_factory=ResNet.Config)
        """The network whose features are wanted."""
        hidden: int = 2048
        """Width of the projector's hidden layer."""
        dim: int = 128
        """Width of the embedding."""
        temperature: float = 0.2
        """What the cosines are divided by (the paper's τ), > 0."""
        momentum: float = 0.999
        """Of the teacher, constant; 0.99 for trainings of a few thousand steps."""
        queue: int = 65536
        """How many keys are remembered; fewer than the data set has samples."""
        views: MoCoCrops = field(default_factory=MoCoCrops)
        """How two crops of an image are made."""

    needs = frozenset({"image"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.temperature = config.temperature
        self.views = config.views.build()
        self.encoder = config.encoder.build()
        self.projector = mlp(self.encoder.out_dim, config.hidden, config.dim, norm=False)
        self.teacher = Teacher(self._student(), config.momentum, last=config.momentum)
        self.queue = Queue(config.queue, config.dim, tags=("id",), filled=True)

    def loss(self, views: Views, at: Progress) -> Terms:  # noqa: ARG002 -- the same at every step
        """Equation 1 of the paper, queries from the first crops and keys from the second."""
        query, key = views
        q = self.projector(self.encoder(query.x))
        k = normalize(self.teacher(key.x), dim=1)
        ids = (query.ids, self.queue.tag("id"))  # one's own older keys are no negatives
        loss = contrast_past(q, k, self.queue.read(), self.temperature, ids)
        return Terms({"info_nce": loss}, keep={"key": k, "id": key.ids})

    def after_step(self, at: Progress, kept: Mapping[str, Tensor]) -> None:
        """The teacher follows; the keys join the queue."""
        self.teacher.follow(self._student(), at)
        self.queue.push(kept["key"], id=kept["id"])

    def network(self, role: str) -> Encoder:
        """The encoder, role "image": (B, C, H, W) → (B, out_dim)."""
        return Roles({"image": self.encoder})[role]

    def _student(self) -> nn.Module:
        return nn.Sequential(self.encoder, self.projector)
