"""SimSiam: a view's prediction meets the other view's embedding, through which no gradient goes.

Chen, He. Exploring Simple Siamese Representation Learning. CVPR 2021. arXiv:2011.10566.

Not as in the paper: a ResNet-18 with a stem for small images by default; the predictor's learning rate
follows the schedule of the other weights (the paper keeps it constant).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch.nn.functional import normalize

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.roles import Roles
from counterpoint.core.types import Progress, Terms, Views
from counterpoint.encoders.resnet import ResNet
from counterpoint.heads.mlp import mlp
from counterpoint.objectives.regression import negative_cosine
from counterpoint.views.presets import MoCoCrops


class SimSiam(Method):
    """Negative cosine with a stopped gradient, both ways."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of SimSiam."""

        encoder: EncoderConfig = field(default_factory=ResNet.Config)
        """The network whose features are wanted."""
        dim: int = 2048
        """Width of the embedding and of the projector's hidden layers."""
        hidden: int = 512
        """Width of the predictor's hidden layer, a bottleneck."""
        layers: int = 3
        """Layers of the projector; the paper has 2 for CIFAR-10."""
        stop_gradient: bool = True
        """Whether the other view's embedding is a constant; if not, the embedding collapses (section 4.1)."""
        views: MoCoCrops = field(default_factory=MoCoCrops)
        """How two crops of an image are made."""

    needs = frozenset({"image"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.stop_gradient = config, config.stop_gradient
        self.views = config.views.build()
        self.encoder = config.encoder.build()
        width, dim = self.encoder.out_dim, config.dim
        self.projector = mlp(width, dim, dim, config.layers, last_norm=True, last_affine=False)
        self.predictor = mlp(dim, config.hidden, dim)

    def loss(self, views: Views, at: Progress) -> Terms:  # noqa: ARG002 -- the same at every step
        """Equation 3 of the paper; "spread" is the mean deviation of z/|z| times √dim, 0 is collapse."""
        first, second = (self.projector(self.encoder(v.x)) for v in views)
        targets = [z.detach() if self.stop_gradient else z for z in (second, first)]
        parts = {
            "first": negative_cosine(self.predictor(first), targets[0]),
            "second": negative_cosine(self.predictor(second), targets[1]),
        }
        spread = normalize(first.detach().float(), dim=1).std(0, correction=0).mean() * first.shape[1] ** 0.5
        return Terms(parts, weights=dict.fromkeys(parts, 0.5), notes={"spread": spread})

    def network(self, role: str) -> Encoder:
        """The encoder, role "image": (B, C, H, W) → (B, out_dim)."""
        return Roles({"image": self.encoder})[role]
