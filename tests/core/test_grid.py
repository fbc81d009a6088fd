from __future__ import annotations

import math

import numpy as np
import pytest

from counterpoint.core.errors import InputError
from counterpoint.core.grid import Grid


def test_pixels_go_where_they_lie():
    c, s = math.cos(0.3), math.sin(0.3)
    grid = Grid((5, 3), (0.5, 2.0), (10.0, -4.0), ((c, -s), (s, c)))
    assert grid.matrix @ (0, 0, 1) == pytest.approx([10, -4, 1])
    assert grid.matrix @ (2, 0, 1) == pytest.approx([10 + c, -4 + s, 1])  # two steps of 0.5 along (c, s)
    assert grid.matrix @ (0, 1, 1) == pytest.approx([10 - 2 * s, -4 + 2 * c, 1])
    assert grid.matrix.dtype == np.float64


def test_a_grid_is_itks():
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.Image([5, 3], sitk.sitkUInt8)
    image.SetSpacing((0.5, 2.0))
    image.SetOrigin((10.0, -4.0))
    image.SetDirection((0.0, -1.0, 1.0, 0.0))
    grid = Grid((5, 3), (0.5, 2.0), (10.0, -4.0), ((0.0, -1.0), (1.0, 0.0)))
    for index in ((0, 0), (4, 2), (1, 2)):
        assert (grid.matrix @ (*index, 1))[:2] == pytest.approx(image.TransformIndexToPhysicalPoint(index))


def test_corners_are_pixel_centers():
    assert Grid((5, 3)).corners.tolist() == [[0, 0], [4, 0], [4, 2], [0, 2]]
    assert Grid((1, 1)).corners.tolist() == [[0, 0]] * 4


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"size": (0, 3)}, "size"),
        ({"size": (4,)}, "size"),
        ({"size": (4, 2.5)}, "size"),
        ({"spacing": (1.0, 0.0)}, "spacing"),
        ({"spacing": (1.0, math.nan)}, "spacing"),
        ({"spacing": (1.0, 1.0, 1.0)}, "spacing"),
        ({"origin": (math.inf, 0.0)}, "origin"),
        ({"origin": (0.0, 0.0, 0.0)}, "origin"),
        ({"direction": ((1.0, 0.1), (0.0, 1.0))}, "direction"),
        ({"direction": ((2.0, 0.0), (0.0, 2.0))}, "direction"),
        ({"direction": ((math.nan, 0.0), (0.0, 1.0))}, "direction"),
    ],
)
def test_impossible_grids_are_refused_with_the_name(change, name):
    with pytest.raises(InputError, match=f"^{name}: expected"):
        Grid(**({"size": (4, 3)} | change))
