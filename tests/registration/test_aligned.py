from __future__ import annotations

import numpy as np
import pytest

from counterpoint.core.grid import Grid
from counterpoint.data.image import Image
from counterpoint.data.write import write_image
from counterpoint.registration import aligned
from counterpoint.registration.transform import Transform
from counterpoint.registration.warp import STRIP, warp, warp_rows

TURNED = Transform(np.array([[0.9, -0.2, 9.0], [0.3, 1.1, -4.0], [0, 0, 1.0]]), "affine")
SHRUNK = Transform(np.array([[9.0, 1.0, -20.0], [-1.0, 7.0, 30.0], [0, 0, 1.0]]), "affine")


def image(shape: tuple[int, ...] = (300, 90), dtype: type = np.uint8) -> Image:
    noise = np.random.default_rng(0).random(shape)
    array = noise.astype(dtype) if dtype is np.float32 else (noise * 255).astype(dtype)
    return Image(array, Grid((shape[1], shape[0]), (0.5, 0.5)), True, "µm")


@pytest.mark.parametrize("transform", [TURNED, SHRUNK])
@pytest.mark.parametrize("order", ["linear", "cubic"])
def test_rows_are_those_of_the_whole(transform, order):
    moving, onto = image(dtype=np.float32), Grid((70, 2 * STRIP + 100), (0.5, 0.5))
    whole = warp(moving, transform, onto, order=order, outside=-1).array
    for top in range(0, onto.size[1], STRIP):
        rows = slice(top, min(top + STRIP, onto.size[1]))
        part = warp_rows(moving, transform, onto, rows, order=order, outside=-1)
        assert np.array_equal(part, whole[rows])
    assert (whole != -1).any() and (whole == -1).any()


@pytest.mark.parametrize(
    ("name", "shape"),
    [("a.ome.tif", (300, 90, 3)), ("a.ome.tif", (300, 90, 2)), ("a.tif", (300, 90)), ("a.png", (300, 90, 3))],
)
@pytest.mark.parametrize("labels", [False, True])
def test_strips_in_a_file_become_the_same_image(monkeypatch, tmp_path, name, shape, labels):
    moving, onto = image(shape), Grid((70, STRIP + 100), (0.5, 0.5))
    write_image(tmp_path / name, warp(moving, TURNED, onto, labels=labels))
    calls = []
    monkeypatch.setattr(aligned, "LARGE", 1)
    monkeypatch.setattr(aligned, "warp_rows", lambda *a, **k: calls.append(a) or warp_rows(*a, **k))
    (tmp_path / "b").mkdir()
    aligned.write_aligned(tmp_path / "b" / name, moving, TURNED, onto, labels=labels)
    assert len(calls) == 2 and [f.name for f in (tmp_path / "b").iterdir()] == [name]
    assert (tmp_path / "b" / name).read_bytes() == (tmp_path / name).read_bytes()
