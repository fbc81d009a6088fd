"""Transform: a linear map from the fixed image's space to the moving image's, in physical coordinates."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import numpy as np

from counterpoint.core.errors import InputError, unknown
from counterpoint.core.files import aside
from counterpoint.core.grid import Grid
from counterpoint.core.untrusted import parse_json, read_text
from counterpoint.registration.itk_files import BINARY, TEXT, itk_reason, read_itk

if TYPE_CHECKING:
    import SimpleITK as sitk

Kind = Literal["rigid", "similarity", "affine"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""From the narrowest to the widest."""

CONVENTION = (
    "Homogeneous 3x3 matrix on column vectors (x, y, 1) that maps physical points of the fixed image to "
    "physical points of the moving image, as ITK does: with it, moving is resampled onto fixed."
)
_SUFFIXES = (*TEXT, *BINARY, ".json")
_TOLERANCE = 1e-6  # how far singular values may be from what the kind says: the precision of float32


@dataclass(frozen=True, slots=True, eq=False)
class Transform:
    """Maps fixed physical points (x, y) to moving physical points, like the transforms of ITK.

    It brings the moving image onto the fixed one as it is; points of the moving image need its inverse.
    """

    matrix: np.ndarray
    """(3, 3) float64, read-only: homogeneous, acts on column vectors (x, y, 1); the last row is (0, 0, 1)."""
    kind: Kind
    """Rigid: turns (and mirrors) and moves; similarity: also scales evenly; affine: any linear map."""

    def __post_init__(self) -> None:
        """Check the matrix; raises ``InputError`` if it is not one, not invertible, or not of its kind.

        What is of its kind to within 1e-6 (a matrix that went through float32) is put exactly onto it.
        """
        if self.kind not in KINDS:
            raise unknown("kind of transform", str(self.kind), KINDS)
        m = _numbers(self.matrix)
        left, (large, small), right = np.linalg.svd(m[:2, :2])
        if small <= 1e-9 * large:
            raise InputError(f"transform: expected an invertible matrix, found {m.tolist()}")
        if self.kind != "affine":
            ideal = 1.0 if self.kind == "rigid" else (large + small) / 2
            off = max(abs(large - ideal), abs(small - ideal)) / ideal
            if off > _TOLERANCE:
                expected = "scales of 1" if self.kind == "rigid" else "equal scales"
                raise InputError(
                    f"transform: expected {expected} ({self.kind}), found {large:g} and {small:g}"
                )
            if off > 1e-13:
                m[:2, :2] = ideal * (left @ right)
        m.setflags(write=False)
        object.__setattr__(self, "matrix", m)

    @classmethod
    def identity(cls) -> Self:
        """The transform that leaves every physical point where it is."""
        return cls(np.eye(3), "rigid")

    @classmethod
    def from_pixels(cls, matrix: np.ndarray, fixed: Grid, moving: Grid, kind: Kind) -> Self:
        """From a (3, 3) matrix that maps fixed pixels (x, y) to moving pixels.

        ``kind`` speaks of the physical map. Raises ``InputError`` if the map is not of it, e.g. if a map that
        is rigid in pixels is called rigid between images of different spacing.
        """
        return cls(moving.matrix @ _numbers(matrix) @ np.linalg.inv(fixed.matrix), kind)

    def pixels(self, fixed: Grid, moving: Grid) -> np.ndarray:
        """(3, 3) float64: fixed pixel (x, y, 1) → moving pixel."""
        m = np.linalg.inv(moving.matrix) @ self.matrix @ fixed.matrix
        m[2] = 0, 0, 1
        return m

    def map_points(self, points: np.ndarray) -> np.ndarray:
        """Where (N, 2) physical points (x, y) of the fixed image lie in the moving one; (N, 2) float64.

        Raises ``InputError`` on another shape.
        """
        points = np.asarray(points, float)
        if points.ndim != 2 or points.shape[1] != 2:
            raise InputError(f"points: expected an array of shape (N, 2), found {points.shape}")
        return points @ self.matrix[:2, :2].T + self.matrix[:2, 2]

    def inverse(self) -> Self:
        """Maps moving physical points to fixed ones."""
        return type(self)(np.linalg.inv(self.matrix), self.kind)

    def compose(self, first: Transform) -> Self:
        """``first``, then this one: x → self(first(x)); of the wider kind of the two."""
        wider = KINDS[max(KINDS.index(self.kind), KINDS.index(first.kind))]
        return type(self)(self.matrix @ first.matrix, wider)

    def __matmul__(self, first: Transform) -> Self:
        return self.compose(first)

    @property
    def mirrored(self) -> bool:
        """Whether it turns the image over (negative determinant)."""
        return bool(np.linalg.det(self.matrix[:2, :2]) < 0)

    @property
    def angle(self) -> float:
        """Degrees in (−180, 180] by which it turns, x towards y: clockwise where y points down.

        That of the nearest rotation (polar decomposition); where it mirrors, x → −x is taken to come first.
        """
        left, _, right = np.linalg.svd(self.matrix[:2, :2])
        turn = left @ right @ np.diag((-1.0 if self.mirrored else 1.0, 1.0))
        angle = float(np.degrees(np.arctan2(turn[1, 0] - turn[0, 1], turn[0, 0] + turn[1, 1])))
        return 180.0 if angle == -180.0 else angle

    @property
    def scale(self) -> tuple[float, float]:
        """The largest and the smallest factor by which it stretches a length (singular values)."""
        large, small = np.linalg.svd(self.matrix[:2, :2], compute_uv=False)
        return float(large), float(small)

    @property
    def translation(self) -> tuple[float, float]:
        """Where it takes the physical point (0, 0)."""
        return float(self.matrix[0, 2]), float(self.matrix[1, 2])

    def describe(self, center: tuple[float, float] = (0.0, 0.0), unit: str = "") -> str:
        """One plain sentence on the way from fixed to moving; it moves the physical point ``center``."""
        large, small = self.scale
        parts = ["mirrors x"] if self.mirrored else []
        parts.append(f"turns by {self.angle:.2f}°")
        if self.kind == "similarity":
            parts.append(f"scales by {large:.4g}")
        elif self.kind == "affine":
            parts.append(f"scales by {large:.4g} along one axis and {small:.4g} across it")
        x, y = (self.map_points(np.array([center])) - center)[0]
        which = "" if tuple(center) == (0.0, 0.0) else f" the point ({center[0]:.6g}, {center[1]:.6g})"
        parts.append(f"moves{which} by ({x:.2f}, {y:.2f})" + (f" {unit}" if unit else ""))
        return f"From fixed to moving: {', '.join(parts)}."

    def save(self, path: Path | str, dimension: Literal[2, 3] = 2) -> None:
        """Write a file, whole or not at all: ``.tfm``, ``.txt``, ``.h5`` or ``.hdf5`` for ITK, or ``.json``.

        ``dimension=3`` writes the same map of x and y with z left as it is, which 3D Slicer needs.
        Raises ``InputError`` on another suffix or dimension, or a path that cannot be written to.
        """
        path = Path(path)
        suffix = _suffix(path)
        if dimension not in ((2,) if suffix == ".json" else (2, 3)):
            raise InputError(f"{path}: expected 2 dimensions, or 3 in a file for ITK, found {dimension}")
        try:
            with aside(path) as temporary:
                if suffix == ".json":
                    plain = {"kind": self.kind, "matrix": self.matrix.tolist(), "convention": CONVENTION}
                    temporary.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
                else:
                    import SimpleITK as sitk

                    sitk.WriteTransform(self.to_itk(dimension), str(temporary))
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"{path}: expected a file that can be written, found: {_reason(error)}"
            ) from None

    def to_itk(self, dimension: Literal[2, 3] = 2) -> sitk.Transform:
        """As SimpleITK has it: Euler2D, Similarity2D, or Affine (mirrored, affine, or embedded in 3-D)."""
        import SimpleITK as sitk

        linear, move = self.matrix[:2, :2], self.matrix[:2, 2]
        if dimension == 3:
            out = sitk.AffineTransform(3)
            out.SetMatrix(
                np.block([[linear, np.zeros((2, 1))], [np.zeros((1, 2)), np.eye(1)]]).ravel().tolist()
            )
            out.SetTranslation([*move.tolist(), 0.0])
            return out
        if self.kind == "affine" or self.mirrored:
            out = sitk.AffineTransform(2)
            out.SetMatrix(linear.ravel().tolist())
        else:
            # through the angle: SetMatrix of these two refuses what is not orthonormal to the last digits
            out = sitk.Euler2DTransform() if self.kind == "rigid" else sitk.Similarity2DTransform()
            out.SetAngle(float(np.arctan2(linear[1, 0], linear[0, 0])))
            if isinstance(out, sitk.Similarity2DTransform):
                out.SetScale(float(np.hypot(*linear[:, 0])))
        out.SetTranslation(move.tolist())
        return out

    @classmethod
    def from_itk(cls, transform: sitk.Transform, name: str = "transform") -> Self:
        """From any linear ITK transform of 2-D, or of 3-D that leaves z alone, composite or not.

        Its kind is the narrowest that the matrix is of. Raises ``InputError``, beginning with ``name``.
        """
        dimension = transform.GetDimension()
        if dimension not in (2, 3) or not transform.IsLinear():
            found = (
                f"{'a' if transform.IsLinear() else 'a non-linear'} {transform.GetName()} in {dimension}-D"
            )
            raise InputError(f"{name}: expected a linear transform in 2-D or 3-D, found {found}")
        m = _itk_matrix(transform, dimension)
        if dimension == 3:
            if not np.allclose(np.vstack((m[2], m[:, 2])), [0, 0, 1, 0], atol=1e-9):
                raise InputError(f"{name}: expected a 3-D transform that leaves z alone, found {m.tolist()}")
            m = m[np.ix_((0, 1, 3), (0, 1, 3))]
        return cls._checked(m, None, name)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read what ``save`` writes, or any other linear 2-D transform of ITK (see ``from_itk``).

        A ``.json`` file keeps the kind it was saved with. Raises ``InputError`` if the file is missing,
        damaged, not a transform, or not linear.
        """
        path = Path(path)
        suffix = _suffix(path)
        if not path.is_file():
            raise InputError(
                f"{path}: expected a transform file, found {'a folder' if path.is_dir() else 'no file'}"
            )
        if suffix == ".json":
            matrix, kind = _read_json(path)
            return cls._checked(matrix, kind, str(path))
        return cls.from_itk(read_itk(path), str(path))

    @classmethod
    def _checked(cls, matrix: Any, kind: Kind | None, name: str) -> Self:
        """The transform, or an ``InputError`` that names the file; the narrowest kind if none is given."""
        try:
            if kind is None:
                large, small = cls(matrix, "affine").scale
                even = large - small <= 1e-9 * large
                kind = "affine" if not even else "rigid" if abs(large - 1) <= 1e-9 else "similarity"
            return cls(matrix, kind)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise InputError(f"{path}: expected a file name ending in {', '.join(_SUFFIXES)}, found {suffix!r}")
    return suffix


def _numbers(matrix: Any) -> np.ndarray:
    """A (3, 3) float64 copy, finite, with a last row of exactly (0, 0, 1)."""
    try:
        m = np.array(matrix, dtype=float)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"transform: expected a matrix of 3×3 numbers, found {matrix!r:.80}") from None
    if m.shape != (3, 3) or not np.isfinite(m).all():
        raise InputError(f"transform: expected a matrix of 3×3 finite numbers, found {m.tolist()!r:.200}")
    if not np.allclose(m[2], (0, 0, 1), rtol=0, atol=1e-9):
        raise InputError(f"transform: expected (0, 0, 1) as the last row, found {m[2].tolist()}")
    m[2] = 0, 0, 1
    return m


def _read_json(path: Path) -> tuple[Any, Kind]:
    """Matrix and kind as the file has them."""
    try:
        plain = parse_json(read_text(path, "a transform"))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{path}: expected a transform as JSON, found: {error}") from None
    if not isinstance(plain, dict) or not {"kind", "matrix"} <= plain.keys():
        raise InputError(f'{path}: expected "kind" and "matrix", found {str(plain)[:80]!r}')
    return plain["matrix"], plain["kind"]


def _itk_matrix(transform: Any, n: int) -> np.ndarray:
    """(n+1, n+1) homogeneous matrix of a linear SimpleITK transform."""
    part: Any = transform.Downcast()
    count = part.GetNumberOfTransforms() if part.GetName() == "CompositeTransform" else 1
    m = np.eye(n + 1)
    if count > 1:
        for i in range(count):  # the last is applied first
            m = m @ _itk_matrix(part.GetNthTransform(i), n)
    elif hasattr(part, "GetMatrix"):
        m[:n, :n] = np.reshape(part.GetMatrix(), (n, n))
        center = np.array(part.GetCenter())
        m[:n, n] = np.array(part.GetTranslation() if hasattr(part, "GetTranslation") else np.zeros(n))
        m[:n, n] += center - m[:n, :n] @ center
    else:  # translations, and kinds that SimpleITK has no class for: by what they do to n + 1 points
        far = 2.0**20
        m[:n, n] = part.TransformPoint([0.0] * n)
        for i, unit in enumerate(np.eye(n)):
            m[:n, i] = (np.array(part.TransformPoint((far * unit).tolist())) - m[:n, n]) / far
    return m


def _reason(error: Exception) -> str:
    """What is wrong, in one line."""
    return error.strerror if isinstance(error, OSError) and error.strerror else itk_reason(error)
