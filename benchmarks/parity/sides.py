"""What the sides have in common: pictures for peers, the shape of an answer, and the judges."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import nn

from counterpoint.data.arrays import Arrays
from counterpoint.tasks.features import features
from counterpoint.tasks.knn import KNN
from counterpoint.tasks.linear_probe import LinearProbe


@dataclass
class Trained:
    """A trained encoder and what it took."""

    encoder: nn.Module
    """(B, C, H, W) in [0, 1] → (B, D)."""
    views: float
    """CPU-seconds of augmentation."""
    total: float
    """CPU-seconds of all of the training."""


class Pictures(torch.utils.data.Dataset):
    """Images as the peers' transforms take them (PIL), with the index and the label, and a clock."""

    def __init__(self, data: Arrays, transform: Callable[[Any], Any]) -> None:
        from PIL import Image

        rows = data.image.permute(0, 2, 3, 1).numpy()
        self.images = [Image.fromarray(row[..., 0] if row.shape[2] == 1 else row) for row in rows]
        assert data.label is not None
        self.label, self.transform, self.seconds = data.label, transform, 0.0

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[int, Any, int]:
        start = time.process_time()
        made = self.transform(self.images[index])
        self.seconds += time.process_time() - start
        return index, made, int(self.label[index])


def seeded(seed: int) -> None:
    """Every generator that a peer may draw from."""
    random.seed(seed)
    np.random.seed(seed)  # lightly's blur draws from it
    torch.manual_seed(seed)


def judged(encoder: nn.Module, train: Arrays, test: Arrays) -> dict[str, float]:
    """Accuracy on ``test`` by nearest neighbors (k = 20) and by a linear probe (ridge, all labels)."""
    a, b = features(encoder, train), features(encoder, test)
    return {
        "knn": KNN(KNN.Config()).judge(a, b)["accuracy"],
        "linear": LinearProbe(LinearProbe.Config()).judge(a, b, 0)["accuracy"],
    }


def torchvision_without_operators() -> None:
    """Let torchvision be imported beside a torch that its compiled part was not built for.

    Its transforms are plain Python; but on import it describes two operators that must exist by then. On PyPI
    there is no build of torchvision for a torch without CUDA.
    """
    try:
        import_module("torchvision")
    except RuntimeError:
        for name in [m for m in sys.modules if m.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(library)  # an operator lives as long as its library


_KEPT: list[Any] = []
