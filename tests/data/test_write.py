from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from counterpoint.core.errors import InputError
from counterpoint.core.grid import Grid
from counterpoint.data import tiff
from counterpoint.data.image import Image
from counterpoint.data.read import read_image
from counterpoint.data.write import suffix_like, write_image

PLAIN = ["u1", "u2", "u4", "i1", "i2", "i4", "f4", "f8"]
TYPES = {
    ".ome.tif": [*PLAIN, "?"],
    ".OME.TIFF": PLAIN,
    ".tif": [*PLAIN, "?", "u8", "i8"],
    ".png": ["u1", "u2", "?"],
    ".nii": [*PLAIN, "i8", "u8"],
    ".nii.gz": PLAIN,
    ".NII.GZ": ["u2"],
    ".nrrd": [*PLAIN, "i8", "u8"],
    ".mha": [*PLAIN, "i8", "u8"],
}
MICROMETERS = {"µm": 1.0, "mm": 1000.0}


def image_of(array: np.ndarray, **kw) -> Image:
    return Image(array, Grid(array.shape[1::-1]), **kw)


@st.composite
def images(draw, suffix: str) -> Image:
    dtype = np.dtype(draw(st.sampled_from(TYPES[suffix])))
    counts = ([1] if dtype.kind == "b" else [1, 3]) if suffix == ".png" else [1, 2, 3, 4, 5]
    count = draw(st.sampled_from(counts))
    low = 2 if suffix.lower().startswith(".nii") and count > 1 else 1
    shape = (draw(st.integers(low, 9)), draw(st.integers(1, 9)), *([count] if count > 1 else []))
    array = draw(arrays(dtype, shape))
    angle = draw(st.floats(-3, 3))
    c, s, flip = math.cos(angle), math.sin(angle), draw(st.sampled_from([1.0, -1.0]))
    grid = Grid(
        (shape[1], shape[0]),
        draw(st.tuples(*[st.floats(1e-3, 1e3)] * 2)),
        draw(st.tuples(*[st.floats(-1e3, 1e3)] * 2)),
        ((c, -s * flip), (s, c * flip)),
    )
    return Image(array, grid, True, draw(st.sampled_from(list(MICROMETERS))))


@pytest.mark.parametrize("suffix", TYPES)
@settings(max_examples=25, derandomize=True, deadline=None)
@given(data=st.data())
def test_what_is_written_is_read(suffix, data):
    image = data.draw(images(suffix))
    assume(np.isfinite(image.array).any())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"a{suffix}"
        write_image(file, image)
        found = read_image(file)
        assert [p.name for p in Path(folder).iterdir()] == [file.name]
    assert found.array.dtype == image.array.dtype
    assert found.array.shape == image.array.shape
    assert np.array_equal(found.array, image.array, equal_nan=image.array.dtype.kind == "f")
    if suffix == ".png":
        assert not found.calibrated
        return
    was, now = MICROMETERS[image.unit], MICROMETERS[found.unit]
    assert np.allclose(np.multiply(found.grid.spacing, now / was), image.grid.spacing, rtol=1e-6, atol=0)
    if found.unit == "mm":
        assert np.allclose(np.multiply(found.grid.origin, now / was), image.grid.origin, rtol=1e-6, atol=1e-9)
        assert np.allclose(found.grid.direction, image.grid.direction, atol=1e-6)


@pytest.mark.parametrize("suffix", [".ome.tif", ".tif"])
def test_an_uncalibrated_tiff_stays_so(tmp_path, suffix):
    write_image(tmp_path / f"a{suffix}", image_of(np.eye(4, dtype=np.float32)))
    assert not read_image(tmp_path / f"a{suffix}").calibrated


def test_names_of_channels_and_color_in_ome(tmp_path):
    file = tmp_path / "a.ome.tif"
    array = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    write_image(file, image_of(array, channels=("DAPI", "größer", "<&>")))
    assert read_image(file).channels == ("DAPI", "größer", "<&>")
    assert np.array_equal(read_image(file, channel="größer").array, array[..., 1])
    write_image(file, image_of(array))
    assert read_image(file).channels == ("red", "green", "blue")
    with tifffile.TiffFile(file) as tif:
        assert tif.pages.first.photometric == 2


def test_equal_images_are_equal_files(tmp_path):
    array = np.arange(20, dtype=np.uint16).reshape(4, 5)
    for name in ("a.ome.tif", "b.ome.tif"):
        write_image(tmp_path / name, image_of(array))
    assert (tmp_path / "a.ome.tif").read_bytes() == (tmp_path / "b.ome.tif").read_bytes()


def test_large_images_are_tiled_and_big(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff, "TILED_FROM", 600)
    monkeypatch.setattr(tiff, "BIG_FROM", 1000)
    array = np.arange(620 * 30, dtype=np.uint16).reshape(620, 30)
    write_image(tmp_path / "a.ome.tif", image_of(array))
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tif:
        assert tif.is_bigtiff and tif.pages.first.is_tiled
    assert np.array_equal(read_image(tmp_path / "a.ome.tif").array, array)


def test_views_and_single_channels_are_written(tmp_path):
    whole = np.arange(240, dtype=np.uint16).reshape(8, 10, 3)
    for suffix in (".ome.tif", ".tif", ".png", ".nii.gz", ".mha"):
        file = tmp_path / f"a{suffix}"
        view = whole.transpose(1, 0, 2)[::2, ::-1]
        write_image(file, image_of(view))
        assert np.array_equal(read_image(file).array, view)
        write_image(file, image_of(view[..., :1]))
        assert np.array_equal(read_image(file).array, view[..., 0])


def test_types_that_change_name(tmp_path):
    bits = np.eye(4, dtype=bool)
    write_image(tmp_path / "a.nrrd", image_of(bits))
    assert read_image(tmp_path / "a.nrrd").array.dtype == np.uint8
    assert np.array_equal(read_image(tmp_path / "a.nrrd").array, bits)
    half = np.linspace(0, 1, 20, dtype=np.float16).reshape(4, 5)
    for suffix in (".tif", ".ome.tif", ".nii"):
        write_image(tmp_path / f"a{suffix}", image_of(half))
        assert np.array_equal(read_image(tmp_path / f"a{suffix}").array, half.astype(np.float32))


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("a.png", np.ones((4, 5), np.float32), r"uint8, uint16 or bool, .* found float32: use \.ome\.tif"),
        ("a.png", np.ones((4, 5), np.int16), "found int16"),
        ("a.png", np.ones((4, 5, 4), np.uint8), r"found 4 of uint8: use \.ome\.tif"),
        ("a.png", np.ones((4, 5, 2), np.uint8), "found 2 of uint8"),
        ("a.png", np.ones((4, 5, 3), bool), "found 3 of bool"),
        ("a.jpg", np.ones((4, 5), np.uint8), r"such as \.png, found \.jpg: JPEG loses detail"),
        ("a.mhd", np.ones((4, 5), np.uint8), r"such as \.mha, found \.mhd"),
        ("a.bmp", np.ones((4, 5), np.uint8), r"one of the image kinds \.png, .* found \.bmp"),
        ("a", np.ones((4, 5), np.uint8), "found no suffix"),
        ("a.ome.tif", np.ones((4, 5), np.int64), r"that OME knows, found int64: use \.tif"),
        ("a.tif", np.ones((4, 5), np.complex64), "found complex64"),
        ("a.tif", np.ones((4, 5, 3, 2), np.uint8), r"pixels \(H, W\[, C\]\)"),
        ("a.nii.gz", np.ones((1, 32768), np.uint8), r"32767 pixels per axis, found 32768 × 1: use \.nrrd"),
        ("a.nii", np.ones((1, 9, 2), np.uint8), "more than one row"),
        ("missing/a.tif", np.ones((4, 5), np.uint8), "a place that can be written to, found: No such file"),
        ("missing/a.nrrd", np.ones((4, 5), np.uint8), "a place that can be written to, found"),
    ],
)
def test_what_a_kind_cannot_hold_is_refused_and_nothing_is_written(tmp_path, name, array, said):
    with pytest.raises(InputError, match=said) as caught:
        write_image(tmp_path / name, image_of(array))
    assert str(caught.value).startswith(str(tmp_path / name))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".tif", ".ome.tif"])
def test_nan_and_infinity_stay(tmp_path, suffix):
    array = np.arange(24, dtype=np.float64).reshape(3, 4, 2)
    array[0, 1], array[2, 3, 0], array[1, 0, 1] = np.nan, np.inf, -np.inf
    write_image(tmp_path / f"a{suffix}", image_of(array))
    assert np.array_equal(read_image(tmp_path / f"a{suffix}").array, array, equal_nan=True)


def test_a_grid_of_another_size_is_refused(tmp_path):
    with pytest.raises(InputError, match="grid of"):
        write_image(tmp_path / "a.tif", Image(np.ones((4, 5)), Grid((4, 5))))


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.jpg", ".png"),
        ("a.JPEG", ".png"),
        ("a.png", ".png"),
        ("x.y/a.b.tif", ".tif"),
        ("a.TIFF", ".tiff"),
        ("a.ome.tif", ".ome.tif"),
        ("a.ome.btf", ".ome.tif"),
        ("a.nii", ".nii"),
        ("a.nii.gz", ".nii.gz"),
        ("a.mhd", ".mha"),
        ("a.nrrd", ".nrrd"),
    ],
)
def test_suffix_like(name, suffix):
    assert suffix_like(name) == suffix


def test_suffix_like_of_no_image():
    with pytest.raises(InputError, match="expected one of the image kinds"):
        suffix_like("a.gz")
