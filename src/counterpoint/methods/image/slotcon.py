"""SlotCon: places are grouped by learned prototypes, and the groups of two views are told from all others.

Wen, Zhao, Zheng, Zhang, Qi. Self-Supervised Visual Representation Learning with Semantic Grouping. NeurIPS
2022. arXiv:2205.15288.

A view's scores are cut to the part both crops show and turned upright before they are compared; slots and
the center are of whole crops. Both branches make slots at the teacher's temperature, as the authors' code.

Not as in the paper: a ResNet-18 with a stem for small images and 256 prototypes by default (the paper:
ResNet-50, LARS, 256 on COCO, 2048 on ImageNet); linear resampling for RoIAlign; heads begin as torch has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.roles import Roles
from counterpoint.core.types import Progress, Terms, Views
from counterpoint.encoders.resnet import ResNet
from counterpoint.heads.maps import EveryPlace, Tap
from counterpoint.heads.mlp import mlp
from counterpoint.heads.slots import Slots, occupied
from counterpoint.memories.center import Center
from counterpoint.memories.teacher import Teacher
from counterpoint.objectives.assignment import centered_cross_entropy
from counterpoint.objectives.contrastive import cosine_logits, info_nce
from counterpoint.pairs.ids import same_sample
from counterpoint.views.overlap import SlotConCrops, box_of, cut, overlap


class SlotCon(Method):
    """Consistent grouping of places, and contrast of the groups."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of SlotCon."""

        prototypes: int = 256
        """How many groups there may be."""
        grouping: float = 0.5
        """Weight of the consistency of groups (λ); that of the contrast is 1 - λ."""
        student_temperature: float = 0.1
        """Of the student's scores, > 0."""
        teacher_temperature: float = 0.07
        """Of the teacher's scores, and of the shares that make slots, > 0."""
        temperature: float = 0.2
        """Of the contrast (τ), > 0; its loss is multiplied by 2τ."""
        momentum: float = 0.99
        """Of the teacher at the beginning; it rises to 1."""
        center_momentum: float = 0.9
        """Of the running mean of the teacher's scores; 1 for none: one group would take all places."""
        encoder: EncoderConfig = field(default_factory=ResNet.Config)
        """The network whose features are wanted."""
        tap: str = ""
        """The layer whose map is grouped; empty for the last one that may be read."""
        hidden: int = 4096
        """Width of the hidden layers of projector and predictor."""
        dim: int = 256
        """Width of the embedding."""
        views: SlotConCrops = field(default_factory=SlotConCrops)
        """How two overlapping crops of an image are made."""

    needs = frozenset({"image"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.settings = config, config
        c = config
        self.views = c.views.build()
        self.encoder = c.encoder.build()
        width = Tap(self.encoder, c.tap).out_dim
        self.projector = EveryPlace(mlp(width, c.hidden, c.dim, layers=3, activation="gelu"))
        self.slots = Slots(c.dim, c.prototypes, c.teacher_temperature)
        self.predictor = mlp(c.dim, c.hidden, c.dim, layers=3, activation="gelu")
        self.teacher = Teacher(self._student(), c.momentum)
        self.center = Center(c.prototypes, c.center_momentum) if c.center_momentum < 1 else None

    def loss(self, views: Views, at: Progress) -> Terms:  # noqa: ARG002 -- the same at every step
        """Equations 4 and 6 of the paper, mean of both directions."""
        student = self._student()
        seen, known = ([network(v.x) for v in views] for network in (student, self.teacher))
        ways = ((0, 1), (1, 0))
        group = torch.stack([self._grouping(views, seen[i][1], known[j][1], i, j) for i, j in ways])
        contrast = torch.stack([self._contrast(*seen[i], *known[j]) for i, j in ways])
        share = self.settings.grouping
        return Terms(
            {"grouping": group.mean(), "contrast": contrast.mean()},
            weights={"grouping": share, "contrast": 1 - share},
            notes={"groups in a view": occupied(known[0][1]).sum(1).float().mean()},
            keep={"scores": torch.cat([s.movedim(1, -1).flatten(0, 2) for _, s in known])},
        )

    def after_step(self, at: Progress, kept: Mapping[str, Tensor]) -> None:
        """The teacher follows, and the center the teacher's scores at all places of both views."""
        self.teacher.follow(self._student(), at)
        if self.center is not None:
            self.center.follow(kept["scores"])

    def network(self, role: str) -> Encoder:
        """The encoder, role "image": (B, C, H, W) → (B, out_dim); ``grouped`` tells places apart."""
        return Roles({"image": self.encoder})[role]

    @torch.no_grad()
    def grouped(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, h, w): the prototype that each place is most like."""
        return self._student()(x)[1].argmax(1)

    def _grouping(self, views: Views, seen: Tensor, known: Tensor, i: int, j: int) -> Tensor:
        """How well the student groups the places of view ``i`` as the teacher does in view ``j``."""
        s, boxes = self.settings, (box_of(views[i]), box_of(views[j]))
        part, share = overlap(*boxes)
        there = share > 0  # crops that share nothing cannot be compared
        q, t = (cut(m, box, part)[there].movedim(1, -1) for m, box in zip((seen, known), boxes, strict=True))
        center = known.new_zeros(known.shape[1]) if self.center is None else self.center.read()
        return centered_cross_entropy(q, t, center, s.student_temperature, s.teacher_temperature)

    def _contrast(self, slots: Tensor, scores: Tensor, keys: Tensor, others: Tensor) -> Tensor:
        """2τ · InfoNCE of slots occupied in both views, against all occupied slots of the other view."""
        anchors, there = occupied(scores) & occupied(others), occupied(others)
        number = torch.arange(anchors.numel(), device=anchors.device).view_as(anchors)
        if anchors.sum() < 2:  # of one row there is no normalization
            return 0 * slots.sum()
        logits = cosine_logits(self.predictor(slots[anchors]), keys[there], self.settings.temperature)
        return 2 * self.settings.temperature * info_nce(logits, same_sample(number[anchors], number[there]))

    def _student(self) -> nn.Module:
        return nn.Sequential(Tap(self.encoder, self.settings.tap), self.projector, self.slots)
