"""NNCLR: the positive is not the other view itself but its nearest neighbor among past embeddings.

Dwibedi, Aytar, Tompson, Sermanet, Zisserman. With a Little Help from My Friends: Nearest-Neighbor Contrastive
Learning of Visual Representations. ICCV 2021. arXiv:2104.14548.

Not as in the paper: a ResNet-18 with a stem for small images by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.roles import Roles
from counterpoint.core.types import Progress, Terms, Views
from counterpoint.encoders.resnet import ResNet
from counterpoint.heads.mlp import mlp
from counterpoint.memories.queue import Queue
from counterpoint.objectives.tableless import contrast_between
from counterpoint.pairs.neighbors import nearest
from counterpoint.views.presets import BYOLCrops


class NNCLR(Method):
    """Contrast with nearest neighbors from a support set."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of NNCLR."""

        encoder: EncoderConfig = field(default_factory=ResNet.Config)
        """The network whose features are wanted."""
        hidden: int = 2048
        """Width of the projector's hidden layers."""
        dim: int = 256
        """Width of the embedding."""
        predictor: int = 4096
        """Width of the predictor's hidden layer."""
        temperature: float = 0.1
        """What the cosines are divided by (the paper's τ), > 0."""
        queue: int = 65536
        """Size of the support set; fewer than the data set has samples, or one finds oneself."""
        views: BYOLCrops = field(default_factory=BYOLCrops)
        """How two crops of an image are made."""

    needs = frozenset({"image"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.temperature = config.temperature
        self.views = config.views.build()
        self.encoder = config.encoder.build()
        self.projector = mlp(self.encoder.out_dim, config.hidden, config.dim, layers=3, last_norm=True)
        self.predictor = mlp(config.dim, config.predictor, config.dim)
        self.support = Queue(config.queue, config.dim, filled=True)

    def loss(self, views: Views, at: Progress) -> Terms:  # noqa: ARG002 -- the same at every step
        """Equation 3 of the paper, both ways: rows are neighbors, columns the predictions of the batch."""
        z = [self.projector(self.encoder(v.x)) for v in views]
        bank = self.support.read()
        parts = {}
        for name, i in (("first", 0), ("second", 1)):
            neighbor = bank[nearest(z[i], bank)[:, 0]]
            parts[name] = contrast_between(neighbor, self.predictor(z[1 - i]), self.temperature)
        keep = {"z": normalize(z[0].detach(), dim=1)}
        return Terms(parts, weights=dict.fromkeys(parts, 0.5), keep=keep)

    def after_step(self, at: Progress, kept: Mapping[str, Tensor]) -> None:  # noqa: ARG002
        """Embeddings of the first view join the support set."""
        self.support.push(kept["z"])

    def network(self, role: str) -> Encoder:
        """The encoder, role "image": (B, C, H, W) → (B, out_dim)."""
        return Roles({"image": self.encoder})[role]
