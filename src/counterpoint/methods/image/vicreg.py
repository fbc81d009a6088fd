"""VICReg: two views' embeddings agree, every dimension varies, and no two dimensions say the same.

Bardes, Ponce, LeCun. VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning. ICLR
2022. arXiv:2105.04906.

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
from counterpoint.objectives.redundancy import vicreg
from counterpoint.views.presets import BYOLCrops


class VICReg(Method):
    """Variance, invariance and covariance as three terms."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of VICReg."""

        encoder: EncoderConfig = field(default_factory=ResNet.Config)
        """The network whose features are wanted."""
        hidden: int = 8192
        """Width of the expander's hidden layers."""
        dim: int = 8192
        """Width of the embedding."""
        invariance: float = 25.0
        """Weight of the distance between the views (the paper's λ)."""
        variance: float = 25.0
        """Weight of the hinge on the standard deviations (the paper's μ)."""
        covariance: float = 1.0
        """Weight of the squared covariances (the paper's ν)."""
        views: BYOLCrops = field(default_factory=BYOLCrops)
        """How two crops of an image are made."""

    needs = frozenset({"image"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.weights = {name: getattr(config, name) for name in ("invariance", "variance", "covariance")}
        self.views = config.views.build()
        self.encoder = config.encoder.build()
        self.expander = mlp(self.encoder.out_dim, config.hidden, config.dim, layers=3, last_bias=False)

    def loss(self, views: Views, at: Progress) -> Terms:  # noqa: ARG002 -- the same at every step
        """Equation 6 of the paper."""
        first, second = (self.expander(self.encoder(v.x)) for v in views)
        return Terms(vicreg(first, second), weights=self.weights)

    def network(self, role: str) -> Encoder:
        """The encoder, role "image": (B, C, H, W) → (B, out_dim)."""
        return Roles({"image": self.encoder})[role]
