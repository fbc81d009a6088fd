"""Is the law of our crops that of torchvision's? Moments of views, ours or lightly's, as a line of JSON.

    python benchmarks/parity/augmentations.py ours
    PYTHONPATH=src .venv-parity/bin/python benchmarks/parity/augmentations.py lightly

lightly's ``SimCLRTransform`` (torchvision's transforms on PIL images) at strength 0.5 without blur and
normalization, and our preset ``SimCLRCrops``, make views of two images: one whose red and green say where a
pixel lies, with color as it is, so that views tell where they were cut; and one of several colors. The tests
compare ours with the moments of lightly's that are recorded there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

SIDE, AT_ONCE = 32, 1000
Draw = Callable[[np.ndarray, bool], Tensor]
"""``AT_ONCE`` views (N, 3, 32, 32) in [0, 1] of an image (32, 32, 3) uint8, their color changed or not."""


def images() -> tuple[np.ndarray, np.ndarray]:
    """Where a pixel lies, in red (columns) and green (rows); and colors that change over the image."""
    y, x = np.mgrid[:SIDE, :SIDE] / (SIDE - 1)
    places = np.stack([x, y, 0.5 * np.ones_like(x)], 2)
    colors = np.stack([0.2 + 0.7 * x * y, 0.5 + 0.3 * np.sin(6 * x), 0.7 - 0.5 * np.abs(y - 0.4)], 2)
    return tuple(np.rint(255 * image).astype(np.uint8) for image in (places, colors))  # pyright: ignore


def geometry(views: Tensor) -> dict[str, Tensor]:
    """Of each view of the places: its middle, its width and height in shares of the image, is it mirrored."""
    across, down = views[:, 0].mean(1), views[:, 1].mean(2)
    slope = across[:, -3] - across[:, 2]
    scale = (SIDE / (SIDE - 1)) * (SIDE - 5) / SIDE  # of the ramp, and of the columns that edges do not touch
    wide, high = slope.abs() / scale, (down[:, -3] - down[:, 2]) / scale
    return {
        "x": across.mean(1), "y": down.mean(1), "width": wide, "height": high, "area": wide * high,
        "log ratio": (wide / high).log(), "mirrored": (slope < 0).double(),
    }  # fmt: skip


def color(views: Tensor) -> dict[str, Tensor]:
    """Of each view of the colors: means of the channels, contrast, saturation, is it gray; and products."""
    red, green, blue = views.mean((2, 3)).unbind(1)
    gray = views.mul(views.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1)
    saturation = (views.amax(1) - views.amin(1)).mean((1, 2))
    return {
        "red": red, "green": green, "blue": blue, "red − blue": red - blue, "contrast": gray.std((1, 2)),
        "saturation": saturation, "gray": (saturation < 0.003).double(), "dark": gray.amin((1, 2)),
        "bright": gray.amax((1, 2)), "clipped": (views >= 1).double().mean((1, 2, 3)),
    }  # fmt: skip


def moments(draw: Draw, count: int) -> dict[str, list[float]]:
    """Name → mean and standard deviation over ``count`` views of each image."""
    found: dict[str, list[Tensor]] = {}
    for image, changed, measure in zip(images(), (False, True), (geometry, color), strict=True):
        for _ in range(count // AT_ONCE):
            for name, values in measure(draw(image, changed)).items():
                found.setdefault(name, []).append(values.double())
    whole = {name: torch.cat(values) for name, values in found.items()}
    return {name: [round(float(v.mean()), 4), round(float(v.std()), 4)] for name, v in whole.items()}


def ours(seed: int = 0, **changes: Any) -> Draw:
    """The preset of SimCLR, or another law."""
    from counterpoint.core.rng import generator
    from counterpoint.data.arrays import Arrays
    from counterpoint.views.image import MultiCrop
    from counterpoint.views.presets import SimCLRCrops

    rng = generator(seed, "moments")

    def draw(image: np.ndarray, changed: bool) -> Tensor:
        (crops,) = SimCLRCrops(size=SIDE).crops()
        law = replace(crops, **(changes | ({} if changed else {"strength": 0.0, "gray": 0.0})))
        (batch,) = Arrays(np.repeat(image[None], AT_ONCE // 2, 0)).parts(AT_ONCE // 2)
        return torch.cat([view.x for view in MultiCrop((law,))(batch, rng)])

    return draw


def lightly() -> Draw:
    """lightly's transform of SimCLR."""
    from lightly.transforms import SimCLRTransform
    from PIL import Image

    torch.manual_seed(0)
    law = {"input_size": SIDE, "cj_strength": 0.5, "gaussian_blur": 0.0, "normalize": None}
    whole, plain = SimCLRTransform(**law), SimCLRTransform(**law, cj_prob=0.0, random_gray_scale=0.0)

    def draw(image: np.ndarray, changed: bool) -> Tensor:
        transform = whole if changed else plain
        return torch.stack([v for _ in range(AT_ONCE // 2) for v in transform(Image.fromarray(image))])

    return draw


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "lightly":
        from sides import torchvision_without_operators

        torchvision_without_operators()
    print(json.dumps(moments(ours() if sys.argv[1] == "ours" else lightly(), 20_000), ensure_ascii=False))
