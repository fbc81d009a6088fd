"""Hallucinator: a small network makes a second positive of each query, farther from the key than the query.

Wu, Hobbs, Hovakimyan. Hallucination Improves the Performance of Unsupervised Visual Representation Learning.
ICCV 2023. arXiv:2307.12168.

On top of MoCo v2, SimCLR or SimSiam, whose loss is the mean over twice as many queries. Keys join MoCo's
queue once; the released code writes each twice and so halves what the queue tells apart. In SimCLR a
second query and a repeated key are no negatives of their own image, as they are in the released code.

Not as in the paper: a ResNet-18 with a stem for small images by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, normalize

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.roles import Roles
from counterpoint.core.types import Pairs, Progress, Terms, Views
from counterpoint.encoders.resnet import ResNet
from counterpoint.heads.mlp import mlp
from counterpoint.heads.synthetic import SyntheticPositive
from counterpoint.memories.queue import Queue
from counterpoint.memories.teacher import Teacher
from counterpoint.objectives.contrastive import cosine_logits, info_nce
from counterpoint.objectives.regression import negative_cosine
from counterpoint.objectives.tableless import contrast_past
from counterpoint.pairs.ids import same_sample
from counterpoint.views.presets import UnlikeCrops


class Hallucinator(Method):
    """Two queries of an image, one of them made, with one key."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of the Hallucinator and of what it stands on."""

        framework: Literal["moco", "simclr", "simsiam"] = "moco"
        """What learns from the positives."""
        reach: float = 0.1
        """Longest step away from the key, as a share of the distance to it (the paper's r); 0 for none."""
        away: Literal["key", "nothing"] = "key"
        """Whether that step goes away from the key, or as far in a random direction."""
        smooth: bool = True
        """Whether a perceptron smooths what the step gives."""
        masked: bool = True
        """SimCLR: an image's other rows are not its negatives; released with them among the negatives."""
        temperature: float = 0.2
        """What the cosines are divided by (the paper's τ), > 0; not used by SimSiam."""
        momentum: float = 0.999
        """Of MoCo's teacher, constant; 0.99 for trainings of a few thousand steps."""
        queue: int = 65536
        """How many keys MoCo remembers; fewer than the data set has samples."""
        encoder: EncoderConfig = field(default_factory=ResNet.Config)
        """The network whose features are wanted."""
        hidden: int = 2048
        """Width of the projector's hidden layers."""
        dim: int = 128
        """Width of the embedding; 512 for SimSiam in the paper."""
        layers: int = 3
        """Layers of SimSiam's projector; the others' has two."""
        predictor: int = 128
        """Width of the hidden layer of SimSiam's predictor, a bottleneck."""
        views: UnlikeCrops = field(default_factory=UnlikeCrops)
        """How query and key of an image are made."""

    needs = frozenset({"image"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.settings = config, config
        self.views, self.encoder = config.views.build(), config.encoder.build()
        moco, siam = (config.framework == name for name in ("moco", "simsiam"))
        self.projector = mlp(
            self.encoder.out_dim, config.hidden, config.dim, config.layers if siam else 2,
            norm=not moco, last_norm=not moco, last_affine=not siam,
        )  # fmt: skip
        self.predictor = mlp(config.dim, config.predictor, config.dim) if siam else None
        self.teacher = Teacher(self._student(), config.momentum, last=config.momentum) if moco else None
        self.queue = Queue(config.queue, config.dim, tags=("id",), filled=True) if moco else None
        self.positive = SyntheticPositive(config.dim, config.reach, config.away, config.smooth)

    def loss(self, views: Views, at: Progress) -> Terms:  # noqa: ARG002 -- the same at every step
        """The loss of the framework over both queries; "query" and "made" are their cosines with the key."""
        of = {"moco": self._moco, "simclr": self._simclr, "simsiam": self._simsiam}
        return of[self.settings.framework](views)

    def network(self, role: str) -> Encoder:
        """The encoder, role "image": (B, C, H, W) → (B, out_dim)."""
        return Roles({"image": self.encoder})[role]

    def after_step(self, at: Progress, kept: Mapping[str, Tensor]) -> None:
        """Of MoCo, teacher and queue move on; each key is written once."""
        if self.teacher is not None and self.queue is not None:
            self.teacher.follow(self._student(), at)
            self.queue.push(kept["key"], id=kept["id"])

    def _moco(self, views: Views) -> Terms:
        assert self.teacher is not None and self.queue is not None
        query, key = views
        x, k = self.projector(self.encoder(query.x)), normalize(self.teacher(key.x), dim=1)
        both, notes = self._both(x, k)
        ids = (query.ids.repeat(2), self.queue.tag("id"))
        loss = contrast_past(both, k.repeat(2, 1), self.queue.read(), self.settings.temperature, ids)
        return Terms({"info_nce": loss}, notes=notes, keep={"key": k, "id": key.ids})

    def _simclr(self, views: Views) -> Terms:
        x, k = self.projector(self.encoder(torch.cat([v.x for v in views]))).chunk(2)
        both, notes = self._both(x, k)
        rows, ids = torch.cat([both, k, k]), views[0].ids.repeat(4)
        itself = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
        partner = itself.roll(len(both), 0)  # x of the first copy of its key, h of the second
        negative = same_sample(ids).negative if self.settings.masked else ~partner & ~itself
        loss = info_nce(cosine_logits(rows, rows, self.settings.temperature), Pairs(partner, negative))
        return Terms({"nt_xent": loss}, notes=notes)

    def _simsiam(self, views: Views) -> Terms:
        assert self.predictor is not None
        first, second = (self.projector(self.encoder(v.x)) for v in views)
        p, q = self.predictor(first), self.predictor(second)
        (one, notes), (other, _) = self._both(p, q), self._both(q, p)
        parts = {
            "first": negative_cosine(one, second.detach().repeat(2, 1)),
            "second": negative_cosine(other, first.detach().repeat(2, 1)),
        }
        return Terms(parts, weights=dict.fromkeys(parts, 0.5), notes=notes)

    def _both(self, x: Tensor, k: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """(2B, D): the queries and what is made of them; how near both are to their keys."""
        made = self.positive(x, k, torch.default_generator)  # of the step, as that of dropout is
        near = {"query": x, "made": made}
        return torch.cat([x, made]), {n: cosine_similarity(z, k).mean().detach() for n, z in near.items()}

    def _student(self) -> nn.Module:
        return nn.Sequential(self.encoder, self.projector)
