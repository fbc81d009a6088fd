"""Blockwise SSL: each block of a network learns by a Barlow Twins loss of its own, and none reaches another.

Siddiqui, Krueger, LeCun, Deny. Blockwise Self-Supervised Learning at Scale. TMLR 2024. arXiv:2302.01647.

All blocks learn at once. A block's features pass a 1×1 convolution that learns with it; those of the last
block are what one takes away, those of the others stand at the taps "heads.0" on.

Not as in the paper: a ResNet-18 with a stem for small images by default (the paper: ResNet-50, LARS).
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field, replace

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.roles import Roles
from counterpoint.core.types import Progress, Terms, Views
from counterpoint.encoders.blocks import Blocks
from counterpoint.encoders.resnet import ResNet
from counterpoint.heads.mlp import mlp
from counterpoint.objectives.precision import wide
from counterpoint.objectives.redundancy import barlow
from counterpoint.views.image import AsIs
from counterpoint.views.presets import BYOLCrops
from counterpoint.views.several import Several


class BlockwiseSSL(Method):
    """Barlow Twins, block by block."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of Blockwise SSL."""

        encoder: EncoderConfig = field(default_factory=lambda: ResNet.Config(zero_last=True))
        """The network that is cut into blocks."""
        blocks: int = 4
        """How many blocks; fewer if the network has fewer layers that may be read."""
        expansion: int = 2048
        """Width of each block's features; 0 for its own channels without a convolution."""
        noise: float = 0.25
        """Deviation of the noise between blocks, in deviations of what a block gives (σ)."""
        end_to_end: bool = False
        """Only the last block has a loss, and its gradient goes through all: Barlow Twins on this network."""
        classes: int = 0
        """Learn to tell so many classes in each block, from labels; 0 to learn without."""
        hidden: int = 8192
        """Width of a projector's hidden layers; each block has a projector."""
        dim: int = 8192
        """Width of a block's embedding; at most the batch, or correlations cannot all vanish."""
        off_diagonal: float = 0.0051
        """Weight of the correlations off the diagonal (λ); about 40 / dim."""
        scale: float = 0.024
        """Of each loss."""
        views: BYOLCrops = field(default_factory=BYOLCrops)
        """How two crops of an image are made."""

    needs = frozenset({"image"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.settings, c = config, config, config
        self.views = c.views.build()
        if c.classes:
            self.views = Several(self.views, AsIs(("label",)))
            # labels are needed by this rival alone
            self.needs = frozenset({"image", "label"})  # pyright: ignore[reportAttributeAccessIssue]
        cut = Blocks.Config(
            encoder=c.encoder, count=c.blocks, dim=c.expansion, noise=c.noise, features="last"
        )
        channels = getattr(c.encoder, "channels", cut.channels)
        self.blocks = Blocks(replace(cut, channels=channels, apart=not c.end_to_end))
        widths = list(self.blocks.taps.values())
        if c.classes:
            heads = [nn.Linear(width, c.classes) for width in widths]
        elif c.expansion:  # all begin alike
            one = mlp(c.expansion, c.hidden, c.dim, layers=3, last_bias=False)
            heads = [deepcopy(one) for _ in widths]
        else:
            heads = [mlp(width, c.hidden, c.dim, layers=3, last_bias=False) for width in widths]
        self.projectors = nn.ModuleList(heads)

    def loss(self, views: Views, at: Progress) -> Terms:  # noqa: ARG002 -- the same at every step
        """A loss for every block; the last alone if it is to teach all."""
        first, second, label = views[0], views[1], views[2:]
        seen = zip(self.projectors, *map(self.blocks.each, (first.x, second.x)), strict=True)
        losses = {f"block {k}": self._of(head(a), head(b), label) for k, (head, a, b) in enumerate(seen)}
        if self.settings.end_to_end:
            losses = dict(list(losses.items())[-1:])
        return Terms(losses, weights=dict.fromkeys(losses, self.settings.scale))

    def network(self, role: str) -> Encoder:
        """The network, role "image": (B, C, H, W) → (B, expansion), the features of the last block."""
        return Roles({"image": self.blocks})[role]

    def _of(self, a: Tensor, b: Tensor, label: Views) -> Tensor:
        """One block's loss from two views' embeddings, or scores."""
        if label:
            return (cross_entropy(wide(a), label[0].x) + cross_entropy(wide(b), label[0].x)) / 2
        return barlow(a, b, self.settings.off_diagonal)
