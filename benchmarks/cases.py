"""Real pairs with a known truth: reading the data sets, dividing them by case, and turning the moving image.

The data are not part of this repository (their licences do not allow it): every function takes the folder
that holds them, one subfolder a set, as described there. Cases stand in the order of their tables; those at
even positions (0, 2, …) are for training and tuning, those at odd positions for reporting.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from counterpoint.core.errors import InputError
from counterpoint.core.rng import fold
from counterpoint.data.aligned import Aligned
from counterpoint.data.intensity import gray, unit
from counterpoint.data.read import read_image
from counterpoint.registration.protocol import Images, Landmarks, Trial, drawn_trials
from counterpoint.registration.refine import Kind

Split = Literal["report", "tune", "validate", "all"]
LEVELS = (1, 2, 3, 4, "full")


@dataclass(frozen=True, slots=True)
class Set:
    """A set of pairs and the question it is asked."""

    title: str
    folder: str
    transform: Kind
    poses: tuple[str, ...]
    """"given": as it is; "turned": the moving image turned by any angle; "drawn": warps of the protocol."""
    group: str = ""
    """Rows of the table that belong to it, where one table holds several sets."""
    model: str = ""
    """The set whose trained model it uses; its own if none is named."""
    together: tuple[tuple[str, str], ...] = ()
    """(pair, pair of the tuning part) that show the same thing: the first goes to the second's part."""


SETS = {
    "he_shg_loci": Set("H&E – second harmonic, tissue cores", "he_shg_loci", "affine", ("given", "turned")),
    "landmarks_retina": Set("Retina, two modalities", "landmarks_retina", "affine", ("turned",),
                            together=(("Retina_32", "Retina_38"),)),
    "landmarks_rgb_nir": Set("RGB – near infrared, scenes", "landmarks_rgb_nir", "affine", ("turned",)),
    "landmarks_remote_sensing": Set("SAR, infrared, depth, night – optical", "landmarks_remote_sensing",
                                    "affine", ("turned",)),
    "landmarks_vis_ir": Set("Visible – thermal infrared", "landmarks_vis_ir", "affine", ("turned",)),
    "hopc_remote_sensing": Set("SAR, infrared, LiDAR – optical", "hopc_remote_sensing", "affine",
                               ("turned",)),
    "harvard_ct": Set("MR – CT, brain", "harvard_brain_fusion", "rigid", ("drawn",), "ct_mri"),
    "harvard_pet": Set("MR – PET, brain", "harvard_brain_fusion", "rigid", ("drawn",), "pet_mri",
                       model="harvard_spect"),
    "harvard_spect": Set("MR – SPECT, brain", "harvard_brain_fusion", "rigid", ("drawn",), "spect_mri"),
    "cell_multimodal": Set("Cells, several microscopies", "cell_multimodal", "rigid", ("turned",),
                           together=(("worms_c01", "human_ht29"),)),
}  # fmt: skip
CELLS = (
    ("fly_pos002", "d", "f"), ("isl_neurons", "phase_z06", "dapi"), ("isl_neurons", "phase_z06", "map2"),
    ("isl_neurons", "phase_z06", "nfh"), ("human_ht29", "d0", "d1"),
    ("qpi_u2os", "qdpc_fixed", "sim_moving"), ("keratinocytes", "phase", "dapi"),
    ("worms_c01", "brightfield", "fluorescence"),
)  # fmt: skip
"""Scene, fixed and moving channel: that set has no table. The scenes that were tuned on stand in one part."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One pair of a set."""

    name: str
    case: str
    """What it is a picture of; a case is never divided."""
    fixed: Path
    moving: Path
    matrix: np.ndarray
    """(3, 3) fixed → moving in pixels, a homography where the set states one: for warping before training."""
    landmarks: Landmarks | None = None
    """The truth it is scored by; the matrix if there are none."""

    @cache  # noqa: B019 -- a run reads each pair once
    def images(self) -> Images:
        """Fixed and moving as stored."""
        return read_image(self.fixed).array, read_image(self.moving).array


def cases(data: Path, name: str) -> list[Case]:
    """All pairs of a set, in the order of its table.

    Raises:
        InputError: the data are not there.
    """
    kind = SETS[name]
    folder = data / kind.folder
    table = folder / ("qpi_u2os_transform.csv" if name == "cell_multimodal" else "pairs.csv")
    if not table.is_file():
        raise InputError(
            f"--data {data}: expected the folder of real data sets, with {kind.folder}/{table.name} in it, "
            "found no such file; the data are not part of this repository"
        )
    if name == "cell_multimodal":
        return [_cells(folder, *words) for words in CELLS]
    with table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if not kind.group or row["pair_kind"] == kind.group]
    if kind.group:
        slices = [_slice(folder, row) for row in rows]
        return sorted(slices, key=lambda c: (int(c.case), c.name))
    return [_core(folder, row) if name == "he_shg_loci" else _landmarked(folder, row) for row in rows]


def divided(name: str, pairs: Sequence[Case], split: Split) -> tuple[list[Case], list[Case]]:
    """(pairs to train on, pairs to be asked about).

    "report": as written above. "validate": the same within the tuning cases, for choosing settings. "tune"
    and "all" ask about those cases and leave none to train on. A set with a single case, or with the model of
    another set, is asked about as a whole.
    """
    if SETS[name].model:
        return [], list(pairs)
    tune, report = _halves(pairs, dict(SETS[name].together))
    if split == "report":
        return tune, report
    if split == "validate":
        return _halves(tune, dict(SETS[name].together))
    return [], tune if split == "tune" else list(pairs)


def _halves(pairs: Sequence[Case], moved: dict[str, str]) -> tuple[list[Case], list[Case]]:
    even = set(list(dict.fromkeys(pair.case for pair in pairs))[::2])
    first = [pair for pair in pairs if moved.get(pair.case, pair.case) in even]
    return first, [pair for pair in pairs if pair not in first]


def thinned(pairs: Sequence[Case], most: int) -> list[Case]:
    """About ``most`` pairs, equally many of every case, evenly over its slices, none from the ends."""
    by_case: dict[str, list[Case]] = {}
    for pair in pairs:
        by_case.setdefault(pair.case, []).append(pair)
    each = max(1, most // max(1, len(by_case)))
    return [
        own[i]
        for own in by_case.values()
        for i in sorted({int((k + 0.5) * len(own) / each) for k in range(each)})
    ]


def trials(name: str, pairs: Sequence[Case], seed: int, turns: int) -> dict[str, list[Trial]]:
    """Pose → questions; ``turns`` draws of each."""
    found: dict[str, list[Trial]] = {}
    for pose in SETS[name].poses:
        if pose == "drawn":
            loaders = {pair.name: pair.images for pair in pairs}
            drawn = drawn_trials(loaders, LEVELS, seed, turns)  # pyright: ignore[reportArgumentType]
            found["levels 1 – 4"] = [t for t in drawn if t.level != "full"]
            found["any angle"] = [t for t in drawn if t.level == "full"]
        elif pose == "given":
            found["as given"] = [Trial(f"{p.name} given", p.images, _truth(p, np.eye(3))) for p in pairs]
        else:
            angles = _angles(len(pairs), seed, name, turns)
            found["turned"] = [
                _turned(p, i, a[i]) for p, a in zip(pairs, angles, strict=True) for i in range(turns)
            ]
    return found


def aligned(
    pairs: Iterable[Case], planes: Callable[[Images], Images]
) -> tuple[list[Aligned], list[np.ndarray]]:
    """The moving images warped onto the fixed ones by the truth, to train on, and where both are seen."""
    from scipy.ndimage import map_coordinates

    made, masks = [], []
    for pair in pairs:
        fixed, moving = (unit(image) for image in planes(pair.images()))
        h, w = fixed.shape[:2]
        x, y = np.meshgrid(np.arange(w), np.arange(h))
        q = pair.matrix @ np.stack((x.ravel(), y.ravel(), np.ones(x.size)))
        at = (q[:2] / q[2])[::-1].reshape(2, h, w)
        limits = np.array(moving.shape[:2])[:, None, None]
        masks.append(((at > -0.5) & (at < limits - 0.5)).all(0))
        channels = [
            map_coordinates(c, at, order=1, mode="constant", cval=_border(c))
            for c in np.moveaxis(moving, 2, 0)
        ]
        made.append((fixed, np.stack(channels, 2).astype(np.float32)))
    return made, masks


def turned(image: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """(image turned about its center, (3, 3) old pixel → new pixel); the canvas holds all of it.

    ``angle`` in degrees. What the image does not cover is the median of its border, per channel.
    """
    from scipy.ndimage import affine_transform

    h, w = image.shape[:2]
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    width, height = (int(np.ceil(abs(a * c) + abs(b * s) - 1e-9)) for a, b in ((w, h), (h, w)))
    back = np.eye(3)  # new pixel → old pixel
    back[:2, :2] = (c, -s), (s, c)
    center = np.array([(w - 1) / 2, (h - 1) / 2])
    back[:2, 2] = center - back[:2, :2] @ [(width - 1) / 2, (height - 1) / 2]
    swapped = back[np.ix_([1, 0, 2], [1, 0, 2])]  # scipy counts (row, column)
    planes = [
        affine_transform(p, swapped, output_shape=(height, width), order=1, cval=_border(p))
        for p in np.moveaxis(image.reshape(h, w, -1).astype(float), 2, 0)
    ]
    out = np.rint(np.stack(planes, 2)).astype(image.dtype).reshape(height, width, *image.shape[2:])
    return out, np.linalg.inv(back)


def _angles(count: int, seed: int, name: str, turns: int) -> np.ndarray:
    """(count, turns) degrees, uniform in ±180; those of a turn are spread evenly, as a few draws are not."""
    angles = []
    for turn in range(turns):
        rng = np.random.default_rng(fold(seed, "turn", name, turn))
        angles.append(360 * (rng.permutation(count) + rng.random(count)) / count - 180)
    return np.stack(angles, 1)


def _turned(pair: Case, repeat: int, angle: float) -> Trial:
    def load() -> Images:
        fixed, moving = pair.images()
        return fixed, turned(moving, angle)[0]

    h, w = pair.images()[1].shape[:2]
    ahead = turned(np.zeros((h, w), np.uint8), angle)[1]
    return Trial(f"{pair.name} turned {repeat + 1}, {angle:.1f}", load, _truth(pair, ahead))


def _truth(pair: Case, ahead: np.ndarray) -> Landmarks | np.ndarray:
    """What ``pair`` is scored by when its moving pixels are moved by ``ahead``."""
    if pair.landmarks is None:
        return ahead @ pair.matrix
    moved = pair.landmarks.moving @ ahead[:2, :2].T + ahead[:2, 2]
    return Landmarks(pair.landmarks.fixed, moved)


def _border(plane: np.ndarray) -> float:
    return float(np.median(np.concatenate((plane[0], plane[-1], plane[:, 0], plane[:, -1]))))


def _core(folder: Path, row: dict[str, str]) -> Case:
    affine = np.vstack((np.array([row[f"a{i}{j}"] for i in (1, 2) for j in (1, 2, 3)], float).reshape(2, 3),
                        (0.0, 0.0, 1.0)))  # fmt: skip
    file = f"{row['id']}.png"
    return Case(row["id"], row["id"], folder / "shg" / file, folder / "he" / file, np.linalg.inv(affine))


def _cells(folder: Path, scene: str, fixed: str, moving: str) -> Case:
    files = (folder / f"{scene}_{fixed}.png", folder / f"{scene}_{moving}.png")
    matrix = np.eye(3)
    if (table := folder / f"{scene}_transform.csv").is_file():  # moving → fixed; the others are aligned
        matrix[:2] = np.loadtxt(table, delimiter=",", skiprows=1).reshape(2, 3)
    return Case(f"{scene} {moving}", scene, *files, np.linalg.inv(matrix))


def _slice(folder: Path, row: dict[str, str]) -> Case:
    name = f"{row['case']} {int(row['slice']):03d}"
    return Case(name, row["case"], folder / row["file_mri"], folder / row["file_a"], np.eye(3))


def _landmarked(folder: Path, row: dict[str, str]) -> Case:
    name = row["id"]
    files = [folder / f"{name}_{kind}.csv" for kind in ("landmarks", "checkpoints")]
    with next(f for f in files if f.is_file()).open(newline="", encoding="utf-8") as file:
        points = list(csv.DictReader(file))
    fixed, moving = (
        np.array([[p[f"x_{r}"], p[f"y_{r}"]] for p in points], float) for r in ("fixed", "moving")
    )
    if "h11" in row:
        stated = np.array([row[f"h{i}{j}"] for i in (1, 2, 3) for j in (1, 2, 3)], float).reshape(3, 3)
        matrix = np.linalg.inv(stated)
    else:
        matrix = np.eye(3)
        matrix[:2] = np.linalg.lstsq(np.c_[fixed, np.ones(len(fixed))], moving, rcond=None)[0].T
    pair = (folder / f"{name}_fixed.png", folder / f"{name}_moving.png")
    return Case(name, name, *pair, matrix, Landmarks(fixed, moving))


def gray_where_mixed(pairs: Sequence[Case]) -> Callable[[Images], Images]:
    """Images → images, those of a role gray if only some of it have color: a network needs one kind."""
    counts = [{pair.images()[role].shape[2:] for pair in pairs} for role in (0, 1)]

    def planes(images: Images) -> Images:
        fixed, moving = (gray(i) if len(c) > 1 else i for i, c in zip(images, counts, strict=True))
        return fixed, moving

    return planes
