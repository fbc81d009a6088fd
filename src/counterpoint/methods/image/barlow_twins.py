"""Barlow Twins: the dimensions of two views' embeddings correlate with themselves and with no other.

Zbontar, Jing, Misra, LeCun, Deny. Barlow Twins: Self-Supervised Learning via Redundancy Reduction. ICML 2021.
arXiv:2103.03230.

Not as in the paper: a ResNet-18 with a stem for small images by default (the paper: ResNet-50).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.roles import Roles
from counterpoint.core.types import Progress, Terms, Views
from counterpoint.encoders.resnet import ResNet
from counterpoint.heads.mlp import mlp
from counterpoint.objectives.redundancy import barlow
from counterpoint.views.presets import BYOLCrops


class BarlowTwins(Method):
    """The cross-correlation of two views should be the identity."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of Barlow Twins."""

        encoder: EncoderConfig = field(default_factory=ResNet.Config)
        """The network whose features are wanted."""
        hidden: int = 8192
        """Width of the projector's hidden layers."""
        dim: int = 8192
        """Width of the embedding; wider is better in the paper."""
        off_diagonal: float = 0.0051
        """Weight of the correlations off the diagonal (the paper's λ); about 40 / dim."""
        views: BYOLCrops = field(default_factory=BYOLCrops)
        """How two crops of an image are made."""

    needs = frozenset({"image"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.off_diagonal = config.off_diagonal
        self.views = config.views.build()
        self.encoder = config.encoder.build()
        self.projector = mlp(self.encoder.out_dim, config.hidden, config.dim, layers=3, last_bias=False)

    def loss(self, views: Views, at: Progress) -> Terms:  # noqa: ARG002 -- the same at every step
        """Equation 1 of the paper."""
        first, second = (self.projector(self.encoder(v.x)) for v in views)
        return Terms({"barlow": barlow(first, second, self.off_diagonal)})

    def network(self, role: str) -> Encoder:
        """The encoder, role "image": (B, C, H, W) → (B, out_dim)."""
        return Roles({"image": self.encoder})[role]
