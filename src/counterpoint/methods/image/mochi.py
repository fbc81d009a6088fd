"""MoCHi: MoCo with negatives that are harder than any there are, mixed of the hardest in the queue.

Kalantidis, Sariyildiz, Pion, Weinzaepfel, Larlus. Hard Negative Mixing for Contrastive Learning. NeurIPS
2020. arXiv:2010.01028.

Mixtures are constants, made for each query anew: they join its softmax and never the queue. Settings are the
paper's for ImageNet-100, (N, s, s') = (1024, 1024, 128) with a queue of 16384.

Not as in the paper: a ResNet-18 with a stem for small images by default; one's own keys of earlier epochs,
which small data sets still have in the queue, are no negatives and never mixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.roles import Roles
from counterpoint.core.types import Progress, Terms, Views
from counterpoint.encoders.resnet import ResNet
from counterpoint.heads.mlp import mlp
from counterpoint.memories.queue import Queue
from counterpoint.memories.teacher import Teacher
from counterpoint.objectives.contrastive import cosine_logits, info_nce
from counterpoint.objectives.precision import wide
from counterpoint.pairs.candidates import beside, in_batch, joined, mixed, mixed_with_anchor, own, remembered
from counterpoint.pairs.hard import ranked
from counterpoint.views.image import AsIs
from counterpoint.views.presets import MoCoCrops
from counterpoint.views.several import Several


class MoCHi(Method):
    """Momentum contrast with mixed hard negatives."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of MoCHi."""

        hardest: int = 1024
        """How many of the queue's hardest negatives are mixed (the paper's N); few beside ``queue``."""
        mixed: int = 1024
        """Mixtures of two hard negatives for each query (s)."""
        with_query: int = 128
        """Mixtures of the query and a hard negative for each query (s')."""
        start: int = 10
        """Epochs of plain MoCo before: at first the hardest negatives mean nothing."""
        oracle: bool = False
        """Mix no negatives of the query's class: what mixing could do if it knew; needs labels."""
        temperature: float = 0.2
        """What the cosines are divided by (the paper's τ), > 0."""
        momentum: float = 0.999
        """Of the teacher, constant; 0.99 for trainings of a few thousand steps."""
        queue: int = 16384
        """How many keys are remembered; fewer than the data set has samples."""
        encoder: EncoderConfig = field(default_factory=ResNet.Config)
        """The network whose features are wanted."""
        hidden: int = 2048
        """Width of the projector's hidden layer."""
        dim: int = 128
        """Width of the keys."""
        views: MoCoCrops = field(default_factory=MoCoCrops)
        """How query and key of an image are made."""

    needs = frozenset({"image"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.settings = config, config
        self.views, self.kept = config.views.build(), ("id",)
        if config.oracle:
            self.views, self.kept = Several(self.views, AsIs(("label",))), ("id", "label")
            # what is needed depends on the settings here
            self.needs = frozenset({"image", "label"})  # pyright: ignore[reportAttributeAccessIssue]
        self.encoder = config.encoder.build()
        self.projector = mlp(self.encoder.out_dim, config.hidden, config.dim, norm=False)
        self.teacher = Teacher(self._student(), config.momentum, last=config.momentum)
        self.queue = Queue(config.queue, config.dim, tags=self.kept, filled=True)

    def loss(self, views: Views, at: Progress) -> Terms:
        """InfoNCE over the key, the queue and, from ``start`` on, the mixtures (section 3 of the paper)."""
        query, key, *labels = views
        q = normalize(wide(self.projector(self.encoder(query.x))), dim=1)
        keep = {"id": key.ids, **{view.role: view.x for view in labels}}
        keep["key"] = normalize(self.teacher(key.x), dim=1)
        past = remembered(query.ids, self.queue.read(), self.queue.tag("id"))
        keys = joined(own(in_batch(query.ids, keep["key"], key.ids)), past)
        logits, pairs = cosine_logits(q, keys.rows, self.settings.temperature), keys.pairs
        if at.epoch >= self.settings.start:
            mixable = past.pairs.negative
            if labels:
                mixable = mixable & (labels[0].x[:, None] != self.queue.tag("label")[None, :])
            likeness = (q[:, None] * self._mixed(q.detach(), past.rows, mixable)).sum(-1)
            logits, pairs = beside(logits, pairs, likeness / self.settings.temperature)
        first = logits.detach().masked_fill(~(pairs.positive | pairs.negative), -torch.inf).argmax(1)
        proxy = pairs.positive.gather(1, first[:, None]).float().mean()
        return Terms({"info_nce": info_nce(logits, pairs)}, notes={"proxy": proxy}, keep=keep)

    def network(self, role: str) -> Encoder:
        """The encoder, role "image": (B, C, H, W) → (B, out_dim)."""
        return Roles({"image": self.encoder})[role]

    def after_step(self, at: Progress, kept: Mapping[str, Tensor]) -> None:
        """Teacher and queue move on; of the mixtures nothing stays."""
        self.teacher.follow(self._student(), at)
        self.queue.push(kept["key"], **{tag: kept[tag] for tag in self.kept})

    @torch.no_grad()
    def _mixed(self, q: Tensor, past: Tensor, mixable: Tensor) -> Tensor:
        """(B, s + s', D): the negatives made for each query; none if a query has nothing to mix."""
        hard = ranked(q @ past.T, mixable, self.settings.hardest)
        if not hard.shape[1]:
            return q.new_zeros(len(q), 0, q.shape[1])
        rng = torch.default_generator  # of the step, as that of dropout is
        among = mixed(past, hard, self.settings.mixed, rng)
        return torch.cat([among, mixed_with_anchor(q, past, hard, self.settings.with_query, rng)], 1).to(q)

    def _student(self) -> nn.Module:
        return nn.Sequential(self.encoder, self.projector)
