"""cMIM: an autoencoder with sure codes, pushed apart by angle; no second view of an image is needed.

Livne. cMIM: A Contrastive Mutual Information Framework for Unified Generative and Discriminative
Representation Learning. 2025. arXiv:2502.19642.

Features are the decoder's last state ("informative embeddings"); the code is at the tap "code". The codes
compared are drawn: noise is all the augmentation there is. Their mean, not their sum, stands for the
negatives, so that the batch does not set the scale.

Not as in the paper: convolutions to the code and a perceptron back, pixels of one normal deviation. The
formula of the contrast is put together from what is public; its weight and temperature are open (at 0.1 it is
nearly 0).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log
from typing import Literal

import torch
from torch import Tensor, nn

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.errors import InputError
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.roles import Roles
from counterpoint.core.types import Batch, Progress, Terms, View, Views
from counterpoint.encoders.latent import Latent
from counterpoint.encoders.resnet import ResNet
from counterpoint.objectives.contrastive import anchor_mean, contrast, cosine_logits
from counterpoint.objectives.density import evidence_bound, log_normal, mutual_information_machine
from counterpoint.pairs.ids import same_sample
from counterpoint.views.image import Crops, MultiCrop


class Noisy:
    """The whole image, and a view of role "noise" from which its code is drawn."""

    def __init__(self, size: int, dim: int) -> None:
        """Images of ``size`` pixels, codes of ``dim`` numbers."""
        whole = Crops(size=size, area=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0, strength=0.0, gray=0.0)
        self.whole, self.dim = MultiCrop((whole,)), dim

    def __call__(self, batch: Batch, rng: torch.Generator) -> Views:
        """(image, noise): (B, C, size, size) and (B, dim) standard normal."""
        (image,) = self.whole(batch, rng)
        noise = torch.randn(len(image.x), self.dim, generator=rng).to(image.x)
        return image, View(noise, image.ids, role="noise")


class CMIM(Method):
    """Mutual information machine with contrast within the batch."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of cMIM."""

        form: Literal["mim", "vae", "ae"] = "mim"
        """The autoencoder: mutual information machine, variational, or plain with exact codes."""
        contrast: float = 1.0
        """Weight of the contrast, ≥ 0; the likelihood is a sum over pixels."""
        average: bool = True
        """Mean over the negatives; their sum is what InfoNCE has, without its positive view."""
        temperature: float = 1.0
        """What the cosines of codes are divided by (τ), > 0."""
        deviation: float = 0.1
        """Of the pixels about what the decoder says (σ), > 0."""
        lowest: float = -6.0
        """Least log-variance of a code: without it sure codes have no end."""
        encoder: EncoderConfig = field(default_factory=ResNet.Config)
        """The network that reads the image."""
        size: int = 32
        """Side of the images in pixels."""
        dim: int = 64
        """Width of the code."""
        hidden: int = 512
        """Width of the decoder's layers, and of the features."""

    needs = frozenset({"image"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = config
        if min(c.temperature, c.deviation) <= 0:
            raise InputError(
                f"cmim: expected temperature, deviation > 0, found {c.temperature}, {c.deviation}"
            )
        self.config, self.settings = config, config
        channels = getattr(c.encoder, "channels", 3)
        self.views = Noisy(c.size, c.dim)
        self.latent = Latent(Latent.Config(channels=channels, encoder=c.encoder, dim=c.dim, hidden=c.hidden))
        self.log_variance = nn.Linear(self.latent.encoder.out_dim, c.dim)
        self.image = nn.Linear(c.hidden, channels * c.size**2)

    def loss(self, views: Views, at: Progress) -> Terms:  # noqa: ARG002 -- the same at every step
        """The autoencoder's bound and the contrast of its codes, ``−mean log p(k_i = 1 | x_i, z_i)``."""
        image, noise = views
        s, (z, mean, spread) = self.settings, self._drawn(image.x, noise.x)
        likelihood = log_normal(image.x, self.decoded(z), 2 * log(s.deviation))
        if s.form == "ae":
            bound = -likelihood.mean()
        else:
            of = mutual_information_machine if s.form == "mim" else evidence_bound
            bound = of(likelihood, log_normal(z, torch.zeros_like(z), 0.0), log_normal(z, mean, spread))
        # the only positive of a code is itself, at a cosine of 1: a constant
        pairs = same_sample(image.ids, image.ids)
        logits = cosine_logits(z, z, s.temperature)
        apart = anchor_mean(
            contrast(logits, pairs.positive, pairs.negative, average=s.average), pairs.positive
        )
        notes = {"deviation of codes": (spread / 2).exp().mean().detach()}
        return Terms({"bound": bound, "contrast": apart}, weights={"contrast": s.contrast}, notes=notes)

    def network(self, role: str) -> Encoder:
        """The network to the decoder's last state, role "image": (B, C, H, W) → (B, hidden)."""
        return Roles({"image": self.latent})[role]

    def decoded(self, z: Tensor) -> Tensor:
        """Codes (B, dim) → images (B, C, size, size), any numbers."""
        side = self.settings.size
        return self.image(self.latent.decoder(z)).unflatten(1, (-1, side, side))

    def _drawn(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Codes, their means and their log-variances, (B, dim) each."""
        features = self.latent.encoder(x)
        mean, spread = self.latent.code(features), self.log_variance(features).clamp(min=self.settings.lowest)
        return (mean if self.settings.form == "ae" else mean + (spread / 2).exp() * noise), mean, spread
