"""The public test of a registration: which questions are put, and what the truth is.

Drawing, image formation and error are those of MultiRegEval (Lu et al. 2022, "Is image-to-image translation
the panacea for multimodal image registration?", PLOS ONE 17(11)), for any list of aligned pairs; real pairs
with a known matrix or landmarks are asked about in the same way. ``scoring`` puts the questions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.metrics.registration import corner_error, landmark_error

Level = Literal[1, 2, 3, 4, "full"]
LEVELS: tuple[Level, ...] = (1, 2, 3, 4)
Images = tuple[np.ndarray, np.ndarray]
"""Fixed and moving, (H, W[, C])."""


@dataclass(frozen=True, slots=True)
class Draw:
    """A rotation about the image center, and a shift."""

    angle: float
    """Degrees; positive turns +x towards +y."""
    tx: float
    """Pixels."""
    ty: float
    """Pixels."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Truth made by warping the moving image of an aligned pair."""

    level: Level
    seed: int = 0
    repeat: int = 0
    """Tells several draws of one pair and level apart."""
    border: Literal["reflect", "constant"] = "reflect"
    """What is seen beyond the image: its mirror image, or zero."""
    patch: tuple[int, int] | None = None
    """(width, height) cut from the middle after warping, so that no border is seen; none: everything."""


@dataclass(frozen=True, slots=True, eq=False)
class Landmarks:
    """Truth as corresponding points, (N, 2) each, (x, y) in pixels."""

    fixed: np.ndarray
    moving: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One question put to a method."""

    pair: str
    """Name of the pair; unique among pairs."""
    load: Callable[[], Images]
    """Reads the two images; called only when the trial is run."""
    truth: Drawn | Landmarks | np.ndarray
    """A warp to be drawn, landmarks, or the (3, 3) matrix fixed → moving in pixels."""
    fold: str = ""
    """The fold the pair belongs to, if the method was trained in folds."""

    @property
    def level(self) -> str:
        """The level of difficulty as text; "real" where nothing is drawn."""
        return str(self.truth.level) if isinstance(self.truth, Drawn) else "real"

    @property
    def key(self) -> str:
        """What tells this trial from every other."""
        drawn = (self.truth.seed, self.truth.repeat) if isinstance(self.truth, Drawn) else ()
        return " · ".join(map(str, (self.pair, self.level, *drawn)))


def draw(level: Level, width: int, seed: int, *what: str | int) -> Draw:
    """The transform of one trial; depends on the arguments alone.

    On level ℓ the angle's size is uniform in [5(ℓ−1), 5ℓ)° and each shift's in [s(ℓ−1), sℓ) px; every sign is
    fair. s = ⌈7·width/300⌉ is the published 7 px at a width of 300 and 20 px at 834. "full" (ours) takes any
    angle in ±180° and the shifts of all levels.

    Raises:
        InputError: an unknown level.
    """
    if level not in (*LEVELS, "full"):
        raise InputError(f"level: expected 1, 2, 3, 4 or full, found {level!r}")
    import torch

    u = torch.rand(6, generator=generator(seed, "draw", str(level), *what), dtype=torch.float64).tolist()
    sign = [1.0 if v < 0.5 else -1.0 for v in u[3:]]
    step = -(-7 * width // 300)
    if level == "full":
        sizes = (180 * u[0], 4 * step * u[1], 4 * step * u[2])
    else:
        sizes = (5 * (level - 1 + u[0]), step * (level - 1 + u[1]), step * (level - 1 + u[2]))
    return Draw(*(a * b for a, b in zip(sign, sizes, strict=True)))


def make_pair(
    fixed: np.ndarray,
    moving: np.ndarray,
    drawn: Draw,
    border: Literal["reflect", "constant"] = "reflect",
    patch: tuple[int, int] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(fixed, warped moving, true (3, 3) matrix fixed → warped moving) from an aligned pair of one size.

    The warped image is I_T(y) = I(R(y + t − c) + c), c = size/2 − 0.5, by linear interpolation in the image's
    own type, so the truth is x ↦ Rᵀ(x − c) + c − t. With ``patch`` (width, height) the middle of both is cut.

    Raises:
        InputError: images of different size, an unknown border, or a patch larger than the images.
    """
    from scipy.ndimage import affine_transform

    fixed, moving = np.asarray(fixed), np.asarray(moving)
    if fixed.shape[:2] != moving.shape[:2] or border not in ("reflect", "constant"):
        raise InputError(
            "pair: expected two aligned images of one size and border reflect or constant, "
            f"found {fixed.shape}, {moving.shape} and {border!r}"
        )
    height, width = moving.shape[:2]
    back = _pull(drawn, width, height)
    swapped = back[np.ix_([1, 0, 2], [1, 0, 2])]  # scipy counts (row, column)
    planes = np.moveaxis(moving.reshape(height, width, -1).astype(float), -1, 0)
    warped = np.stack([affine_transform(p, swapped, order=1, mode=border) for p in planes], axis=-1)
    warped = warped.reshape(moving.shape)
    whole = not np.issubdtype(moving.dtype, np.floating)
    warped = (np.rint(warped) if whole else warped).astype(moving.dtype)
    true = np.linalg.inv(back)
    if patch is None:
        return fixed, warped, true
    left, top = (width - patch[0]) // 2, (height - patch[1]) // 2
    if left < 0 or top < 0 or min(patch) < 1:
        raise InputError(f"patch: expected at most {width} × {height} pixels, found {patch[0]} × {patch[1]}")
    cut = np.s_[top : top + patch[1], left : left + patch[0]]
    offset = np.array([[1.0, 0, left], [0, 1, top], [0, 0, 1]])
    return fixed[cut], warped[cut], np.linalg.inv(offset) @ true @ offset


def drawn_trials(
    pairs: Mapping[str, Callable[[], Images]],
    levels: Iterable[Level] = LEVELS,
    seed: int = 0,
    repeats: int = 1,
    folds: Mapping[str, str] | None = None,
    border: Literal["reflect", "constant"] = "reflect",
    patch: tuple[int, int] | None = None,
) -> list[Trial]:
    """``repeats`` draws per pair and level; a draw depends on seed, level, the pair's name and the repeat."""
    return [
        Trial(name, load, Drawn(level, seed, r, border, patch), (folds or {}).get(name, ""))
        for level in levels
        for name, load in pairs.items()
        for r in range(repeats)
    ]


def pose(trial: Trial) -> tuple[np.ndarray, np.ndarray, Draw | None, Callable[[np.ndarray], float]]:
    """Reads and, if the truth is drawn, warps: (fixed, moving, the draw, the error in pixels of a matrix).

    Drawn trials have the error of the protocol, ε. Real ones are measured on the *fixed* image, whatever the
    pixels of the moving one: where matrix⁻¹ brings a moving landmark, against its fixed partner; of a true
    matrix, the moving points that belong to the corners (0, 0) … (w, h) of the fixed image are brought back.
    """
    fixed, moving = trial.load()
    height, width = fixed.shape[:2]
    truth = trial.truth
    if isinstance(truth, Landmarks):
        return fixed, moving, None, lambda m: landmark_error(_inverse(m), truth.moving, truth.fixed)[0]
    if isinstance(truth, np.ndarray):
        back = np.linalg.inv(truth)
        return fixed, moving, None, lambda m: corner_error(_inverse(m), back, width, height, "protocol")
    size = truth.patch or (width, height)
    drawn = draw(truth.level, size[0], truth.seed, trial.pair, truth.repeat)
    fixed, moving, true = make_pair(fixed, moving, drawn, truth.border, truth.patch)
    return fixed, moving, drawn, lambda m: corner_error(m, true, *size, "protocol")


def _inverse(matrix: np.ndarray) -> np.ndarray:
    """Moving → fixed; raises ``InputError`` for anything but a finite (3, 3) matrix that has an inverse."""
    if np.shape(matrix) == (3, 3) and np.isfinite(matrix).all() and np.linalg.det(matrix) != 0:
        return np.linalg.inv(matrix)
    raise InputError(f"matrix: expected a finite (3, 3) matrix with an inverse, found {np.shape(matrix)}")


def _pull(drawn: Draw, width: int, height: int) -> np.ndarray:
    """(3, 3): y ↦ R(y + t − c) + c, from the warped image to the aligned one."""
    a = np.deg2rad(drawn.angle)
    rotation = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    center = np.array([width / 2 - 0.5, height / 2 - 0.5])
    matrix = np.eye(3)
    matrix[:2, :2] = rotation
    matrix[:2, 2] = rotation @ (np.array([drawn.tx, drawn.ty]) - center) + center
    return matrix
