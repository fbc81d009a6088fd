"""Reading transform files of ITK, whoever wrote them.

ITK believes what such a file says: too few parameters, or a flipped bit in HDF5, end the whole process. So a
text file is read here and written anew before ITK sees it, and HDF5 is turned into text by another process.
"""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from counterpoint.core.errors import InputError

if TYPE_CHECKING:
    import SimpleITK as sitk

TEXT, BINARY = (".tfm", ".txt"), (".h5", ".hdf5")
"""Suffixes."""
MOST = 2**20
"""Bytes of text that are read; a linear transform is a few hundred."""
PATIENCE = 60
"""Seconds that the other process may take."""

SIZES: dict[str, dict[int, tuple[int, int]]] = {
    "AffineTransform": {2: (6, 2), 3: (12, 3)},
    "CenteredAffineTransform": {2: (8, 2), 3: (15, 3)},
    "CenteredEuler3DTransform": {3: (9, 3)},
    "CenteredRigid2DTransform": {2: (5, 2)},
    "CenteredSimilarity2DTransform": {2: (6, 2)},
    "CompositeTransform": {2: (0, 0), 3: (0, 0)},
    "ComposeScaleSkewVersor3DTransform": {3: (12, 3)},
    "Euler2DTransform": {2: (3, 2)},
    "Euler3DTransform": {3: (6, 3)},
    "FixedCenterOfRotationAffineTransform": {2: (6, 2), 3: (12, 3)},
    "IdentityTransform": {2: (0, 0), 3: (0, 0)},
    "MatrixOffsetTransformBase": {2: (6, 2), 3: (12, 3)},
    "QuaternionRigidTransform": {3: (7, 3)},
    "Rigid2DTransform": {2: (3, 2)},
    "ScalableAffineTransform": {2: (6, 2), 3: (12, 3)},
    "ScaleSkewVersor3DTransform": {3: (15, 3)},
    "ScaleTransform": {2: (2, 2), 3: (3, 3)},
    "ScaleVersor3DTransform": {3: (9, 3)},
    "Similarity2DTransform": {2: (4, 2)},
    "Similarity3DTransform": {3: (7, 3)},
    "TranslationTransform": {2: (2, 0), 3: (3, 0)},
    "VersorRigid3DTransform": {3: (6, 3)},
    "VersorTransform": {3: (3, 3)},
}
"""Linear kinds of ITK → dimension → how many parameters and fixed parameters they have at least."""

_KIND = re.compile(r"(\w+)_(?:double|float)_([23])_\2")
_CONVERT = """
import sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))
except (ImportError, ValueError, OSError):
    pass
import SimpleITK
SimpleITK.WriteTransform(SimpleITK.ReadTransform(sys.argv[1]), sys.argv[2])
"""


class Part(NamedTuple):
    """One transform of a file."""

    kind: str
    """As ITK writes it, e.g. "Euler2DTransform_double_2_2"."""
    parameters: tuple[float, ...]
    fixed: tuple[float, ...]


def read_itk(path: Path) -> sitk.Transform:
    """The one linear transform in a file of ITK, which may be a composite.

    Raises:
        InputError: a file that cannot be read, is damaged, or holds none or another kind of transform.
    """
    import SimpleITK as sitk

    with TemporaryDirectory(prefix="counterpoint-") as folder:
        clean = Path(folder) / "transform.tfm"
        if path.suffix.lower() in BINARY:
            _as_text(path, clean)
            parts = _parts(path, clean)
        else:
            parts = _parts(path, path)
        clean.write_text(_text(parts), encoding="ascii")
        try:
            return sitk.ReadTransform(str(clean))
        except RuntimeError as error:
            raise _unlike(path, itk_reason(error)) from None


def itk_reason(error: Exception) -> str:
    """What is wrong, in one line; ITK's messages are pages long and name C++ files and addresses."""
    text = str(error).rsplit("ERROR: ", 1)[-1].split("): ", 1)[-1]
    return text.strip().split("\n", 1)[0][:160]


def _unlike(path: Path, found: str) -> InputError:
    return InputError(f"{path}: expected a transform file of ITK, found: {found}")


def _as_text(path: Path, to: Path) -> None:
    """Write the transform in an HDF5 file as text, by another process: ITK's reader may crash."""
    # -P: what lies in the current folder is not imported
    command = [sys.executable, "-P", "-c", _CONVERT, str(path), str(to)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise _unlike(path, f"one that is not read within {PATIENCE} seconds") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        crashed = done.returncode < 0 or not said
        raise _unlike(path, "a damaged one" if crashed else itk_reason(RuntimeError(said)))


def _parts(path: Path, file: Path) -> list[Part]:
    """The transforms in a text file; messages name ``path``.

    ITK itself takes one that lost its FixedParameters line for the identity, and SimpleITK reads only the
    first of several that are not in a composite.
    """
    try:
        with file.open("rb") as f:
            text = f.read(MOST + 1).decode(errors="replace")
    except OSError as error:
        raise _unlike(path, error.strerror or str(error)) from None
    lines = text.splitlines()
    if len(text) > MOST or not lines or not lines[0].startswith("#Insight Transform File V1"):
        raise _unlike(path, "no transform in it, or more than a linear one")
    blocks: list[dict[str, str]] = []
    for line in lines[1:]:
        tag, colon, value = (part.strip() for part in line.partition(":"))
        if line.startswith("#") or not colon:
            continue
        if tag == "Transform":
            blocks.append({})
        if not blocks or tag in blocks[-1] or tag not in ("Transform", "Parameters", "FixedParameters"):
            raise _unlike(path, f"a damaged one with a line {line[:40]!r}")
        blocks[-1][tag] = value
    parts = [_part(path, block) for block in blocks]
    plain = [part for part in parts if not part.kind.startswith("Composite")]
    if not plain:
        raise _unlike(path, "no transform in it")
    if len(plain) > 1 and parts[0] is plain[0]:
        raise InputError(f"{path}: expected one transform or a composite, found {len(plain)} transforms")
    if len({part.kind[-1] for part in parts}) > 1 or any(p not in plain for p in parts[1:]):
        raise _unlike(path, "transforms of several dimensions, or a composite in a composite")
    return parts


def _part(path: Path, block: dict[str, str]) -> Part:
    """One transform, of as many numbers as its kind has."""
    named = _KIND.fullmatch(block["Transform"])
    sizes = SIZES.get(named[1], {}).get(int(named[2])) if named else None
    if sizes is None:
        raise InputError(
            f"{path}: expected a linear transform in 2-D or 3-D, found {block['Transform'][:80]!r}"
        )
    parameters, fixed = (_numbers(path, block, tag) for tag in ("Parameters", "FixedParameters"))
    if len(parameters) != sizes[0] or len(fixed) < sizes[1]:
        found, expected = f"{len(parameters)} + {len(fixed)}", f"{sizes[0]} + {sizes[1]}"
        raise _unlike(path, f"a damaged one of {found} parameters, where there are {expected}")
    return Part(block["Transform"], parameters, fixed)


def _numbers(path: Path, block: dict[str, str], tag: str) -> tuple[float, ...]:
    if tag not in block and not block["Transform"].startswith("Composite"):
        raise InputError(
            f"{path}: expected Parameters and FixedParameters for every transform, found a damaged file"
        )
    try:
        numbers = tuple(map(float, block.get(tag, "").split()))
    except ValueError:
        raise _unlike(path, f"{tag} that are no numbers") from None
    if not all(map(math.isfinite, numbers)):
        raise _unlike(path, f"{tag} that are not finite")
    return numbers


def _text(parts: list[Part]) -> str:
    """A file with nothing in it but these."""
    lines = ["#Insight Transform File V1.0"]
    for i, (kind, parameters, fixed) in enumerate(parts):
        lines += [f"#Transform {i}", f"Transform: {kind}"]
        if not kind.startswith("Composite"):
            lines.append("Parameters: " + " ".join(map(repr, parameters)))
            lines.append("FixedParameters: " + " ".join(map(repr, fixed)))
    return "\n".join(lines) + "\n"
