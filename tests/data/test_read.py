from __future__ import annotations

import gzip
import io
import re
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image as Pillow

from counterpoint.core.errors import InputError
from counterpoint.data.read import read_image


def ramp(*shape: int, dtype=np.uint8) -> np.ndarray:
    return (np.random.default_rng(3).random(shape) * 250).astype(dtype)


def png(array: np.ndarray, **kw) -> bytes:
    f = io.BytesIO()
    Pillow.fromarray(array).save(f, "PNG", **kw)
    return f.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def sure(path: Path, array: np.ndarray, **kw) -> None:
    found = read_image(path, **kw)
    assert found.array.dtype == array.dtype
    assert found.array.shape == array.shape
    assert (found.array == array).all()
    assert found.grid.size == array.shape[1::-1]
    assert found.path == path


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 3)])
def test_png_keeps_type_and_shape(tmp_path, shape):
    file = tmp_path / "a.png"
    file.write_bytes(png(ramp(*shape), dpi=(300, 300)))
    sure(file, ramp(*shape))
    image = read_image(file)
    assert not image.calibrated and image.unit == "pixel" and image.grid.spacing == (1, 1)


def test_png_of_16_bits_one_bit_and_palette(tmp_path):
    file = tmp_path / "a.PNG"
    deep = ramp(7, 5, dtype=np.uint16) * 255
    file.write_bytes(png(deep))
    sure(file, deep)
    bits = ramp(7, 5) > 100
    file.write_bytes(png(bits))
    sure(file, bits)
    f = io.BytesIO()
    paletted = Pillow.fromarray(ramp(7, 5, 3)).quantize(8)
    paletted.save(f, "PNG", bits=4)
    file.write_bytes(f.getvalue())
    sure(file, np.array(paletted.convert("RGB")))


def test_16_bit_color_png_is_not_cut_to_8(tmp_path):
    row = np.array([[1, 2, 3], [256, 65535, 40000]], ">u2")
    raw = b"\0" + row.tobytes()
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(data + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))
    sure(tmp_path / "a.png", row.astype(np.uint16)[None])


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_is_no_channel(tmp_path, channels):
    array = ramp(7, 5, channels)
    (tmp_path / "a.png").write_bytes(png(array))
    sure(tmp_path / "a.png", array[..., 0] if channels == 2 else array[..., :3])
    tifffile.imwrite(
        tmp_path / "a.tif", array, photometric="rgb" if channels == 4 else "minisblack",
        planarconfig="contig", extrasamples=["unassalpha"],
    )  # fmt: skip
    sure(tmp_path / "a.tif", array[..., 0] if channels == 2 else array[..., :3])
    for name in ("a.png", "a.tif"):
        assert read_image(tmp_path / name).channels == (() if channels == 2 else ("red", "green", "blue"))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg(tmp_path, mode):
    Pillow.fromarray(ramp(16, 24, 3)).convert(mode).save(tmp_path / "a.jpg", quality=95)
    sure(tmp_path / "a.jpg", np.array(Pillow.open(tmp_path / "a.jpg")))


def test_cmyk_is_refused(tmp_path):
    Pillow.fromarray(ramp(16, 24, 3)).convert("CMYK").save(tmp_path / "a.jpg")
    with pytest.raises(InputError, match="gray or RGB image, found CMYK"):
        read_image(tmp_path / "a.jpg")


def test_channels_by_index_and_name(tmp_path):
    file = tmp_path / "a.ome.tif"
    array = ramp(2, 7, 5)
    about = {"axes": "CYX", "Channel": {"Name": ["DAPI", "SHG"]}}
    tifffile.imwrite(file, array, photometric="minisblack", ome=True, metadata=about)
    assert read_image(file).channels == ("DAPI", "SHG")
    for channel in (1, "SHG", "shg", "1"):
        sure(file, array[1], channel=channel)
        assert read_image(file, channel=channel).channels == ("SHG",)
    for wrong in (2, -1, "CD8", "1.5"):
        with pytest.raises(InputError, match=r"a\.ome\.tif: .* 0 to 1 \(DAPI, SHG\), found"):
            read_image(file, channel=wrong)
    (tmp_path / "b.png").write_bytes(png(ramp(7, 5)))
    sure(tmp_path / "b.png", ramp(7, 5), channel=0)
    with pytest.raises(InputError, match="only 0, found 1"):
        read_image(tmp_path / "b.png", channel=1)
    (tmp_path / "c.png").write_bytes(png(ramp(7, 5, 3)))
    sure(tmp_path / "c.png", ramp(7, 5, 3)[..., 1], channel="green")


def test_spacing_overrides(tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(png(ramp(7, 5)))
    image = read_image(file, spacing=(0.5, 0.25))
    assert image.calibrated and image.unit == "µm" and image.grid.spacing == (0.5, 0.25)
    sitk.WriteImage(sitk.GetImageFromArray(ramp(7, 5)), tmp_path / "a.mha")
    assert read_image(tmp_path / "a.mha", spacing=(2, 3)).unit == "mm"
    for wrong in ((0.0, 1.0), (1.0, float("nan")), (1.0,)):
        with pytest.raises(InputError, match="spacing: expected two positive numbers"):
            read_image(file, spacing=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_itk_places_an_image_in_space(tmp_path, suffix):
    array = ramp(7, 5, dtype=np.int16)
    stored = sitk.GetImageFromArray(array)
    stored.SetSpacing((0.5, 0.25))
    stored.SetOrigin((-3.5, 7.25))
    stored.SetDirection((0, -1, 1, 0))
    sitk.WriteImage(stored, tmp_path / f"a{suffix}")
    sure(tmp_path / f"a{suffix}", array)
    image = read_image(tmp_path / f"a{suffix}")
    assert image.calibrated and image.unit == "mm"
    assert image.grid.spacing == (0.5, 0.25)
    assert np.allclose(image.grid.origin, (-3.5, 7.25))
    assert np.allclose(image.grid.direction, ((0, -1), (1, 0)))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_a_single_slice_is_2d_and_a_stack_is_not(tmp_path, suffix):
    file = tmp_path / f"a{suffix}"
    slab = sitk.GetImageFromArray(ramp(1, 7, 5))
    slab.SetSpacing((0.5, 0.25, 9))
    slab.SetOrigin((1, 2, 3))
    slab.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    sitk.WriteImage(slab, file)
    sure(file, ramp(1, 7, 5)[0])
    image = read_image(file)
    assert image.grid.spacing == (0.5, 0.25)
    assert np.allclose(image.grid.origin, (1, 2))
    assert np.allclose(image.grid.direction, ((-1, 0), (0, -1)))
    slab.SetDirection((1, 0, 0, 0, 0, 1, 0, -1, 0))  # a coronal slice
    sitk.WriteImage(slab, file)
    grid = read_image(file).grid
    assert grid.spacing == (0.5, 0.25) and grid.origin == (0, 0) and grid.direction == ((1, 0), (0, 1))
    sitk.WriteImage(sitk.GetImageFromArray(ramp(4, 7, 5)), file)
    with pytest.raises(InputError, match=re.escape("expected a 2-D image, found 3-D (Z=4); pick one plane")):
        read_image(file)
    sitk.WriteImage(sitk.GetImageFromArray(ramp(2, 1, 7, 5), isVector=False), file)
    with pytest.raises(InputError, match=re.escape("found 3-D (T=2)")):
        read_image(file)


def test_a_slice_that_is_thin_along_x(tmp_path):
    slab = sitk.GetImageFromArray(ramp(7, 5, 1))
    slab.SetSpacing((9, 0.5, 0.25))
    sitk.WriteImage(slab, tmp_path / "a.nii")
    sure(tmp_path / "a.nii", ramp(7, 5, 1)[..., 0])
    assert read_image(tmp_path / "a.nii").grid.spacing == (0.5, 0.25)


def test_gzipped_nifti_does_not_take_the_pixels_of_its_neighbor(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(ramp(7, 5)), tmp_path / "a.nii.gz")
    sitk.WriteImage(sitk.GetImageFromArray(ramp(7, 5) * 0), tmp_path / "a.nii")
    sure(tmp_path / "a.nii.gz", ramp(7, 5))
    sure(tmp_path / "a.nii", ramp(7, 5) * 0)


def test_detached_header(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(ramp(7, 5)), tmp_path / "a.mhd")
    sure(tmp_path / "a.mhd", ramp(7, 5))
    (tmp_path / "a.raw").unlink()
    with pytest.raises(InputError, match=r"a\.mhd: expected"):
        read_image(tmp_path / "a.mhd")


def test_half_floats_become_floats_and_complex_is_refused(tmp_path):
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, ramp(7, 5, dtype=np.float16))
    sure(file, ramp(7, 5, dtype=np.float16).astype(np.float32))
    tifffile.imwrite(file, ramp(7, 5, dtype=np.complex64))
    with pytest.raises(InputError, match="expected bool, integer or float pixels, found complex64"):
        read_image(file)
    sitk.WriteImage(sitk.GetImageFromArray(ramp(7, 5, dtype=np.complex64)), tmp_path / "a.nii")
    with pytest.raises(InputError, match="real pixels, found complex"):
        read_image(tmp_path / "a.nii")


def test_some_nan_are_fine_and_only_nan_is_not(tmp_path):
    array = np.full((7, 5), np.nan, np.float32)
    tifffile.imwrite(tmp_path / "a.tif", array)
    with pytest.raises(InputError, match="expected an image with finite pixels, found none"):
        read_image(tmp_path / "a.tif")
    array[6, 4] = 1
    tifffile.imwrite(tmp_path / "a.tif", array)
    assert np.isnan(read_image(tmp_path / "a.tif").array).sum() == 34


def test_what_is_no_image_is_said(tmp_path):
    def message(name: str, data: bytes | None = None) -> str:
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError) as caught:
            read_image(tmp_path / name)
        said = str(caught.value)
        assert said.startswith(str(tmp_path / name)) and "\n" not in said
        return said

    (tmp_path / "folder.tif").mkdir()
    jpeg = io.BytesIO()
    Pillow.fromarray(ramp(16, 24)).save(jpeg, "JPEG")
    assert "found nothing there" in message("missing.png")
    assert "found a folder" in message("folder.tif")
    assert "empty file (0 bytes)" in message("empty.tif", b"")
    assert "PNG image, as its suffix says, found JPEG" in message("lie.png", jpeg.getvalue())
    assert "TIFF image, as its suffix says, found text" in message("text.tif", "größer\n".encode() * 9)
    assert "found data of no known image kind" in message("noise.nrrd", bytes(range(256)))
    assert "gzipped NIfTI image, as its suffix says, found gzipped data" in message(
        "z.nii.gz", gzip.compress(b"hi")
    )
    sitk.WriteImage(sitk.GetImageFromArray(ramp(7, 5)), tmp_path / "ok.nii")
    plain = (tmp_path / "ok.nii").read_bytes()
    assert "found NIfTI" in message("plain.nii.gz", plain)
    assert "found gzipped NIfTI" in message("packed.nii", gzip.compress(plain))
    assert ".ome.tif" in message("slide.czi", b"ZISRAWFILE") and "found .czi" in message("slide.czi")


def test_absurd_headers_are_refused_before_anything_is_allocated(tmp_path):
    def bomb(width: int, height: int) -> bytes:
        return png(ramp(7, 5))[:16] + struct.pack(">II", width, height) + png(ramp(7, 5))[24:]

    file = tmp_path / "a.png"
    file.write_bytes(bomb(100_000, 100_000))
    with pytest.raises(InputError, match="at most 2147483648 pixels, found a header of 100000 × 100000"):
        read_image(file)
    file.write_bytes(bomb(40_000, 40_000))
    with pytest.raises(InputError, match="which cannot hold them"):
        read_image(file)
    file.write_bytes(bomb(0, 9))
    with pytest.raises(InputError, match="found 0 × 9"):
        read_image(file)
    tifffile.imwrite(tmp_path / "a.tif", ramp(7, 5), compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tif:
        for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            tif.pages.first.tags[name].overwrite(40_000)
    with pytest.raises(InputError, match="which cannot hold them"):
        read_image(tmp_path / "a.tif")
    sitk.WriteImage(sitk.GetImageFromArray(ramp(7, 5)), tmp_path / "a.mha", useCompression=True)
    data = (tmp_path / "a.mha").read_bytes().replace(b"DimSize = 5 7", b"DimSize = 40000 40000")
    (tmp_path / "a.mha").write_bytes(data)
    with pytest.raises(InputError, match="which cannot hold them"):
        read_image(tmp_path / "a.mha")
    sitk.WriteImage(sitk.GetImageFromArray(ramp(7, 5)), tmp_path / "a.nii")
    data = bytearray((tmp_path / "a.nii").read_bytes())
    struct.pack_into("<2h", data, 42, 30_000, 30_000)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(data))
    with pytest.raises(InputError, match=r"a\.nii\.gz: expected"):
        read_image(tmp_path / "a.nii.gz")


def files_to_cut(folder: Path) -> list[Path]:
    gray, color = ramp(20, 30), ramp(20, 30, 3)
    (folder / "gray.png").write_bytes(png(gray))
    (folder / "bits.png").write_bytes(png(gray > 99))
    Pillow.fromarray(color).save(folder / "a.jpg")
    Pillow.fromarray(color).save(folder / "progressive.jpeg", progressive=True)
    Pillow.fromarray(color).save(folder / "late.tif", compression="tiff_lzw")  # its directory comes last
    Pillow.fromarray(color).save(folder / "jpeg.tif", compression="jpeg")
    tifffile.imwrite(folder / "rgb.tif", color, photometric="rgb")
    tifffile.imwrite(folder / "big.tif", gray, bigtiff=True, compression="packbits")
    planes = ramp(2, 20, 30)
    tifffile.imwrite(folder / "planes.tif", planes, photometric="minisblack", metadata={"axes": "CYX"})
    tifffile.imwrite(folder / "imagej.tif", planes, imagej=True, metadata={"axes": "CYX"})
    packed = {"compression": "zlib", "tile": (16, 16), "photometric": "minisblack"}
    about = {"axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "Channel": {"Name": ["a", "b"]}}
    tifffile.imwrite(folder / "a.ome.tif", planes, ome=True, metadata=about, **packed)
    for name in ("a.nii", "a.nii.gz", "a.nrrd", "a.mha"):
        sitk.WriteImage(sitk.GetImageFromArray(gray), folder / name, useCompression=True)
    return sorted(folder.iterdir())


def test_a_truncated_file_is_refused_or_read_in_full(tmp_path, capfd):
    (tmp_path / "whole").mkdir()
    refused = {}
    for file in files_to_cut(tmp_path / "whole"):
        whole, data = read_image(file), file.read_bytes()
        cut = tmp_path / file.name
        ends = {*range(0, len(data), max(len(data) // 60, 1)), *range(len(data) - 20, len(data))}
        refused[file.name] = 0
        for end in sorted(ends):
            cut.write_bytes(data[:end])
            try:
                found = read_image(cut)
            except InputError as error:
                assert str(error).startswith(f"{cut}: expected")
                refused[file.name] += 1
                continue
            same = found.array.shape == whole.array.shape and (found.array == whole.array).all()
            assert same and found.grid == whole.grid, (
                f"{file.name} cut at {end} of {len(data)} reads differently"
            )
    assert min(refused.values()) > 50
    noise = capfd.readouterr()
    assert noise.out == noise.err == ""


def test_libraries_keep_quiet(tmp_path, capfd):
    data = png(ramp(7, 5))
    at = data.index(b"IDAT") - 4
    (tmp_path / "a.png").write_bytes(data[:at] + chunk(b"iCCP", b"xx\0\0junk") + data[at:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sure(tmp_path / "a.png", ramp(7, 5))
    noise = capfd.readouterr()
    assert noise.out == noise.err == ""
