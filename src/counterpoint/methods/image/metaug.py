"""MetAug: generators make harder features of all views, and learn by what a step on these does to encoders.

Li, Qiang, Zheng, Su, Xiong. MetAug: Contrastive Learning via Meta Feature Augmentation. ICML 2022.
arXiv:2203.05119.

Two parts of an image and the image itself have an encoder and a generator each; all pairs stand in one loss,
over a bank. The encoders learn; then, through a step of theirs that is not made, the generators do (a second
derivative). With the weights as released, the defaults here, made features hardly move the encoders.

Not as in the paper: ResNet-18 with a stem for small images by default (the paper: halves of AlexNet); the
image stays RGB; an image without a row is compared with its features of this step; all contrasts of a step
share their negatives; only similarities of made features are asked to be hard, by constant bounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.roles import Roles
from counterpoint.core.types import Pairs, Progress, Terms, Views
from counterpoint.encoders.resnet import ResNet
from counterpoint.heads.ahead import run_with, stepped
from counterpoint.heads.each import Each
from counterpoint.heads.mlp import mlp
from counterpoint.memories.banks import Banks
from counterpoint.objectives.contrastive import contrast
from counterpoint.objectives.precision import wide
from counterpoint.objectives.unified import crosswise, hard_margins, margin_injected, unified
from counterpoint.views.parts import PARTS, parted
from counterpoint.views.presets import PlainCrop


class MetAug(Method):
    """Contrast of parts, with features that generators make."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of MetAug."""

        made: float = 1e-5
        """Weight of contrasts with made features (the paper's α); 0 for none, and no generators."""
        regular: float = 1e-11
        """Weight of the margins that ask made features to be hard."""
        margin: Literal["large", "small", "mean"] = "large"
        """How hard they are asked to be."""
        inner: float = 1e-3
        """Length of the encoders' step through which generators learn; 0 for no second derivative."""
        noise: float = 0.0
        """Deviation of noise that makes features in the generators' place; 0 for generators."""
        sharpness: float = 16.0
        """Of the loss of all pairs (γ), which has no temperature."""
        temperature: float = 0.0
        """Of a softmax for each pair of parts in its place, such as 0.07; 0 for the loss of all pairs."""
        negatives: int = 1024
        """How many images are drawn from the bank for each anchor."""
        momentum: float = 0.5
        """Share of a bank's row that stays when its image comes again."""
        split: Literal["lab", "bands"] = "lab"
        """What the parts are: light and color, or, of any images, coarse and fine."""
        encoder: EncoderConfig = field(default_factory=ResNet.Config)
        """Each of the three networks; features are wanted of that of the whole image."""
        hidden: int = 2048
        """Width of the hidden layers of projectors and generators."""
        dim: int = 128
        """Width of the embeddings."""
        views: PlainCrop = field(default_factory=PlainCrop)
        """How the crop that is divided is made."""

    needs = frozenset({"image"})
    turns = ("encoders", "generators")

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.settings = config, config
        self.views = config.views.build()
        widths, learned = (config.hidden, config.dim), bool(config.made) and not config.noise
        encoders = [config.encoder.build() for _ in range(PARTS)]
        self.students = Each(nn.Sequential(e, mlp(e.out_dim, *widths)) for e in encoders)
        self.banks = Banks(PARTS, config.dim, config.momentum)
        self.generators = Each(mlp(config.dim, *widths, layers=3) for _ in range(PARTS if learned else 0))
        if not learned:
            self.turns = ("encoders",)  # pyright: ignore[reportAttributeAccessIssue] -- by the settings

    def trained(self, turn: str) -> nn.Module:
        """Encoders with their projectors, or generators."""
        return self.generators if turn == "generators" else self.students

    def loss(self, views: Views, at: Progress) -> Terms:
        """The objective of the encoders as they are or, for generators, as a step would make them."""
        (view,) = views
        x = parted(view.x, self.settings.split)
        z = normalize(wide(self.students(x)), dim=-1)
        drawn = self.banks.draw(view.ids, self.settings.negatives, torch.default_generator)  # of the step
        rows = self.banks.read(drawn, view.ids, z)
        terms = self._terms(z, rows, drawn)
        if at.turn == "encoders":
            return replace(terms, keep={"id": view.ids, "z": z.detach().transpose(0, 1)})
        if not self.settings.inner:
            return terms
        weights = stepped(terms.total, self.students, self.settings.inner)
        return self._terms(normalize(wide(run_with(weights, self.students, x)), dim=-1), rows, drawn)

    def network(self, role: str) -> Encoder:
        """The encoder of the whole image, role "image": (B, C, H, W) → (B, out_dim)."""
        encoder = self.students.get_submodule(f"{PARTS - 1}.0")
        assert isinstance(encoder, Encoder)
        return Roles({"image": encoder})[role]

    def after_step(self, at: Progress, kept: Mapping[str, Tensor]) -> None:  # noqa: ARG002 -- at every step
        """The rows of the batch's images move on, once, by features that nobody made."""
        self.banks.write(kept["id"], kept["z"].transpose(0, 1))

    def _terms(self, z: Tensor, rows: Tensor, drawn: Tensor) -> Terms:
        """Contrasts of z (3, B, D), and of mixtures with what is made, with rows (3, B, 1 + K, D)."""
        s, own, plain = self.settings, drawn == drawn[:, :1], crosswise(z, rows)
        first = torch.arange(drawn.shape[1], device=drawn.device) == 0
        pairs = Pairs(*(mask.repeat(1, PARTS * (PARTS - 1)) for mask in (own & first, ~own)))
        parts = {"contrast": self._contrast(plain, pairs)}
        if not s.made:
            return Terms(parts)
        made = z + s.noise * torch.randn(z.shape).to(z) if s.noise else self.generators(z)
        made = normalize(wide(made), dim=-1)
        hard, of = crosswise(made, rows), torch.arange(PARTS, device=z.device)[:, None]
        mixtures = [hard, *(torch.where(of == part, hard, plain) for part in range(PARTS))]
        parts["made"] = torch.stack([self._contrast(mixture, pairs) for mixture in mixtures]).sum()
        bounds = hard_margins(plain.flatten(1), pairs, s.margin)
        parts["margins"] = margin_injected(hard.flatten(1), pairs, bounds)
        notes = {
            "cosine": (made * z).sum(-1).mean().detach(),  # of features with what is made of them
            "spread": made.detach().std(1, correction=0).mean() * s.dim**0.5,
            "hardness": (hard - plain).detach().flatten(1)[pairs.negative].mean(),
        }
        return Terms(parts, weights={"made": s.made, "margins": s.regular}, notes=notes)

    def _contrast(self, scores: Tensor, pairs: Pairs) -> Tensor:
        """Of (B, 3, 2·(1 + K)) scores: over all of an anchor's pairs, or for each pair of parts."""
        if not self.settings.temperature:
            return unified(scores.flatten(1), pairs, self.settings.sharpness)
        tables = (scores.flatten(1) * 2 / self.settings.temperature, pairs.positive, pairs.negative)
        logits, near, far = (table.unflatten(1, (PARTS * (PARTS - 1), -1)) for table in tables)
        return contrast(logits, near, far).mean()
