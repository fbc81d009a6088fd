"""Encoder: a network from a view to features, and taps that read its layers while it runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from counterpoint.core.config import Config, Configured
from counterpoint.core.errors import unknown


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(Config):
    """Settings of an encoder."""

    room: ClassVar[str] = "counterpoint.encoders"

    def build(self) -> Encoder:
        """The network, freshly initialized from torch's global generator."""
        return super().build()


class Encoder(Configured, nn.Module, ABC):
    """A network that says how wide its features are and which of its layers may be read."""

    config: EncoderConfig
    out_dim: int
    """Channels of what ``forward`` returns."""
    taps: dict[str, int]
    """Readable layers (names of submodules) and their widths in channels."""
    multiple: int = 1
    """Height and width of an input must be multiples of this."""
    rowwise: ClassVar[tuple[str, ...]] = ("forward",)
    """Methods that take tensors of B rows each and return B rows (or B times as many). A row may see others
    by batch normalization alone: then training may divide the rows among processes, or into pieces."""

    @abstractmethod
    def forward(self, x: Any) -> Tensor:
        """Features of ``x``; a dense encoder returns (B, out_dim, H, W) for (B, C, H, W)."""


@contextmanager
def tapped(network: nn.Module, at: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Read named layers of a network while it runs, without changing it.

    Yields a dict that holds, after a forward pass inside the ``with``, the output of each layer in ``at``.
    Raises ``InputError`` for a name that is not a layer of the network.
    """
    layers = dict(network.named_modules())
    seen: dict[str, Tensor] = {}
    hooks = []
    try:
        for name in at:
            if name not in layers:
                raise unknown("tap", name, getattr(network, "taps", layers))

            def read(_module: nn.Module, _inputs: Any, output: Tensor, name: str = name) -> None:
                seen[name] = output

            hooks.append(layers[name].register_forward_hook(read))
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def evaluation(module: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards every module is in the mode it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def each_size(network: Callable[[Tensor], Tensor], images: Sequence[Tensor]) -> list[Tensor]:
    """Features of several batches (B_i, C, H_i, W_i): those of one size go through the network together.

    So batch statistics are those of a resolution, as SwAV and DINO have them for crops of two sizes.
    """
    sizes = list(dict.fromkeys(x.shape[-2:] for x in images))
    features: dict[int, Tensor] = {}
    for size in sizes:
        which = [i for i, x in enumerate(images) if x.shape[-2:] == size]
        out = network(torch.cat([images[i] for i in which]))
        features.update(zip(which, out.split([len(images[i]) for i in which]), strict=True))
    return [features[i] for i in range(len(images))]
