"""Template: one network for all modalities, taught to find a cut-out of one image in another by correlation.

What is trained is what a search does: normalized cross-correlation of maps over all shifts, the true shift
against every other one in all images of a batch. After Fang, Hu, Du, Li, SAR-optical image matching by
integrating Siamese U-Net with FFT correlation, IEEE GRSL 2021; here with shared weights, normalization, other
images, and cut-outs turned by any angle. The critics "pixel" and "patch" are rivals, for comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.errors import InputError
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.roles import Roles
from counterpoint.core.types import Pairs, Progress, Terms, View, Views
from counterpoint.encoders.unet import UNet
from counterpoint.heads.angles import settle
from counterpoint.heads.dense import at_points
from counterpoint.objectives.contrastive import cosine_logits, info_nce, mse_logits
from counterpoint.objectives.correlation import correlated
from counterpoint.objectives.precision import wide
from counterpoint.pairs.ids import same_sample
from counterpoint.pairs.places import same_place
from counterpoint.views.windows import Windows


class Template(Method):
    """Contrast of places: the right shift of a turned cut-out against all others, in all images."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Settings of Template."""

        encoder: EncoderConfig = field(default_factory=lambda: UNet.Config(out=4, widths=(16, 32, 48, 64)))
        """The network of both roles."""
        critic: Literal["template", "pixel", "patch"] = "template"
        """What is compared: a cut-out with all its places, single places, or whole cut-outs."""
        temperature: float = 0.05
        """What the critic is divided by, > 0."""
        apart: int = 3
        """Pixels within which a place or a shift is neither right nor wrong."""
        points: int = 64
        """Places of a cut-out that are compared ("pixel")."""
        spin: bool = False
        """The maps' channels are pairs of double angles, directions that turn with the image, not scalars."""
        decay: float = 1e-4
        """Weight of the mean square of the maps."""
        size: int = 96
        """Side of the windows in pixels; the cut-out is half as large."""
        turn: bool = True
        """Turn the moving window by any angle, and its map back."""
        tilt: float = 2.5
        """Largest turn, in degrees, that is not turned back."""
        zoom: float = 0.05
        """Largest relative change of scale that is not taken back."""

    needs = frozenset({"fixed", "moving"})

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        if config.temperature <= 0:
            raise InputError(f"temperature: expected a positive number, found {config.temperature}")
        self.encoders = Roles({"shared": config.encoder.build()})
        multiple = self.encoders["shared"].multiple
        if config.size % multiple:
            raise InputError(f"size: expected a multiple of {multiple}, found {config.size}")
        self.critic, self.temperature, self.decay = config.critic, config.temperature, config.decay
        self.apart, self.points, self.spin = config.apart, config.points, config.spin
        if config.spin and self.encoders["shared"].out_dim % 2:
            raise InputError("spin: expected a network with an even number of output channels")
        drawn = {n: getattr(config, n) for n in ("turn", "tilt", "zoom", "spin")}
        self.views = Windows(("fixed", "moving"), config.size, **drawn)
        start = (self.views.tile - config.size // 2) // 2
        self.middle = slice(start, start + config.size // 2)

    @property
    def roles(self) -> tuple[str, ...]:
        """The two modalities, which share their network."""
        return ("fixed", "moving")

    def network(self, role: str) -> Encoder:
        """The one network: (B, C, H, W) → (B, out, H, W)."""
        return self.encoders["shared" if role in self.roles else role]

    def loss(self, views: Views, at: Progress) -> Terms:
        """InfoNCE of the critic ("place") and the weighted mean square of the maps ("decay")."""
        fixed, moving = views
        both = torch.cat([v.x for v in views]).contiguous(memory_format=torch.channels_last)
        maps = wide(self.encoders["shared"](both)).contiguous()
        f, m = maps.chunk(2)
        middle = (..., self.middle, self.middle)
        cut = moving.undo(m)[middle]
        if self.critic == "template":
            loss, right = self._template(f, cut, _corner(fixed) - self.middle.start)
        else:
            loss, right = self._others(fixed.undo(f)[middle], cut, fixed.ids)
        decay = self.decay * maps.square().mean()
        keep = {"images": fixed.x} if self.spin and at.step + 1 == at.steps else {}
        return Terms({"place": loss, "decay": decay}, notes={"right": right}, keep=keep)

    def after_step(self, at: Progress, kept: Mapping[str, Tensor]) -> None:  # noqa: ARG002 -- a hook
        """At the end, settle where the angles count from."""
        if "images" in kept:
            settle(self.encoders["shared"], kept["images"])

    def _template(self, fixed: Tensor, cut: Tensor, corner: Tensor) -> tuple[Tensor, Tensor]:
        """InfoNCE over images and shifts, from every fixed image and from every cut-out."""
        scores = correlated(fixed, cut) / self.temperature  # (B, B, s, s)
        b, _, side, _ = scores.shape
        each, shift = torch.arange(b), -corner.to(scores.device)
        far = (torch.arange(side).to(shift) - shift[:, :, None]).abs()  # (B, 2, s): rows, columns
        near = (far[:, 0, :, None] <= self.apart) & (far[:, 1, None] <= self.apart)
        true = scores[each, each, shift[:, 0], shift[:, 1]]
        hidden = torch.zeros_like(scores, dtype=torch.bool)
        hidden[each, each] = near
        wrong = scores.masked_fill(hidden, -torch.inf)
        by_fixed, by_cut = (torch.logsumexp(wrong, dims) for dims in ((1, 2, 3), (0, 2, 3)))
        loss = (torch.logaddexp(by_fixed, true) + torch.logaddexp(by_cut, true)) / 2 - true
        return loss.mean(), (wrong.detach().amax((1, 2, 3)) < true.detach()).float().mean()

    def _others(self, fixed: Tensor, cut: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """InfoNCE of single places, or of whole cut-outs."""
        if self.critic == "patch":
            pairs = same_sample(torch.cat([ids, ids]))
            maps = torch.cat([fixed, cut]).flatten(1)
            logits = mse_logits(maps, maps, self.temperature)
        else:
            b, side, count = len(cut), cut.shape[-1], self.points
            points = torch.rand(b, count, 2, device=cut.device) * (side - 1)
            own = same_place(points, points, 0.0, float(self.apart))
            same, near = (torch.block_diag(*masks) for masks in (own.positive, ~own.negative))
            pairs = Pairs(same.bool(), ~near.bool())
            a, c = (at_points(x, points).flatten(0, 1) for x in (fixed, cut))
            logits = cosine_logits(a - a.mean(0), c - c.mean(0), self.temperature)  # as correlation centers
        best = logits.detach().masked_fill(~(pairs.positive | pairs.negative), -torch.inf).argmax(1)
        return info_nce(logits, pairs), pairs.positive.gather(1, best[:, None]).float().mean()


def _corner(view: View) -> Tensor:
    """(B, 2) row and column of a window's corner in its tile."""
    seen = view.undo(torch.ones_like(view.x[:, :1]))[:, 0] > 0.5
    return torch.stack((seen.any(2).float().argmax(1), seen.any(1).float().argmax(1)), 1)
