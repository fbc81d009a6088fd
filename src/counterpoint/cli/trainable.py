"""What a method can be trained on, aligned pairs or single images: flags, and the data they name."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from counterpoint.cli.console import Flag, Folder, Out, Table, Word, say
from counterpoint.cli.pairs import channel, listed
from counterpoint.core.config import Config
from counterpoint.core.data import Data
from counterpoint.core.encoder import EncoderConfig
from counterpoint.core.errors import InputError
from counterpoint.core.method import Method, MethodConfig
from counterpoint.data.aligned import Aligned, AlignedPatches, read_aligned
from counterpoint.data.inflation import Inflated
from counterpoint.data.open import open_data
from counterpoint.data.pairs import Pair
from counterpoint.data.synthesis import PHOTOGRAPHS, Synthesis
from counterpoint.train.config import TrainConfig
from counterpoint.train.loop import fresh
from counterpoint.train.optim import OptimConfig


@dataclass(frozen=True, kw_only=True)
class Run:
    """Flags of every training."""

    out: Out = Path("counterpoint-run")
    """Run folder; a run that was stopped goes on, a finished one is left alone."""
    profile: Flag = False
    """Say at the end where the time went, stage by stage, and keep it as profile.json in the run folder."""
    json: Flag = False
    """Print one JSON object on standard output."""


@dataclass(frozen=True)
class Ready:
    """All that ``fit`` takes."""

    method: Method
    data: Data
    about: dict[str, Any]
    """What the data are; belongs to the settings of the run."""
    answer: dict[str, Any]
    """What the command says of them."""


@dataclass(frozen=True, kw_only=True)
class PairFlags:
    """Which aligned pairs, and what of them."""

    fixed: Folder = None
    """Folder of fixed images."""
    moving: Folder = None
    """Folder of moving images, each aligned with its fixed image pixel by pixel."""
    pairs: Table = None
    """Instead of two folders: a CSV table with columns fixed, moving, or a folder that holds either."""
    pattern: Word = None
    """Regular expression whose group is what the names of a pair have in common, e.g. "(core_[0-9]+)"."""
    fixed_channel: Word = None
    """Channel of the fixed images to train on, as a number from 0 or a name; all by default."""
    moving_channel: Word = None
    """Channel of the moving images to train on."""
    patches: int = 1024
    """Patches an epoch has."""


@dataclass(frozen=True, kw_only=True)
class FromPairs(PairFlags, Run):
    """Learn a representation from aligned pairs of images."""

    synthetic: Flag = False
    """Instead of images: pairs that are drawn, without end, so that the model is one for all modalities."""

    def ready(self, method: MethodConfig, seed: int) -> Ready:
        """Read the pairs, or draw them, and build the method for them."""
        if self.synthetic:
            return self._drawn(method, seed)
        found = listed("train", self.fixed, self.moving, self.pairs, self.pattern)
        images = read_aligned(
            [(p.fixed, p.moving) for p in found.pairs],
            channel(self.fixed_channel),
            channel(self.moving_channel),
        )
        _check_contrast(found.pairs, images)
        channels = {role: images[0][i].shape[2] for i, role in enumerate(("fixed", "moving"))}
        built = fresh(_with_channels(method, channels), seed)
        data = AlignedPatches(images, side=getattr(built.views, "tile", 0), length=self.patches)
        names = [p.name for p in found.pairs]
        sizes = [list(f.shape) for f, _ in images]
        about = {"pairs": names, "sizes": sizes, "channels": channels, "patches": self.patches}
        return Ready(built, data, about, {"paired": names, "left": found.left})

    def _drawn(self, method: MethodConfig, seed: int) -> Ready:
        if self.fixed or self.moving or self.pairs:
            raise InputError("--synthetic: expected no --fixed, --moving or --pairs beside it, found some")
        built = fresh(_with_channels(method, {"fixed": 1, "moving": 1}), seed)
        data = Synthesis(getattr(built.views, "tile", 128), self.patches)
        about = {"synthetic": True, "photographs": list(PHOTOGRAPHS), "patches": self.patches}
        return Ready(built, data, about, {"synthetic": True})


@dataclass(frozen=True, kw_only=True)
class FromImages(Run):
    """Learn a representation from images."""

    data: Word = None
    """Images: a folder (classes as subfolders, MNIST or CIFAR as they come), a table, .npz, .npy; archives
    (.tar, .parquet, a folder of such, or several as in shards-{0000..0009}.tar); or digits or shapes, which
    come with the package."""
    part: Literal["train", "all"] = "train"
    """Which part of data that come in parts; data without parts are all training data."""
    side: int | None = None
    """Pixels of a side that images are resized to."""
    on_error: Literal["stop", "skip"] = "stop"
    """What to do at a file that cannot be read; those skipped are named."""
    generated: Word = None
    """Further images, made by a generator, that inflate the data; anything --data takes. No labels then."""
    times: int = 10
    """With --generated: how often an epoch has each of the data for once each generated image."""

    def ready(self, method: MethodConfig, seed: int) -> Ready:
        """Open the images and build the method for them."""
        if self.data is None:
            raise InputError("train: expected --data FOLDER, FILE or NAME, found none")
        data = open_data(
            self.data, None if self.part == "all" else self.part, size=self.side, on_error=self.on_error
        )
        about: dict[str, Any] = {"data": str(self.data), "part": self.part}
        if self.generated is not None:
            channels = next(iter(data.parts(1)))["image"].shape[1]
            made = open_data(self.generated, size=self.side, channels=channels, on_error=self.on_error)
            data = Inflated(data, made, self.times)
            about |= {"generated": str(self.generated), "times": self.times}
        missing = method.owner.needs - data.provides  # pyright: ignore[reportAttributeAccessIssue]
        if missing:
            raise InputError(
                f"{self.data}: expected {' and '.join(sorted(missing))} for {method.kind}, found none"
            )
        first = next(iter(data.parts(1)))["image"]
        say(f"{len(data)} images of {tuple(first.shape[1:])} (channels, height, width)")
        about["shape"] = list(first.shape[1:])
        channels = {
            f.name: first.shape[1]
            for f in dataclasses.fields(method)
            if isinstance(getattr(method, f.name), EncoderConfig)
        }
        return Ready(fresh(_with_channels(method, channels), seed), data, about, {"images": len(data)})


ALIGNED = TrainConfig(
    steps=1000,
    batch=24,
    clip_each="role",
    optim=OptimConfig(name="adam", lr=4e-3, weight_decay=0.0, schedule="onecycle", warmup=0.1),
)
"""A few minutes on a processor."""
IMAGES = TrainConfig(epochs=100, batch=256, clip=0.0, optim=OptimConfig(lr=1e-3, warmup=0.1))
"""A start for small images; the papers' own optimizers are stated in their methods' cards."""


def kind_of_data(method: MethodConfig) -> tuple[type[Run], TrainConfig]:
    """The flags and the default training of a method, by what it needs."""
    needs = method.owner.needs  # pyright: ignore[reportAttributeAccessIssue]
    return (FromPairs, ALIGNED) if {"fixed", "moving"} <= needs else (FromImages, IMAGES)


def _check_contrast(pairs: Sequence[Pair], images: Sequence[Aligned]) -> None:
    for pair, both in zip(pairs, images, strict=True):
        for path, image in zip((pair.fixed, pair.moving), both, strict=True):
            if np.ptp(image) == 0:
                raise InputError(
                    f"{path}: expected an image with contrast, found the same value at every pixel"
                )


def _with_channels(method: MethodConfig, channels: dict[str, int]) -> MethodConfig:
    """The networks' input channels as the data have them."""
    if not all(isinstance(getattr(method, role, None), Config) for role in channels):
        channels = _for_one_network(method, channels)
    parts: dict[str, Config] = {
        role: dataclasses.replace(getattr(method, role), channels=n) for role, n in channels.items()
    }
    return dataclasses.replace(method, **parts)


def _for_one_network(method: MethodConfig, channels: dict[str, int]) -> dict[str, int]:
    """The channels by the name of the one network that several roles share."""
    (count, *others) = set(channels.values())
    if others:
        found = ", ".join(f"{n} ({role})" for role, n in channels.items())
        raise InputError(
            f"{method.kind}: its one network expected images of equally many channels, found {found}; "
            "see --fixed-channel and --moving-channel"
        )
    names = [f.name for f in dataclasses.fields(method) if isinstance(getattr(method, f.name), EncoderConfig)]
    return dict.fromkeys(names, count)
