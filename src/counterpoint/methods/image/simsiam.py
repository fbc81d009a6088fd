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
from counterpoint.views.image import MultiCrop, moco_crops


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
        size: int = 32
        """Side of a crop in pixels."""
        strength: float = 0.5
        """How strongly colors are jittered; 1 is the paper's for ImageNet."""
        blur: float = 0.0
        """Share of crops that are blurred; the paper blurs half of them on ImageNet."""
        flip: float = 0.5
        """Share of crops that are mirrored left and right; 0 where sides matter: digits, text, organs."""

    needs = frozenset({"image"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.views = MultiCrop(moco_crops(config.size, config.strength, config.blur, config.flip))
        self.encoder = config.encoder.build()
        width, dim = self.encoder.out_dim, config.dim
        self.projector = mlp(width, dim, dim, config.layers, last_norm=True, last_affine=False)
        self.predictor = mlp(dim, config.hidden, dim)

    def loss(self, views: Views, at: Progress) -> Terms:  # noqa: ARG002 -- the same at every step
        """Equation 3 of the paper; "spread" is the mean deviation of z/|z| times √dim, 0 is collapse."""
        first, second = (self.projector(self.encoder(v.x)) for v in views)
        parts = {
            "first": negative_cosine(self.predictor(first), second.detach()),
            "second": negative_cosine(self.predictor(second), first.detach()),
        }
        spread = normalize(first.detach().float(), dim=1).std(0, correction=0).mean() * first.shape[1] ** 0.5
        return Terms(parts, weights=dict.fromkeys(parts, 0.5), notes={"spread": spread})

    def network(self, role: str) -> Encoder:
        """The encoder, role "image": (B, C, H, W) → (B, out_dim)."""
        return Roles({"image": self.encoder})[role]
