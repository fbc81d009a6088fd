"""Decoupled Uniformity: the centers of images' views spread out; a kernel on prior knowledge shares them.

Dufumier, Barbano, Louiset, Duchesnay, Gori. Integrating Prior Knowledge in Contrastive Learning with Kernel.
ICML 2023. arXiv:2206.01646.

``kernel`` says what makes images neighbors: an entry of the batch of its own (attributes, the embedding of
another model), which is needed for training only. It is read as it comes, never from augmented images.

Not as in the paper: a ResNet-18 with a stem for small images by default, whose pooled features go into the
projector (the paper: through a linear layer of 2048, which belongs to its features).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.roles import Roles
from counterpoint.core.types import Progress, Terms, Views
from counterpoint.encoders.resnet import ResNet
from counterpoint.heads.mlp import mlp
from counterpoint.objectives.uniformity import centers, decoupled_uniformity
from counterpoint.pairs.kernels import bandwidth, cosine, rbf, smoother
from counterpoint.views.image import AsIs
from counterpoint.views.presets import ManyCrops
from counterpoint.views.several import Several


class DecoupledUniformity(Method):
    """No positives and no negatives: centers of views, smoothed by a kernel, far from each other."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of (Kernel) Decoupled Uniformity."""

        sharpness: float = 2.0
        """How fast centers lose sight of each other (the paper's t), > 0."""
        kernel: Literal["none", "rbf", "cosine"] = "none"
        """What makes images neighbors by their prior; "none" needs none."""
        prior: str = "prior"
        """The entry of a batch, (B,) or (B, Q) numbers, that the kernel reads."""
        sigma: float = 0.0
        """Width of the rbf kernel (the paper's σ); 0 takes twice the median distance in the batch."""
        ridge: float = 0.01
        """Of the kernel's smoother (the paper's λ); 0 takes 1/√B."""
        encoder: EncoderConfig = field(default_factory=ResNet.Config)
        """The network whose features are wanted."""
        hidden: int = 2048
        """Width of the projector's hidden layer."""
        dim: int = 256
        """Width of the embedding."""
        views: ManyCrops = field(default_factory=lambda: ManyCrops(count=2, strength=1.0))
        """How the crops of an image are made, and how many."""

    needs = frozenset({"image"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.settings = config, config
        self.views = config.views.build()
        if config.kernel != "none":
            self.views = Several(self.views, AsIs((config.prior,)))
            # what is needed depends on the settings here
            self.needs = frozenset({"image", config.prior})  # pyright: ignore[reportAttributeAccessIssue]
        self.encoder = config.encoder.build()
        self.projector = mlp(self.encoder.out_dim, config.hidden, config.dim, norm=False)

    def loss(self, views: Views, at: Progress) -> Terms:  # noqa: ARG002 -- the same at every step
        """Log of the mean Gaussian potential of the centers of a batch."""
        crops = [view.x for view in views if view.role != self.settings.prior]
        z = self.projector(self.encoder(torch.cat(crops)))
        means = centers(z.view(len(crops), -1, z.shape[1]))
        notes: dict[str, Tensor] = {"agreement": means.detach().square().sum(1).mean()}
        share = None
        if self.settings.kernel != "none":
            share = self._share(views[-1].x)
            notes["means"] = share.trace()
        loss = decoupled_uniformity(means, self.settings.sharpness, share)
        return Terms({"uniformity": loss}, notes=notes)

    def network(self, role: str) -> Encoder:
        """The encoder, role "image": (B, C, H, W) → (B, out_dim)."""
        return Roles({"image": self.encoder})[role]

    def _share(self, prior: Tensor) -> Tensor:
        """(B, B): the weights by which images make up each other's centers."""
        if self.settings.kernel == "cosine":
            return smoother(cosine(prior), self.settings.ridge)
        return smoother(rbf(prior, self.settings.sigma or bandwidth(prior)), self.settings.ridge)
