"""The law of the crops is that of torchvision's transforms, as lightly wires them for SimCLR."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "parity" / "augmentations.py"
SPEC = importlib.util.spec_from_file_location("augmentations", FILE)
assert SPEC is not None and SPEC.loader is not None
augmentations = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = augmentations
SPEC.loader.exec_module(augmentations)

THEIRS = {
    "x": (0.5004, 0.1195), "y": (0.4991, 0.1199), "width": (0.6775, 0.1935), "height": (0.6779, 0.1933),
    "area": (0.4907, 0.2414), "log ratio": (-0.0007, 0.1621), "mirrored": (0.5009, 0.5),
    "red": (0.3929, 0.1171), "green": (0.4962, 0.137), "blue": (0.5568, 0.138),
    "red − blue": (-0.1639, 0.1343), "contrast": (0.0937, 0.0344), "saturation": (0.2969, 0.1927),
    "gray": (0.2024, 0.4018), "dark": (0.2848, 0.0938), "bright": (0.623, 0.1329),
    "clipped": (0.0108, 0.0405),
}  # fmt: skip
"""Mean and standard deviation over 20,000 views, by lightly 1.6.0 and torchvision 0.28.0:
``benchmarks/parity/augmentations.py lightly``, which runs in an environment with them."""
MEAN, DEVIATION = 0.0125, 0.01
"""What moments differ by at most. torchvision's crops are whole pixels, here of 32, and may be up to half a
pixel larger than the image before they are rounded; PIL cuts values to 8 bits after each change."""


def far(found: dict[str, list[float]]) -> list[str]:
    """Names of the moments that are not theirs."""
    assert found.keys() == THEIRS.keys()
    return [
        name
        for name, (mean, deviation) in THEIRS.items()
        if abs(found[name][0] - mean) > MEAN or abs(found[name][1] - deviation) > DEVIATION
    ]


def test_moments_of_views_are_those_of_torchvisions_transforms():
    assert far(augmentations.moments(augmentations.ours(), 20_000)) == []


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"area": (0.2, 1.0)}, {"width", "height"}),
        ({"ratio": (0.9, 1.1)}, {"log ratio"}),
        ({"flip": 0.4}, {"mirrored"}),
        ({"off_center": 0.2}, {"x", "y"}),
        ({"strength": 0.7}, {"red", "green", "blue"}),
        ({"jittered": 0.6}, {"red", "green", "blue"}),
        ({"gray": 0.25}, {"gray"}),
    ],
)
def test_another_law_is_told_apart(changes, names):
    assert names <= set(far(augmentations.moments(augmentations.ours(**changes), 3000)))
