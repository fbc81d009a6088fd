"""SwAV: one crop predicts the balanced cluster codes of another.

Caron, Misra, Mairal, Goyal, Bojanowski, Joulin. Unsupervised Learning of Visual Features by Contrasting
Cluster Assignments. NeurIPS 2020. arXiv:2006.09882.

Not as in the paper: a ResNet-18 with a stem for small images and crops of 32 and 16 pixels by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.core.encoder import Encoder, EncoderConfig, each_size
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.roles import Roles
from counterpoint.core.types import Progress, Terms, Views
from counterpoint.encoders.resnet import ResNet
from counterpoint.heads.mlp import mlp
from counterpoint.heads.prototypes import Prototypes
from counterpoint.memories.queue import Queue
from counterpoint.objectives.assignment import sinkhorn, swapped
from counterpoint.views.presets import SwAVCrops


class SwAV(Method):
    """Swapped prediction over prototypes, with crops of two sizes and a queue."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of SwAV."""

        encoder: EncoderConfig = field(default_factory=ResNet.Config)
        """The network whose features are wanted."""
        hidden: int = 2048
        """Width of the projector's hidden layer."""
        dim: int = 128
        """Width of the embedding."""
        prototypes: int = 3000
        """How many clusters."""
        temperature: float = 0.1
        """Sharpness of the prediction (the paper's τ), > 0."""
        sharpness: float = 0.05
        """Sharpness of the codes (the paper's ε), > 0."""
        rounds: int = 3
        """Rounds of Sinkhorn and Knopp."""
        freeze: float = 0.01
        """Share of the training in which the prototypes stay as they began."""
        queue: int = 0
        """Past embeddings of each global crop that help to balance the codes, for batches smaller than the
        number of prototypes; 3840 for batches of 256 in the paper, 0 for none."""
        queue_from: float = 0.15
        """Share of the training after which the queue is used, once it is full."""
        views: SwAVCrops = field(default_factory=SwAVCrops)
        """How the crops of an image are made."""

    needs = frozenset({"image"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        c = config
        self.temperature, self.sharpness, self.rounds = c.temperature, c.sharpness, c.rounds
        self.freeze, self.queue_from = c.freeze, c.queue_from
        self.views = c.views.build()
        self.encoder = c.encoder.build()
        self.projector = mlp(self.encoder.out_dim, c.hidden, c.dim)
        self.prototypes = Prototypes(c.dim, c.prototypes)
        self.queues = Roles({f"z{i}": Queue(c.queue, c.dim) for i in range(2)} if c.queue else {})

    def loss(self, views: Views, at: Progress) -> Terms:
        """Equation 1 of the paper, mean over all pairs of a global crop and another one."""
        features = torch.cat(each_size(self.encoder, [v.x for v in views]))
        z = normalize(self.projector(features), dim=1).split(len(views[0].ids))
        frozen = at.fraction < self.freeze
        scores = [self.prototypes(e, frozen) for e in z]
        use_queue = at.fraction >= self.queue_from and all(self.queues[q].full for q in self.queues)
        parts = []
        for i in range(2):
            pool = scores[i].detach()
            if use_queue and len(self.queues):
                pool = torch.cat((pool, self.prototypes(self.queues[f"z{i}"].read()).detach()))
            codes = sinkhorn(pool, self.sharpness, self.rounds)[: len(scores[i])]
            parts += [swapped(s, codes, self.temperature) for j, s in enumerate(scores) if j != i]
        keep = {f"z{i}": z[i].detach() for i in range(2)}
        return Terms({"swapped": torch.stack(parts).mean()}, keep=keep)

    def after_step(self, at: Progress, kept: Mapping[str, Tensor]) -> None:  # noqa: ARG002
        """Prototypes go back to the sphere; embeddings join the queues."""
        self.prototypes.normalize_()
        for name in self.queues:
            self.queues[name].push(kept[name])

    def network(self, role: str) -> Encoder:
        """The encoder, role "image": (B, C, H, W) → (B, out_dim)."""
        return Roles({"image": self.encoder})[role]
