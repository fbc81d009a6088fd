"""NIfTI, NRRD and MetaImage, through SimpleITK; lengths in mm, directions as ITK has them (LPS)."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from counterpoint.core.errors import InputError
from counterpoint.core.grid import Grid, Pair
from counterpoint.data.image import Image
from counterpoint.data.itk_headers import check_meta, check_nifti, check_nrrd
from counterpoint.data.kinds import admit, not_plane

if TYPE_CHECKING:
    from SimpleITK import ImageFileReader

_ENGINES = {"NIfTI": "NiftiImageIO", "NRRD": "NrrdImageIO", "MetaImage": "MetaImageIO"}
_IDENTITY = ((1.0, 0.0), (0.0, 1.0))
_BLOCK = 2**20


def read_itk(path: Path, kind: str) -> Image:
    """A 2-D image (H, W[, C]) with spacing, origin and direction in mm; axes of length 1 are left out.

    A slice that does not lie in the x-y plane keeps its spacing, at origin 0 and with identity direction.

    Raises:
        InputError: more than one plane, complex pixels, missing pixels, an absurd size.
    """
    if kind == "gzipped NIfTI":
        # Unpacked by ourselves, since the NIfTI library fills truncated data with zeros and, for x.nii.gz,
        # takes the pixels of an x.nii beside it.
        with TemporaryDirectory(prefix="counterpoint-") as folder:
            plain = Path(folder) / "image.nii"
            _unzip(path, plain)
            return _read(path, plain, "NIfTI")
    return _read(path, path, kind)


def write_itk(path: Path, image: Image, kind: str) -> None:
    """NIfTI, NRRD or MetaImage with spacing, origin and direction; µm become mm, bool becomes uint8."""
    import SimpleITK as sitk

    array = image.array.astype(np.uint8) if image.array.dtype == bool else image.array
    scale = 1e-3 if image.unit == "µm" else 1.0
    packed = sitk.GetImageFromArray(np.ascontiguousarray(array), isVector=array.ndim == 3)
    packed.SetSpacing([s * scale for s in image.grid.spacing])
    packed.SetOrigin([o * scale for o in image.grid.origin])
    packed.SetDirection([d for row in image.grid.direction for d in row])
    sitk.WriteImage(packed, str(path), useCompression=True, imageIO=_ENGINES[kind.removeprefix("gzipped ")])


def _read(path: Path, file: Path, kind: str) -> Image:
    """The image in ``file``; messages name ``path``."""
    import SimpleITK as sitk

    if kind == "NIfTI":
        need, found = sum(_nifti_layout(path, file)[:2]), file.stat().st_size
        if found < need:
            raise InputError(
                f"{path}: expected the {need} bytes its header announces, found {found}: truncated"
            )
        pixels = path
    else:
        pixels = check_meta(path) if kind == "MetaImage" else check_nrrd(path)
    reader = sitk.ImageFileReader()
    reader.SetImageIO(_ENGINES[kind])
    reader.SetFileName(str(file))
    reader.ReadImageInformation()
    size = reader.GetSize()
    axes = _plane(path, size)
    if reader.GetPixelIDValue() in (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64):
        raise InputError(f"{path}: expected real pixels, found complex ones")
    # 8 bytes a component at the most; the size is checked to catch nonsense, not to count
    admit(path, size[axes[0]], size[axes[1]], 8 * reader.GetNumberOfComponents(), pixels.stat().st_size)
    array = sitk.GetArrayFromImage(reader.Execute())
    components = reader.GetNumberOfComponents()
    shape = (size[axes[1]], size[axes[0]])
    array = array.reshape((*shape, components) if components > 1 else shape)
    if kind == "NIfTI":
        _restore_nonfinite(array, path, file)
    return Image(array, _grid(reader, axes), calibrated=True, unit="mm", path=path)


def _plane(path: Path, size: tuple[int, ...]) -> tuple[int, int]:
    """The two axes of a plane; raises ``InputError`` if there are more that are longer than 1."""
    if math.prod(size[2:]) == 1:
        return 0, 1
    long = [i for i, n in enumerate(size) if n > 1]
    if len(long) == 2:
        return long[0], long[1]
    raise not_plane(
        path, ", ".join(f"{'XYZTC'[i] if i < 5 else i}={n}" for i, n in enumerate(size) if i > 1 < n)
    )


def _grid(reader: ImageFileReader, axes: tuple[int, int]) -> Grid:
    size, spacing, n = reader.GetSize(), reader.GetSpacing(), reader.GetDimension()
    full = np.reshape(reader.GetDirection(), (n, n))
    inside = (
        axes == (0, 1) and np.allclose(full[2:, :2], 0, atol=1e-6) and np.allclose(full[:2, 2:], 0, atol=1e-6)
    )
    origin: Pair = (0.0, 0.0)
    direction = _IDENTITY
    if inside:
        x, y = full[:2, :2].tolist()
        origin, direction = reader.GetOrigin()[:2], ((x[0], x[1]), (y[0], y[1]))
    a, b = axes
    return Grid((size[a], size[b]), (spacing[a], spacing[b]), origin, direction)


def _unzip(path: Path, to: Path) -> None:
    """Unpack a gzipped NIfTI; gzip checks length and checksum at the end.

    Raises:
        InputError: fewer bytes than the header announces, or far more.
        EOFError, OSError, zlib.error: a truncated or damaged file.
    """
    with gzip.open(path) as packed, to.open("wb") as f:
        f.write(packed.read(_BLOCK))
        f.flush()
        need = sum(_nifti_layout(path, to)[:2])
        admit(path, need, 1, 1, path.stat().st_size)
        while block := packed.read(_BLOCK):
            f.write(block)
            if f.tell() > need + _BLOCK:
                raise InputError(f"{path}: expected {need} bytes, as its header announces, found more inside")


def _nifti_layout(path: Path, file: Path) -> tuple[int, int, str]:
    """What ``check_nifti`` says of ``file``; messages name ``path``."""
    with file.open("rb") as f:
        return check_nifti(path, f.read(348))


def _restore_nonfinite(array: np.ndarray, path: Path, file: Path) -> None:
    """Put NaN and infinity back, which the NIfTI library reads as 0; ``array`` (H, W[, C]) is changed."""
    start, length, dtype = _nifti_layout(path, file)
    if not dtype or length != array.size * np.dtype(dtype).itemsize:
        return
    planes = np.fromfile(file, dtype, array.size, offset=start).reshape(-1, *array.shape[:2])
    stored = planes[0] if array.ndim == 2 else np.moveaxis(planes, 0, 2)  # channel by channel
    lost = ~np.isfinite(stored)
    array[lost] = stored[lost]
