from __future__ import annotations

import re

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from counterpoint.core.errors import InputError
from counterpoint.data import tiff
from counterpoint.data.read import read_image


def ramp(*shape: int, dtype=np.uint8) -> np.ndarray:
    return (np.random.default_rng(3).random(shape) * 250).astype(dtype)


@pytest.mark.parametrize(
    ("shape", "order", "how"),
    [
        ((7, 5), (0, 1), {"photometric": "minisblack"}),
        ((7, 5, 3), (0, 1, 2), {"photometric": "rgb"}),
        ((3, 7, 5), (1, 2, 0), {"photometric": "rgb", "planarconfig": "separate"}),
        ((7, 5, 6), (0, 1, 2), {"photometric": "minisblack", "planarconfig": "contig", "metadata": None}),
        ((2, 7, 5), (1, 2, 0), {"imagej": True, "metadata": {"axes": "CYX"}}),
        ((4, 7, 5), (1, 2, 0), {"ome": True, "metadata": {"axes": "CYX"}, "photometric": "minisblack"}),
        ((4, 7, 5), (1, 2, 0), {"photometric": "minisblack", "metadata": {"axes": "CYX"}, "bigtiff": True}),
        ((2, 1, 5), (1, 2, 0), {"ome": True, "metadata": {"axes": "CYX"}, "photometric": "minisblack"}),
    ],
)
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_channels_come_last(tmp_path, shape, order, how, byteorder):
    if how.get("imagej") and byteorder == "<":
        byteorder = None  # ImageJ is big-endian by definition
    array = ramp(*shape, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", array, byteorder=byteorder, **how)
    found = read_image(tmp_path / "a.tif").array
    assert found.dtype == np.uint16 and found.dtype.isnative
    assert np.array_equal(found, array.transpose(order))


def test_single_planes_of_a_hyperstack_are_2d(tmp_path):
    gray = {"ome": True, "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "a.ome.tif", ramp(1, 2, 7, 5), metadata={"axes": "ZCYX"}, **gray)
    assert np.array_equal(read_image(tmp_path / "a.ome.tif").array, ramp(1, 2, 7, 5)[0].transpose(1, 2, 0))
    colors = ramp(2, 7, 5, 3)
    tifffile.imwrite(tmp_path / "b.ome.tif", colors, ome=True, metadata={"axes": "CYXS"}, photometric="rgb")
    expected = np.concatenate([colors[0], colors[1]], axis=-1)
    assert np.array_equal(read_image(tmp_path / "b.ome.tif").array, expected)


@pytest.mark.parametrize(
    ("shape", "how", "said"),
    [
        ((5, 7, 6), {"imagej": True, "metadata": {"axes": "ZYX"}}, "(Z=5)"),
        ((2, 5, 2, 7, 6), {"ome": True, "metadata": {"axes": "TZCYX"}}, "(T=2, Z=5)"),
        ((3, 7, 6), {"photometric": "minisblack"}, "(3 planes without a stated meaning"),
        ((3, 7, 6), {"photometric": "minisblack", "metadata": None}, "(3 planes without a stated meaning"),
    ],
)
def test_stacks_are_refused(tmp_path, shape, how, said):
    tifffile.imwrite(tmp_path / "a.tif", ramp(*shape), **how)
    with pytest.raises(InputError, match=re.escape(f"a.tif: expected a 2-D image, found 3-D {said}")):
        read_image(tmp_path / "a.tif")


def test_pyramids_and_thumbnails_are_one_image_and_two_images_are_not(tmp_path):
    file = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(file, ome=True) as tif:
        tif.write(ramp(64, 48), subifds=1, photometric="minisblack")
        tif.write(ramp(32, 24), subfiletype=1, photometric="minisblack")
    assert np.array_equal(read_image(file).array, ramp(64, 48))
    with tifffile.TiffWriter(tmp_path / "b.tif") as tif:
        tif.write(ramp(65, 49), photometric="minisblack", metadata=None)
        tif.write(ramp(33, 25), photometric="minisblack", metadata=None)
        tif.write(ramp(9, 12, 3), photometric="rgb", metadata=None)
    assert np.array_equal(read_image(tmp_path / "b.tif").array, ramp(65, 49))
    with tifffile.TiffWriter(tmp_path / "c.tif") as tif:
        tif.write(ramp(64, 48), photometric="minisblack", metadata=None)
        tif.write(ramp(60, 40), photometric="minisblack", metadata=None)
    with pytest.raises(InputError, match=r"one 2-D image, found 2 \(64×48 and 60×40\)"):
        read_image(tmp_path / "c.tif")


@pytest.mark.parametrize(
    ("how", "spacing"),
    [
        ({"resolution": (20_000, 40_000), "resolutionunit": "CENTIMETER"}, (0.5, 0.25)),
        ({"resolution": (300, 300), "resolutionunit": "INCH"}, None),
        ({"resolution": (3, 3), "resolutionunit": "NONE"}, None),
        ({}, None),
        ({"imagej": True, "resolution": (2, 4), "metadata": {"unit": "um"}}, (0.5, 0.25)),
        ({"imagej": True, "resolution": (2, 4), "metadata": {"unit": r"\u00B5m"}}, (0.5, 0.25)),
        ({"imagej": True, "resolution": (2, 4), "metadata": {"unit": "mm"}}, (500, 250)),
        ({"imagej": True, "resolution": (2, 4), "metadata": {"unit": "pixel"}}, None),
        ({"imagej": True, "resolution": (2, 4), "metadata": {"unit": "inch"}}, None),
        ({"ome": True, "metadata": {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}}, (0.5, 0.25)),
        (
            {"ome": True, "metadata": {
                "PhysicalSizeX": 500, "PhysicalSizeXUnit": "nm",
                "PhysicalSizeY": 0.00025, "PhysicalSizeYUnit": "mm"}},
            (0.5, 0.25),
        ),
        ({"ome": True, "metadata": {"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "pixel",
                                    "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "pixel"}}, None),
        ({"ome": True, "metadata": {"PhysicalSizeX": 0.5}}, None),
    ],
)  # fmt: skip
def test_spacing_is_taken_from_what_means_it(tmp_path, how, spacing):
    tifffile.imwrite(tmp_path / "a.tif", ramp(7, 5), photometric="minisblack", **how)
    image = read_image(tmp_path / "a.tif")
    assert image.calibrated == (spacing is not None)
    assert image.unit == ("µm" if spacing else "pixel")
    assert image.grid.spacing == pytest.approx(spacing or (1, 1), rel=1e-9)


def test_names_of_channels(tmp_path):
    how = {"axes": "CYX", "Labels": ["DAPI", "GFP"]}
    tifffile.imwrite(tmp_path / "a.tif", ramp(2, 7, 5), imagej=True, metadata=how)
    assert read_image(tmp_path / "a.tif").channels == ("DAPI", "GFP")
    tifffile.imwrite(tmp_path / "b.tif", ramp(7, 5, 3), photometric="rgb")
    assert read_image(tmp_path / "b.tif").channels == ("red", "green", "blue")
    many = {"photometric": "minisblack", "planarconfig": "contig", "metadata": None}
    tifffile.imwrite(tmp_path / "c.tif", ramp(7, 5, 3), **many)
    assert read_image(tmp_path / "c.tif").channels == ()


def test_a_color_table_is_applied_unless_it_is_for_display(tmp_path):
    paletted = Pillow.fromarray(ramp(7, 5, 3)).quantize(16)
    paletted.save(tmp_path / "a.tif")
    image = read_image(tmp_path / "a.tif")
    assert np.array_equal(image.array, np.array(paletted.convert("RGB")))
    assert image.channels == ("red", "green", "blue")
    table = np.random.default_rng(0).integers(0, 65535, (3, 256), np.uint16)
    lut = {"photometric": "palette", "colormap": table}
    tifffile.imwrite(tmp_path / "b.ome.tif", ramp(7, 5), ome=True, **lut)
    assert np.array_equal(read_image(tmp_path / "b.ome.tif").array, ramp(7, 5))


def test_inks_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", ramp(7, 5, 4), photometric="separated")
    with pytest.raises(InputError, match="gray or RGB image, found CMYK"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits", "zstd", "lzma"])
def test_lossless_compressions(tmp_path, compression):
    array = ramp(70, 50, dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", array, compression=compression, tile=(32, 32))
    assert np.array_equal(read_image(tmp_path / "a.tif").array, array)


@pytest.mark.parametrize("how", [{"photometric": "rgb"}, {"photometric": "rgb", "planarconfig": "separate"}])
def test_large_plain_pixels_are_mapped_and_the_file_is_safe_from_writing(tmp_path, monkeypatch, how):
    monkeypatch.setattr(tiff, "MAPPED_FROM", 100)
    array = ramp(7, 5, 3)
    stored = array if len(how) == 1 else array.transpose(2, 0, 1)
    tifffile.imwrite(tmp_path / "a.tif", np.ascontiguousarray(stored), **how)
    before = (tmp_path / "a.tif").read_bytes()
    found = read_image(tmp_path / "a.tif").array
    base = found
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    assert np.array_equal(found, array)
    found[:] = 0
    assert (tmp_path / "a.tif").read_bytes() == before


def test_planes_in_other_files_are_missed(tmp_path):
    about = {"axes": "CYX"}
    tifffile.imwrite(
        tmp_path / "a.ome.tif", ramp(2, 7, 5), ome=True, metadata=about, photometric="minisblack"
    )
    data = (tmp_path / "a.ome.tif").read_bytes()
    (tmp_path / "a.ome.tif").write_bytes(data.replace(b'SizeC="2"', b'SizeC="3"'))
    with pytest.raises(InputError, match=r"a\.ome\.tif: expected"):
        read_image(tmp_path / "a.ome.tif")
