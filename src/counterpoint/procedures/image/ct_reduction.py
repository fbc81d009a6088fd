"""CT reduction: slices of a volume that show what an earlier one shows are left out before pre-training.

Wolf, Payer, Lisson, Lisson, Beer, Götz, Ropinski. Less is More: Selective Reduction of CT Data for
Self-Supervised Pre-Training of Deep Learning Models with Contrastive Learning Improves Downstream
Classification Performance. Computers in Biology and Medicine 2024. arXiv:2410.14524.

Any method trains on what is left. Neighboring slices are nearly equal, and are each other's negatives where
they meet in a batch. The paper's best rule is the hash; its thresholds of the others are not known. Fewer
images mean fewer updates at equal epochs: compare at equal updates too, and with as many slices by "every" or
"random".

Perhaps not as in the paper: similarity and information compare each slice with all that are left of its
volume, as the hash does, not with its neighbors only; the network of "embedding" is any run's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from counterpoint.core.data import Data
from counterpoint.core.encoder import evaluation
from counterpoint.core.errors import InputError
from counterpoint.core.networks import load_networks
from counterpoint.core.procedure import Procedure, ProcedureConfig
from counterpoint.core.rng import generator
from counterpoint.data.pixels import with_channels
from counterpoint.metrics.hashing import difference_hash, hamming
from counterpoint.metrics.information import mutual_information
from counterpoint.metrics.similarity import ssim


class Reducible(Data, Protocol):
    """Data of which a subset can be taken."""

    label: Tensor | None
    group: Tensor | None

    def subset(self, index: Tensor) -> Self:
        """Some of the samples."""
        ...


D = TypeVar("D", bound=Reducible)
Like = Callable[[Tensor, Tensor], Tensor]
"""One description (...) and those of others (N, ...) → (N,), larger is more alike."""


class CTReduction(Procedure):
    """Called as ``(data) -> data``: the samples that are kept, in their order."""

    @dataclass(frozen=True, kw_only=True)
    class Config(ProcedureConfig):
        """Settings of the reduction."""

        by: Literal["hash", "ssim", "information", "embedding", "every", "random"] = "hash"
        """What makes a slice redundant: bits of its difference hash, structural similarity, mutual
        information of gray values in nats, cosine of a network's features; or its place or chance alone, the
        controls."""
        threshold: float | None = None
        """A slice goes whose hash differs in at most so many of 64 bits (the paper's 6, if not given), or
        whose likeness is at least this; must be given for all but the hash."""
        every: float = 10.0
        """Of "every" and "random": one slice of so many stays, ≥ 1."""
        within: Literal["group", "class", "all"] = "group"
        """Which slices are compared: those of a group (a column "group" or "patient" of a table), of a class
        (where each subfolder is a volume), or all with all, which takes out other patients' slices too."""
        network: str = ""
        """Of "embedding": a run folder or its networks.safetensors."""
        bins: int = 32
        """Of "information": bins of the gray values."""
        seed: int = 0
        """Of "random"."""

        def __post_init__(self) -> None:
            if self.threshold is None and self.by in ("ssim", "information", "embedding"):
                raise InputError(f"ct_reduction.threshold: expected a number for {self.by!r}, found none")
            if self.every < 1:
                raise InputError(f"ct_reduction.every: expected at least 1, found {self.every}")

    config: Config

    def __call__(self, data: D, network: nn.Module | None = None) -> D:
        """The kept samples of ``data``; ``network`` (B, C, H, W) → (B, D) stands in for the setting.

        Raises:
            InputError: data without the groups or classes asked for, no network, or one that does not fit.
        """
        return data.subset(self.kept(data, network))

    def kept(self, data: Reducible, network: nn.Module | None = None) -> Tensor:
        """(M,) int64, ascending: which samples stay. The first of every group does.

        Who comes first decides who stays: another order of the samples may keep others, and more or fewer. A
        folder's order is by name, so numbers of slices want leading zeros.
        """
        describe = self._describer(network)
        volumes = self._volumes(data)
        return torch.cat([rows[self._of(rows, data, describe)] for rows in volumes]).sort().values

    def _of(self, rows: Tensor, data: Reducible, describe: Callable[[Tensor], Tensor]) -> Tensor:
        """Positions in ``rows``, the samples of one volume, that stay."""
        c, count = self.config, len(rows)
        if c.by in ("every", "random"):
            spaced = (torch.arange(count) * c.every).long()
            spaced = spaced[spaced < count]
            mixed = torch.randperm(count, generator=generator(c.seed, "reduce", int(rows[0])))
            return spaced if c.by == "every" else mixed[: len(spaced)]
        shown = torch.cat([describe(batch["image"]) for batch in data.subset(rows).parts(256)])
        likenesses: dict[str, Like] = {
            "hash": lambda one, others: -hamming(one, others),
            "ssim": lambda one, others: ssim(one.expand_as(others), others, data_range=1.0),
            "information": lambda one, others: mutual_information(
                one.flatten(), others.flatten(1), c.bins
            ),
            "embedding": lambda one, others: others @ one,
        }  # fmt: skip
        threshold = 6.0 if c.threshold is None else c.threshold
        return exemplars(shown, likenesses[c.by], -threshold if c.by == "hash" else threshold)

    def _describer(self, network: nn.Module | None) -> Callable[[Tensor], Tensor]:
        """Images (B, C, H, W) → what of them is compared."""
        if self.config.by != "embedding":
            hashed = self.config.by == "hash"
            return lambda x: difference_hash(_gray(x)) if hashed else _gray(x)
        if network is None and not self.config.network:
            raise InputError("ct_reduction.network: expected a run folder for 'embedding', found none")
        encoder = _only(load_networks(self.config.network)) if network is None else network
        channels = getattr(getattr(encoder, "config", None), "channels", None)

        def embedded(x: Tensor) -> Tensor:
            with evaluation(encoder), torch.no_grad():
                z = encoder(with_channels(x, channels, "ct_reduction"))
            return normalize((z.mean((2, 3)) if z.ndim == 4 else z).double(), dim=1)

        return embedded

    def _volumes(self, data: Reducible) -> list[Tensor]:
        """The samples of each volume, in order."""
        within = self.config.within
        if within == "all":
            return [torch.arange(len(data))]
        of = data.group if within == "group" else data.label
        if of is None:
            raise InputError(
                f"data: expected a {within} of every image to compare within, found none; "
                "see within (group, class, all)"
            )
        return [(of == one).nonzero()[:, 0] for one in of.unique()]


def exemplars(shown: Tensor, like: Like, threshold: float) -> Tensor:
    """The first of those left stays and takes out all that are at least ``threshold`` like it; and so on.

    Args:
        shown: (N, ...) a description of each sample, in order.
        like: How alike one is to each of others.
        threshold: From where on two are the same.

    Returns:
        (M,) int64, ascending; of any two no likeness reaches the threshold.
    """
    left, found = torch.arange(len(shown)), []
    while len(left):
        first, left = left[0], left[1:]
        found.append(first)
        if len(left):
            left = left[like(shown[first], shown[left]) < threshold]
    return torch.stack(found)


def _gray(x: Tensor) -> Tensor:
    return with_channels(x, 1, "ct_reduction")


def _only(networks: dict[str, Any]) -> nn.Module:
    """The network of a run that has but one, or that of role "image"."""
    if len(networks) > 1 and "image" not in networks:
        raise InputError(f"ct_reduction.network: expected one network, found {', '.join(sorted(networks))}")
    return networks["image"] if "image" in networks else next(iter(networks.values()))
