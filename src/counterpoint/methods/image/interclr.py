"""InterCLR: beside its key, a query finds a remembered image of its own cluster, clusters being kept online.

Xie, Zhan, Liu, Ong, Loy. Delving into Inter-Image Invariance for Unsupervised Visual Representations. IJCV
2022. arXiv:2008.11702.

MoCo v2 within images, and a second InfoNCE between them over a bank of all samples: its positive is any
remembered image of the query's pseudo-label, made easier by a negative margin, since labels may be wrong; its
negatives are drawn from the harder ones of other labels.

Not as in the paper: a ResNet-18 with a stem for small images by default; the clusters begin with the keys of
the first epoch, in which there is no loss between images, not with a pass of the untrained network; the
pool of harder negatives is of other labels alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.roles import Roles
from counterpoint.core.types import Progress, Terms, Views
from counterpoint.encoders.resnet import ResNet
from counterpoint.heads.mlp import mlp
from counterpoint.memories.clusters import Clusters
from counterpoint.memories.queue import Queue
from counterpoint.memories.teacher import Teacher
from counterpoint.objectives.contrastive import anchor_mean, contrast, cosine_logits
from counterpoint.objectives.tableless import contrast_past
from counterpoint.pairs.drawn import drawn
from counterpoint.pairs.labels import same_class
from counterpoint.views.image import AsIs
from counterpoint.views.presets import MoCoCrops
from counterpoint.views.several import Several


class InterCLR(Method):
    """Contrast within and between images."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of InterCLR."""

        weight: float = 0.25
        """Of the loss between images, in [0, 1]; that within has the rest."""
        margin: float = -0.5
        """Taken off the cosine with the positive of another image; below 0 asks less of it."""
        sampling: Literal["semi_hard", "hard", "random", "semi_easy"] = "semi_hard"
        """Which remembered images of other labels are negatives."""
        pool: int = 128000
        """How many of them are harder (or easier) ones to draw from; a tenth of the data in the paper."""
        negatives: int = 16384
        """How many of them are drawn."""
        labels: Literal["online", "offline", "oracle"] = "online"
        """Pseudo-labels kept at every step, or by k-means before every epoch; or the classes themselves."""
        prototypes: int = 10000
        """How many clusters; fewer than the data set has samples."""
        least: int = 20
        """Images of a cluster; a smaller one is dissolved, and the largest is split."""
        interval: int = 10
        """Updates between two in which centroids are made anew."""
        start: int = 1
        """Epochs of MoCo alone before; at least one, which fills the bank."""
        dim: int = 128
        """Width of the embedding, and of the bank."""
        hidden: int = 2048
        """Width of the projector's hidden layer."""
        queue: int = 65536
        """How many keys are remembered for the loss within images."""
        momentum: float = 0.999
        """Of the teacher, constant; 0.99 for trainings of a few thousand steps."""
        temperature: float = 0.2
        """What the cosines of both losses are divided by (the paper's τ), > 0."""
        encoder: EncoderConfig = field(default_factory=ResNet.Config)
        """The network whose features are wanted."""
        views: MoCoCrops = field(default_factory=MoCoCrops)
        """How query and key of an image are made."""

    needs = frozenset({"image"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.settings = config, config
        self.views = config.views.build()
        if config.labels == "oracle":
            self.views = Several(self.views, AsIs(("label",)))
            # what is needed depends on the settings here
            self.needs = frozenset({"image", "label"})  # pyright: ignore[reportAttributeAccessIssue]
        self.encoder = config.encoder.build()
        self.projector = mlp(self.encoder.out_dim, config.hidden, config.dim, norm=False)
        self.teacher = Teacher(self._student(), config.momentum, last=config.momentum)
        self.queue = Queue(config.queue, config.dim, tags=("id",), filled=True)
        self.clusters = Clusters(config.prototypes, config.dim, config.least)

    def before_epoch(self, at: Progress, embed_all: Callable[[str], Tensor]) -> None:  # noqa: ARG002
        """Cluster the bank: once, or before every epoch if labels are kept offline."""
        due = self.settings.labels == "offline" or not self.clusters.begun
        if due and self.settings.labels != "oracle" and at.epoch >= max(self.settings.start, 1):
            self.clusters.begin(torch.default_generator)

    def loss(self, views: Views, at: Progress) -> Terms:
        """InfoNCE within images and, from ``start`` on, between them."""
        query, key, *labels = views
        keep = {"id": key.ids, "key": normalize(self.teacher(key.x), dim=1)}
        q = self.projector(self.encoder(query.x))
        ids = (query.ids, self.queue.tag("id"))
        intra = contrast_past(q, keep["key"], self.queue.read(), self.settings.temperature, ids)
        ready = at.epoch >= self.settings.start and self.clusters.begun
        inter = self._between(q, query.ids) if ready else intra.new_zeros(())
        weights = {"intra": 1 - self.settings.weight, "inter": self.settings.weight}
        return Terms(
            {"intra": intra, "inter": inter}, weights, keep=keep | {view.role: view.x for view in labels}
        )

    def network(self, role: str) -> Encoder:
        """The encoder, role "image": (B, C, H, W) → (B, out_dim)."""
        return Roles({"image": self.encoder})[role]

    def after_step(self, at: Progress, kept: Mapping[str, Tensor]) -> None:
        """Teacher and queue move on; keys replace their images' rows, and online labels follow."""
        self.teacher.follow(self._student(), at)
        self.queue.push(kept["key"], id=kept["id"])
        given = kept.get("label")
        if self.settings.labels == "offline":
            given = self.clusters.of(kept["id"])
        self.clusters.write(kept["id"], kept["key"], given)
        if given is None and self.clusters.begun:
            if at.step % self.settings.interval == 0:
                self.clusters.center()
            self.clusters.repair(torch.default_generator)

    def _between(self, q: Tensor, ids: Tensor) -> Tensor:
        """Queries (B, D) against the bank; section 3 of the paper."""
        s, rng = self.settings, torch.default_generator  # of the step, as that of dropout is
        logits = cosine_logits(q, self.clusters.read(), s.temperature)
        pairs = same_class(self.clusters.of(ids), self.clusters.label)
        positive = drawn(logits, pairs.positive, "random", 0, 1, rng)
        negative = drawn(logits, pairs.negative, s.sampling, s.pool, s.negatives, rng)
        losses = contrast(logits, positive, negative, margin=s.margin / s.temperature)
        return anchor_mean(losses, positive)

    def _student(self) -> nn.Module:
        return nn.Sequential(self.encoder, self.projector)
