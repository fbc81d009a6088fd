"""MAE: most patches are hidden; from the rest, a decoder makes their pixels.

He, Chen, Xie, Li, Dollár, Girshick. Masked Autoencoders Are Scalable Vision Learners. CVPR 2022.
arXiv:2111.06377.

Not as in the paper: a small ViT on 32 pixels with patches of 4 and a decoder of two blocks by default.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from counterpoint.core.encoder import Encoder
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.roles import Roles
from counterpoint.core.types import Batch, Progress, Terms, View, Views
from counterpoint.encoders.vit import Decoder, ViT
from counterpoint.objectives.reconstruction import masked_mse, patches
from counterpoint.views.image import Crops, MultiCrop
from counterpoint.views.mask import random_mask, visible


class Masked:
    """One crop, and a view of role "mask" that says which of its patches are hidden."""

    def __init__(self, size: int, tokens: int, ratio: float, flip: float) -> None:
        """Crops of ``size`` pixels with ``tokens`` patches, a share of ``ratio`` of them hidden."""
        # The paper changes no color (appendix A.1).
        crops = Crops(size=size, strength=0.0, gray=0.0, interpolation="bicubic", flip=flip)
        self.crops, self.tokens, self.ratio = MultiCrop((crops,)), tokens, ratio

    def __call__(self, batch: Batch, rng: torch.Generator) -> Views:
        """(crop, mask): (B, C, size, size) and (B, tokens) bool."""
        (crop,) = self.crops(batch, rng)
        mask = random_mask(len(crop.x), self.tokens, self.ratio, rng).to(crop.x.device)
        return crop, View(mask, crop.ids, role="mask")


class MAE(Method):
    """Masked autoencoder; the encoder sees visible patches only."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of MAE."""

        encoder: ViT.Config = field(default_factory=lambda: ViT.Config(positions="sincos"))
        """The network whose features are wanted; its ``size`` is that of the crops."""
        ratio: float = 0.75
        """Share of the patches that are hidden."""
        decoder: int = 128
        """Width of the decoder's tokens."""
        decoder_depth: int = 2
        """Blocks of the decoder."""
        decoder_heads: int = 4
        """Heads of the decoder's attention."""
        standardize: bool = True
        """Whether each patch to be made is standardized by its own mean and deviation."""
        flip: float = 0.5
        """Share of crops that are mirrored left and right; 0 where sides matter: digits, text, organs."""

    needs = frozenset({"image"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = ViT(config.encoder)
        self.decoder = Decoder(self.encoder, config.decoder, config.decoder_depth, config.decoder_heads)
        self.patch, self.standardize = config.encoder.patch, config.standardize
        self.views = Masked(config.encoder.size, self.encoder.side**2, config.ratio, config.flip)

    def loss(self, views: Views, at: Progress) -> Terms:  # noqa: ARG002 -- the same at every step
        """Mean squared error over the hidden patches."""
        crop, mask = views
        keep = visible(mask.x)
        made = self.decoder(self.encoder.tokens(crop.x, keep), keep)
        return Terms(
            {"masked": masked_mse(made, patches(crop.x, self.patch), mask.x, standardize=self.standardize)}
        )

    def network(self, role: str) -> Encoder:
        """The encoder, role "image": (B, C, H, W) → (B, out_dim)."""
        return Roles({"image": self.encoder})[role]
