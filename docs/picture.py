"""Draw docs/images/demo.png, a pair of the demo before and after: python docs/picture.py RUN [PAIR]."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from counterpoint.cli.demo import test_pair
from counterpoint.registration.register import register
from counterpoint.report.overlay import display, false_color

fixed, moving, _ = test_pair(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
result = register(fixed, moving, sys.argv[1])
after = result.warp().array
panels = [
    ("fixed: hematoxylin", display(fixed)),
    ("moving: DAB, turned and shifted", display(moving)),
    ("before", false_color(fixed, moving)),
    ("after", false_color(fixed, after)),
]
figure = Figure(figsize=(12, 3.3), layout="constrained")
for axes, (title, picture) in zip(figure.subplots(1, 4), panels, strict=True):
    axes.imshow(np.asarray(picture))
    axes.set_title(title, fontsize=11)
    axes.axis("off")
figure.savefig(Path(__file__).parent / "images" / "demo.png", dpi=100)
