"""OBoW: from crops a student foretells which visual words a slow teacher finds in the whole image.

Gidaris, Bursuc, Puy, Komodakis, Cord, Pérez. OBoW: Online Bag-of-Visual-Words Generation for Self-Supervised
Learning. CVPR 2021. arXiv:2012.11552.

Words are the teacher's own local features of the last images; the student's classifier is generated from
them. Targets and predictions are of the words as they were before the step.

Not as in the paper: a ResNet-18 with a stem for small images by default, and crops of 32, 24 and 16 pixels;
patches are small crops, each for itself, not five of a grid of nine within a larger crop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from counterpoint.core.encoder import Encoder, EncoderConfig, each_size, tapped
from counterpoint.core.errors import InputError
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.roles import Roles
from counterpoint.core.types import Progress, Terms, Views
from counterpoint.encoders.resnet import ResNet
from counterpoint.heads.words import GeneratedClassifier
from counterpoint.memories.teacher import Teacher
from counterpoint.memories.vocabulary import Vocabulary, inner, one_place
from counterpoint.objectives.bags import bag_divergence, bag_of_words, perplexity, word_distances
from counterpoint.views.presets import OBoWCrops


class OBoW(Method):
    """Bags of words, with teacher, vocabulary and classifier that keep up with each other."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of OBoW."""

        encoder: EncoderConfig = field(default_factory=ResNet.Config)
        """The network whose features are wanted."""
        levels: int = 2
        """How many of its last taps have a vocabulary each; 1 is the paper's plain form."""
        prototypes: int = 8192
        """Words of a vocabulary."""
        online: bool = True
        """Whether words follow the teacher; else they stay as they began."""
        generated: bool = True
        """Whether the classifier is generated from the words; else it has weights of its own."""
        code_sharpness: float = 10.0
        """Of the targets (the paper's 1/δ); 15 for a ResNet-50."""
        sharpness: float = 5.0
        """Of the predictions (the paper's κ); 8 for a ResNet-50."""
        momentum: float = 0.99
        """Of the teacher at the beginning; it rises to 1, where it stays if it begins there."""
        views: OBoWCrops = field(default_factory=OBoWCrops)
        """How the image the teacher sees and the student's crops and patches are made."""

    needs = frozenset({"image"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.settings = config, config
        self.views, self.encoder = config.views.build(), config.encoder.build()
        if not 1 <= config.levels <= len(self.encoder.taps):
            raise InputError(
                f"obow.levels: expected 1 to {len(self.encoder.taps)} taps, found {config.levels}"
            )
        self.taps = dict(list(self.encoder.taps.items())[-config.levels :])
        width, words = self.encoder.out_dim, config.prototypes
        self.teacher = Teacher(self.encoder, config.momentum)
        self.vocabularies = nn.ModuleList(Vocabulary(words, dim) for dim in self.taps.values())
        self.classifiers = nn.ModuleList(
            GeneratedClassifier(dim, width, config.sharpness) if config.generated else nn.Linear(width, words)
            for dim in self.taps.values()
        )

    def loss(self, views: Views, at: Progress) -> Terms:  # noqa: ARG002 -- the same at every step
        """Divergences of crops and of patches, each a mean over levels (section 3 of the paper)."""
        whole, *parts = views
        with tapped(self.teacher.network, list(self.taps)) as seen:
            self.teacher(whole.x)
        features = each_size(self.encoder, [v.x for v in parts])
        losses: dict[str, list[Tensor]] = {view.role: [] for view in parts}
        keep, notes = {}, {}
        for i, (tap, vocabulary) in enumerate(zip(self.taps, self.vocabularies, strict=True)):
            assert isinstance(vocabulary, Vocabulary)
            maps, words = inner(seen[tap]), vocabulary.read()
            distance = word_distances(maps.flatten(2).mT, words)
            scale = vocabulary.scaled(distance)
            bags = bag_of_words(distance, scale, self.settings.code_sharpness)
            keep |= {f"words {i}": one_place(maps, torch.default_generator), f"scale {i}": scale[None]}
            notes |= dict(zip((f"of image {i}", f"of batch {i}"), perplexity(bags), strict=True))
            for view, h in zip(parts, features, strict=True):
                losses[view.role].append(bag_divergence(self._logits(i, h, words), bags))
        return Terms(
            {name: torch.stack(each).mean() for name, each in losses.items()}, notes=notes, keep=keep
        )

    def network(self, role: str) -> Encoder:
        """The encoder, role "image": (B, C, H, W) → (B, out_dim)."""
        return Roles({"image": self.encoder})[role]

    def after_step(self, at: Progress, kept: Mapping[str, Tensor]) -> None:
        """The teacher follows, and what it has just seen are the newest words."""
        self.teacher.follow(self.encoder, at)
        for i, vocabulary in enumerate(self.vocabularies):
            assert isinstance(vocabulary, Vocabulary)
            words = kept[f"words {i}"]
            vocabulary.write(words if self.settings.online else words[:0], kept[f"scale {i}"])

    def _logits(self, level: int, h: Tensor, words: Tensor) -> Tensor:
        """(B, K): what words a crop's features (B, out_dim) foretell."""
        classifier = self.classifiers[level]
        return classifier(h, words) if self.settings.generated else classifier(h)
