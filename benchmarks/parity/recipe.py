"""What all sides of the comparison share: the data, the budget, and the settings of each method.

``recipe`` is the one place where settings are made: a ``Config`` of ours. The peers read their widths,
temperatures, momenta and augmentations from it, so that nobody can be given another task than the others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from counterpoint.core.method import MethodConfig
from counterpoint.encoders.convnet import ConvNet
from counterpoint.encoders.vit import ViT
from counterpoint.views.image import Crops
from counterpoint.views.presets import (
    BYOLCrops,
    DINOCrops,
    MoCoCrops,
    SimCLRCrops,
    SwAVCrops,
)

OURS, LIGHTLY, SOLO, UNTRAINED = "ours", "lightly", "solo-learn", "untrained"
LIBRARIES = (UNTRAINED, OURS, LIGHTLY, SOLO)


@dataclass(frozen=True, kw_only=True)
class Set:
    """A data set and how it is shown."""

    title: str
    file: str
    """Below the folder of the data; or the name of a set that comes with the package."""
    size: int
    """Side of the images and of the crops, in pixels."""
    channels: int
    flip: float = 0.0
    """Share of crops that are mirrored; 0 where sides matter."""
    most: int = 2000
    """So many training images at most."""


SETS = {
    "digits": Set(title="Digits (scikit-learn), 16 × 16", file="digits", size=16, channels=1),
    "cifar10_2400": Set(
        title="CIFAR-10, 1800 of its test images, 32 × 32",
        file="cifar10_2400/cifar10_2400.npz",
        size=32,
        channels=3,
        flip=0.5,
    ),
    "mnist_5k": Set(
        title="MNIST, 1500 of its test images, 28 × 28",
        file="mnist_5k/mnist_5k.npz",
        size=28,
        channels=1,
        most=1500,
    ),
    "pneumoniamnist_excerpt": Set(
        title="PneumoniaMNIST, 1213 images, 28 × 28",
        file="pneumoniamnist_excerpt/pneumoniamnist_excerpt.npz",
        size=28,
        channels=1,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long and how everybody trains: Adam without decay, a warmup, a half cosine, no clipping."""

    epochs: int = 12
    batch: int = 64
    lr: float = 2e-3
    warmup: float = 0.1
    width: int = 16
    """Channels of the first layer of the ConvNet."""

    def of(self, method: str) -> Budget:
        """MAE learns slowly, and its one view costs little: three times as many epochs."""
        return replace(self, epochs=3 * self.epochs) if method == "mae" else self


METHODS = (
    "simclr",
    "moco",
    "moco_v3",
    "byol",
    "simsiam",
    "barlow_twins",
    "vicreg",
    "swav",
    "dino",
    "mae",
    "supcon",
    "nnclr",
    "dcl",
)
ABSENT = {
    LIGHTLY: {
        "moco_v3": "parts only, no published form",
        "supcon": "not in the library",
    },
    SOLO: {
        "dino": "its loss takes two crops, no local ones",
        "dcl": "not in the library",
    },
}
"""What a peer does not have; solo-learn's MAE is for color images only besides."""


def has(library: str, method: str, channels: int) -> bool:
    """Whether a library can take part."""
    if library == UNTRAINED:  # one for each kind of network
        return method in ("simclr", "mae")
    return method not in ABSENT.get(library, {}) and (library, method, channels) != (SOLO, "mae", 1)


def recipe(method: str, data: Set, budget: Budget) -> MethodConfig:
    """The settings of a method: the paper's, but for widths and memories of the size of the data."""
    from counterpoint.methods.image import (
        barlow_twins,
        byol,
        dcl,
        dino,
        mae,
        moco,
        moco_v3,
        nnclr,
        simclr,
        simsiam,
        supcon,
        swav,
        vicreg,
    )

    size, shown = data.size, {"size": data.size, "flip": data.flip}
    if method == "mae":
        vit = ViT.Config(
            channels=data.channels,
            size=size,
            patch=size // 4,
            dim=64,
            depth=2,
            heads=4,
            positions="sincos",
            pool="mean",
        )
        return mae.MAE.Config(
            encoder=vit,
            decoder=48,
            decoder_depth=1,
            decoder_heads=4,
            standardize=False,  # lightly's MAE makes plain pixels; so all do
            flip=data.flip,
        )
    made: dict[str, Any] = {
        "simclr": (simclr.SimCLR, {"views": SimCLRCrops(**shown)}),
        "dcl": (dcl.DCL, {"views": SimCLRCrops(**shown)}),
        "supcon": (supcon.SupCon, {"views": SimCLRCrops(**shown)}),
        "moco": (moco.MoCo, {"views": MoCoCrops(**shown), "momentum": 0.99, "queue": 512}),
        "moco_v3": (moco_v3.MoCoV3, {"views": BYOLCrops(**shown), "momentum": 0.97, "temperature": 0.2}),
        "nnclr": (nnclr.NNCLR, {"views": BYOLCrops(**shown), "predictor": 256, "queue": 512}),
        "byol": (byol.BYOL, {"views": BYOLCrops(**shown), "momentum": 0.97}),
        "simsiam": (simsiam.SimSiam, {"views": MoCoCrops(**shown), "dim": 256, "hidden": 64}),
        "barlow_twins": (barlow_twins.BarlowTwins, {"views": BYOLCrops(**shown), "dim": 256,
                                                    "off_diagonal": 0.02}),
        "vicreg": (vicreg.VICReg, {"views": BYOLCrops(**shown), "dim": 256}),
        "swav": (swav.SwAV, {"views": SwAVCrops(**shown, strength=0.5, local=size // 2, locals=2),
                             "prototypes": 60, "freeze": 1 / budget.epochs}),
        "dino": (dino.DINO, {"views": DINOCrops(**shown, local=size // 2, locals=2),
                             "prototypes": 256, "freeze": 1 / budget.epochs, "momentum": 0.97}),
    }  # fmt: skip
    kind, settings = made[method]
    encoder = ConvNet.Config(channels=data.channels, width=budget.width)
    return kind.Config(**{"encoder": encoder, "hidden": 256, "dim": 64} | settings)


def crops(config: Any) -> Sequence[Crops]:
    """Every crop of a method, one by one and in order; what a peer's own transforms are made from."""
    if hasattr(config, "views"):
        return [replace(c, count=1) for c in config.views.crops() for _ in range(c.count)]
    # As MAE has it: no change of color.
    return [Crops(size=config.encoder.size, strength=0.0, jittered=0.0, gray=0.0, flip=config.flip)]


def fingerprint(method: str, data: Set, budget: Budget) -> str:
    """A hash of all that a cell was asked for; one with another is no answer."""
    asked = {
        "config": recipe(method, data, budget.of(method)).to_dict(),
        "data": {k: v for k, v in asdict(data).items() if k not in ("title", "file")},
        "budget": asdict(budget.of(method)),
    }
    return hashlib.blake2b(json.dumps(asked, sort_keys=True).encode(), digest_size=6).hexdigest()
