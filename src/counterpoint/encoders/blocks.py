"""Blocks: a network cut into blocks that have features of their own and send no gradient to each other.

Siddiqui, Krueger, LeCun, Deny. Blockwise Self-Supervised Learning at Scale. TMLR 2024. arXiv:2302.01647.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from counterpoint.core.encoder import Encoder, EncoderConfig
from counterpoint.core.errors import InputError
from counterpoint.encoders.convnet import ConvNet


class Blocks(Encoder):
    """Behind each block a 1×1 convolution, batch normalization, ReLU and an average give its features.

    In training noise is added to what a block gives, before its own features and the next block take it.
    The next block takes it without its past: what it learns does not reach back.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(EncoderConfig):
        """Settings of a network in blocks."""

        channels: int = 3
        """Channels of the image; the network inside takes these, whatever it says itself."""
        encoder: EncoderConfig = field(default_factory=ConvNet.Config)
        """The network inside. Blocks end where its layers may be read."""
        count: int = 4
        """How many of these layers, counted from the last, end a block; all if there are fewer."""
        dim: int = 2048
        """Width of each block's features; 0 for the block's own channels, averaged, without a convolution."""
        noise: float = 0.25
        """Deviation of the noise, in deviations of what a block gives; in training only."""
        apart: bool = True
        """Stop gradients between blocks."""
        features: Literal["all", "last"] = "all"
        """What the network returns: the features of all blocks, side by side, or of the last."""

        def __post_init__(self) -> None:
            if min(self.channels, self.count) < 1 or min(self.dim, self.noise) < 0:
                raise InputError(f"blocks: expected channels and count > 0, dim and noise ≥ 0, found {self}")

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.settings = config, config
        known: dict[str, Any] = {"channels": config.channels} if hasattr(config.encoder, "channels") else {}
        self.encoder = replace(config.encoder, **known).build()
        ends = list(self.encoder.taps.items())[-config.count :]
        self.ends = [name for name, _ in ends]
        """Layers that end a block, as the network inside calls them."""
        self.heads = nn.ModuleList(_head(width, config.dim) for _, width in ends)
        self.taps = {f"heads.{i}": config.dim or width for i, (_, width) in enumerate(ends)}
        widths = list(self.taps.values())
        self.out_dim = sum(widths) if config.features == "all" else widths[-1]
        self.multiple = self.encoder.multiple

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) → (B, out_dim)."""
        features = self.each(x)
        return torch.cat(features, 1) if self.settings.features == "all" else features[-1]

    def each(self, x: Tensor) -> list[Tensor]:
        """The features of every block, (B, dim) each.

        Raises:
            InputError: a block does not give maps.
        """
        given: dict[str, Tensor] = {}

        def border(name: str, out: Tensor) -> Tensor:
            if out.ndim != 4:
                raise InputError(f"block {name}: expected maps (B, C, H, W), found {tuple(out.shape)}")
            given[name] = self._noisy(out) if self.training and self.settings.noise else out
            # a new tensor in any case: layers behind may work in place
            return given[name].detach().clone() if self.settings.apart else given[name].clone()

        with _replaced(self.encoder, self.ends, border):
            self.encoder(x)
        return [head(given[name]) for head, name in zip(self.heads, self.ends, strict=True)]

    def _noisy(self, out: Tensor) -> Tensor:
        return out + self.settings.noise * out.detach().std() * torch.randn_like(out)


def _head(width: int, dim: int) -> nn.Sequential:
    """Maps (B, width, H, W) → features (B, dim)."""
    expand = [nn.Conv2d(width, dim, 1, bias=False), nn.BatchNorm2d(dim), nn.ReLU()] if dim else []
    return nn.Sequential(*expand, nn.AdaptiveAvgPool2d(1), nn.Flatten())


@contextmanager
def _replaced(network: nn.Module, at: list[str], change: Callable[[str, Tensor], Tensor]) -> Iterator[None]:
    """In the block, what the named layers give goes on as ``change`` returns it."""
    hooks = []
    for name in at:

        def go_on(_module: nn.Module, _inputs: Any, output: Tensor, name: str = name) -> Tensor:
            return change(name, output)

        hooks.append(network.get_submodule(name).register_forward_hook(go_on))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
