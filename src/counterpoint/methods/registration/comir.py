"""CoMIR: two networks turn two modalities into images that look alike.

Pielawski, Wetzer, Öfverstedt, Lu, Wählby, Lindblad, Sladoje. CoMIR: Contrastive Multimodal Image
Representation for Registration. NeurIPS 2020. arXiv:2006.06325.

Not as in the paper, so that a processor trains it in a minute: by default two small U-Nets on patches of 64
pixels at temperature 0.1 (the paper: ``tiramisu`` networks, 128 pixels, 0.5); continuous rotations are always
interpolated bilinearly (the paper draws the interpolation) and cut from larger tiles, so that no mirrored
corner is seen. The activation decay lacks the constant that the authors' code adds: it has no gradient.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from counterpoint.core.encoder import Encoder, EncoderConfig, tapped
from counterpoint.core.errors import InputError
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.roles import Roles
from counterpoint.core.types import Progress, Terms, Views
from counterpoint.encoders.unet import UNet
from counterpoint.objectives.contrastive import info_nce
from counterpoint.objectives.supervision import Critic, Schedule, Supervised, Supervision, critic
from counterpoint.pairs.ids import same_sample
from counterpoint.views.patches import TurnedPatches


class CoMIR(Method):
    """Contrast of whole patches, position by position, across modalities; equivariant to quarter turns.

    A patch's positive is the same patch in the other modality; its negatives are all other patches of the
    batch, in both modalities. A batch needs two patches at least.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of CoMIR."""

        fixed: EncoderConfig = field(default_factory=UNet.Config)
        """The network of the fixed modality."""
        moving: EncoderConfig = field(default_factory=UNet.Config)
        """The network of the moving modality; shares no weights with the other."""
        critic: Critic = "mse"
        """How alike two maps are: −mean squared difference, cosine, −mean absolute difference."""
        temperature: float = 0.1
        """What the critic is divided by (the paper's τ), > 0."""
        schedule: Schedule = field(default_factory=Schedule)
        """At which updates the maps are compared; always in the paper."""
        intermediate: tuple[Supervision, ...] = ()
        """Further terms at layers of both networks (Wetzer et al., arXiv:2303.00403); none in the paper."""
        decay_l1: float = 1e-4
        """Weight of the mean absolute value of the maps."""
        decay_l2: float = 1e-4
        """Weight of the mean square of the maps."""
        size: int = 64
        """Side of the patches in pixels; a multiple of what the networks ask for."""
        equivariant: bool = True
        """Turn each patch by random quarters, each modality for itself, and turn the maps back: without it
        the maps of turned images need not be turned maps."""
        rotate: bool = True
        """Rotate both modalities together by any angle."""
        flip: bool = True
        """Mirror both modalities together, half of the patches."""
        scale: tuple[float, float] = (1.0, 1.0)
        """Zoom both modalities together: smallest and largest number of image pixels per patch pixel."""
        blur: float = 0.0
        """Largest σ in pixels of a Gaussian blur of half of the patches, each modality for itself."""
        jitter: float = 0.0
        """Largest change of brightness, contrast (log) and gamma (log), each modality for itself."""
        noise: float = 0.0
        """Largest σ of added Gaussian noise, for intensities in [0, 1], each modality for itself; keeps the
        networks from agreeing on noise that both modalities share."""

    needs = frozenset({"fixed", "moving"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.critic = critic(config.critic, config.temperature)
        self.schedule = config.schedule
        self.decay = config.decay_l1, config.decay_l2
        self.encoders = Roles({"fixed": config.fixed.build(), "moving": config.moving.build()})
        if self.encoders["fixed"].out_dim != self.encoders["moving"].out_dim:
            raise InputError("fixed, moving: expected networks with equally many output channels")
        for role in self.roles:
            multiple = self.encoders[role].multiple
            if config.size % multiple:
                raise InputError(
                    f"size: expected a multiple of {multiple} for the {role} network, found {config.size}"
                )
        taps = {role: self.encoders[role].taps for role in self.roles}
        self.intermediate = Supervised(config.intermediate, taps)
        self.views = TurnedPatches(
            self.roles,
            config.size,
            rotate=config.rotate,
            flip=config.flip,
            scale=config.scale,
            blur=config.blur,
            jitter=config.jitter,
            noise=config.noise,
            turn=config.equivariant,
        )

    @property
    def roles(self) -> tuple[str, ...]:
        """The two modalities."""
        return ("fixed", "moving")

    def loss(self, views: Views, at: Progress) -> Terms:
        """InfoNCE over whole maps ("map"), their weighted mean |z| and z² ("decay"), and the further terms.

        Terms that do not act now are left out, so that their share of the networks is not even decayed.
        """
        maps, read = [], []
        for v in views:
            with tapped(self.encoders[v.role], self.intermediate.taps(at)) as seen:
                maps.append(v.undo(self.encoders[v.role](v.x)).flatten(1))
            read.append((v.role, {tap: v.undo(x) for tap, x in seen.items()}))
        pairs = same_sample(torch.cat([v.ids for v in views]))
        parts, weights = self.intermediate(read, pairs, at)
        if not self.schedule.active(at):
            return Terms(parts, weights)
        rows = torch.cat(maps)
        logits = self.critic(rows, rows)
        l1, l2 = self.decay
        parts["map"] = info_nce(logits, pairs)
        parts["decay"] = l1 * rows.float().abs().mean() + l2 * rows.float().square().mean()
        return Terms(parts, weights, notes={"matched": _matched(logits.detach(), pairs.positive)})

    def network(self, role: str) -> Encoder:
        """The network of "fixed" or "moving": (B, C, H, W) → (B, out, H, W)."""
        return self.encoders[role]


def _matched(logits: Tensor, positive: Tensor) -> Tensor:
    """Share of the maps whose nearest other map shows the same patch, in [0, 1]."""
    others = logits.clone().fill_diagonal_(-torch.inf)
    return positive.gather(1, others.argmax(1, keepdim=True)).float().mean()
