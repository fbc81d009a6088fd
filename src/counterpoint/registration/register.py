"""register: two images in, the transform between them and how sure it is out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from counterpoint.core.encoder import Encoder
from counterpoint.core.errors import InputError, unknown
from counterpoint.core.grid import Grid
from counterpoint.core.networks import load_networks
from counterpoint.data.image import Image
from counterpoint.data.read import read_image
from counterpoint.registration.confirm import Ranking, confirm
from counterpoint.registration.measure import Measure, classical, trained
from counterpoint.registration.prepare import MOST, Prepared, prepare
from counterpoint.registration.quality import Quality, judge
from counterpoint.registration.refine import FREE, Kind, climb, sample
from counterpoint.registration.result import Registration
from counterpoint.registration.search import poses
from counterpoint.registration.transform import Transform

COARSE = 96
"""Pixels of the longer side of the smaller image in the search."""
CANDIDATES = 24
"""Peaks of one search that are followed."""
CONVINCING = (0.25, 5.0)
"""Margin and prominence at which no further measure is tried."""
FINEST = MOST
"""Longest side, in pixels, of the level on which refinement ends."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What may be asked of the search."""

    transform: Kind = "rigid"
    """What may happen between the images: turn and shift (rigid), also scale (similarity), any linear map."""
    angles: tuple[float, float] = (-180.0, 180.0)
    """Range of rotations that is searched, in degrees."""
    scales: tuple[float, float] = (0.8, 1.25)
    """Range of scales that is searched (similarity and affine), as sizes in moving over sizes in fixed."""
    mirror: bool = False
    """Whether the moving image may be a mirror image."""
    overlap: float = 0.3
    """Least share of the smaller image that overlaps."""
    seed: int = 0
    """Draws the pixels on which large levels are scored."""

    def __post_init__(self) -> None:
        if self.transform not in FREE:
            raise unknown("transform", str(self.transform), FREE)
        if not 0.05 <= self.overlap <= 1:
            raise InputError(f"overlap: expected a share from 0.05 to 1, found {self.overlap}")
        if not 0.1 <= self.scales[0] <= self.scales[1] <= 10:
            raise InputError(f"scales: expected two numbers from 0.1 to 10 in order, found {self.scales}")
        if not -360 <= self.angles[0] <= self.angles[1] <= 360:
            raise InputError(f"angles: expected two angles in degrees in order, found {self.angles}")

    @classmethod
    def chosen(cls, transform: Kind, settings: Mapping[str, Any]) -> Self:
        """Options by name, as a user types them; raises ``InputError`` on an unknown one."""
        known = {f.name for f in fields(cls)} - {"transform"}
        for name in settings:
            if name not in known:
                raise unknown("option", str(name), known)
        return cls(transform=transform, **settings)

    def linear(self, step: float = 5.0) -> list[np.ndarray]:
        """The linear parts on which the search stands."""
        if self.transform == "rigid":
            return poses(step, (1.0,), self.mirror, self.angles)
        low, high = np.log(self.scales)
        count = max(1, round((high - low) / 0.12) + 1)
        return poses(step, np.exp(np.linspace(low, high, count)).tolist(), self.mirror, self.angles)


Pair = tuple[Prepared, Prepared]
Source = Image | np.ndarray | str | Path
Model = Mapping[str, Encoder] | str | Path


def register(
    fixed: Source,
    moving: Source,
    model: Model | None = None,
    transform: Kind = "rigid",
    *,
    fixed_mask: np.ndarray | None = None,
    moving_mask: np.ndarray | None = None,
    fixed_spacing: tuple[float, float] | None = None,
    moving_spacing: tuple[float, float] | None = None,
    options: Options | None = None,
    progress: Callable[[str], None] | None = None,
) -> Registration:
    """Find the transform that brings ``moving`` onto ``fixed``, from any rotation, and say how sure it is.

    Args:
        fixed: image file, ``Image``, or array (H, W[, C]).
        moving: likewise; of any other modality.
        model: networks by role, a run folder or a networks file; None compares gradients and intensities.
        transform: "rigid", "similarity" or "affine".
        fixed_mask: (H, W) bool, which pixels count; None for all finite ones.
        moving_mask: likewise.
        fixed_spacing: size of a pixel (x, y), overrides the file's.
        moving_spacing: likewise, in the same unit.
        options: ranges of the search; its ``transform`` is overridden by the argument.
        progress: called with a sentence when a new part of the work begins.

    Returns:
        The transform in physical coordinates with its quality. Look at ``quality.trusted`` before using it.

    Raises:
        InputError: an image that cannot be read or registered, or a model that does not fit the images.
    """
    start = time.perf_counter()
    options = Options(**{**vars(options or Options()), "transform": transform})
    say = progress or (lambda _sentence: None)
    pair = (
        prepare(as_image(fixed, fixed_spacing), fixed_mask, "fixed"),
        prepare(as_image(moving, moving_spacing), moving_mask, "moving"),
    )
    if pair[0].image.calibrated != pair[1].image.calibrated:
        pair = _uncalibrated(pair)
    if model is not None:
        networks = load_networks(model) if isinstance(model, str | Path) else model
        say("representing both images")
        with one_thread():
            measures: Sequence[Measure] = [trained(*pair, networks)]
    else:
        measures = classical(*pair)
    found = align(pair, measures, options, say)
    return replace(found, seconds=time.perf_counter() - start)


def align(
    pair: Pair,
    measures: Sequence[Measure],
    options: Options,
    say: Callable[[str], None] = lambda _sentence: None,
) -> Registration:
    """Register two prepared images by the given measures, tried in order until one result can be trusted.

    Raises:
        InputError: there is no place where the images overlap as much as asked.
    """
    start = time.perf_counter()
    with one_thread():
        matrix, ranking, quality = _best(pair, measures, options, say)
    transform = Transform(matrix, options.transform)
    return Registration(
        transform, quality, pair[0].image, pair[1].image, ranking.measure, time.perf_counter() - start
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums in one order, so that a result does not depend on the number of cores; threads gain little here."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def as_image(source: Source, spacing: tuple[float, float] | None = None) -> Image:
    """A file, array or image as an ``Image``; ``spacing`` overrides its own."""
    if isinstance(source, str | Path):
        return read_image(source, spacing=spacing)
    if isinstance(source, np.ndarray):
        if source.ndim not in (2, 3) or (source.ndim == 3 and source.shape[2] > 32):
            raise InputError(f"image: expected an array (H, W[, channels]), found shape {source.shape}")
        if source.dtype.kind not in "buif":
            raise InputError(f"image: expected numbers, found {source.dtype}")
        source = Image(source, Grid((source.shape[1], source.shape[0])))
    if spacing is None:
        return source
    grid = Grid(source.grid.size, spacing, source.grid.origin, source.grid.direction)
    return Image(source.array, grid, True, source.unit, source.channels, source.path)


def _uncalibrated(pair: Pair) -> Pair:
    """Both images in pixels: a spacing that only one of them states compares with nothing."""
    fixed, moving = (
        replace(p, image=replace(p.image, grid=Grid(p.image.grid.size), calibrated=False, unit="pixel"))
        for p in pair
    )
    return fixed, moving


def _spacing(pair: Pair, pixels: int) -> float:
    """The pixel size at which the longer side of the smaller image has ``pixels`` pixels."""
    extents = [max(np.asarray(p.image.grid.size) * p.image.grid.spacing) for p in pair]
    finest = max(float(np.sqrt(abs(np.linalg.det(p.matrix[:2, :2])))) for p in pair)
    # A much larger partner is searched on fewer pixels, so that the transforms stay small.
    return max(min(extents) / pixels, max(extents) / (4 * pixels), finest)


def _best(
    pair: Pair, measures: Sequence[Measure], options: Options, say: Callable[[str], None]
) -> tuple[np.ndarray, Ranking, Quality]:
    """One measure after another, until one gives a result that can be trusted; else the most trusted."""
    spacing, linear = _spacing(pair, COARSE), options.linear()
    kind: Kind = "rigid" if options.transform == "rigid" else "similarity"
    pool: list[np.ndarray] = []
    rankings: list[Ranking] = []
    judged: list[tuple[np.ndarray, Ranking, Quality]] = []
    for measure in measures:
        say(f"searching by {measure.name}")
        pool += [peak.matrix for peak in measure.search(spacing, linear, options.overlap)[:CANDIDATES]]
        if not pool:
            continue
        ranking = confirm(measure, np.stack(pool), pair[0].image.grid, spacing, kind, options.overlap)
        if ranking.margin >= CONVINCING[0] and ranking.prominence >= CONVINCING[1]:
            say(f"refining by {measure.name}")
            judged.append(_finished(pair, ranking, options))
            if judged[-1][2].trusted:
                return judged[-1]
        else:
            rankings.append(ranking)
    if not rankings and not judged:
        raise InputError(
            f"the images: expected content that can overlap by {options.overlap:.0%}, found no such place; "
            "are the masks or the spacing right?"
        )
    if rankings:
        say("refining the most prominent candidate")
        judged.append(_finished(pair, max(rankings, key=lambda r: r.standing), options))
    return max(judged, key=lambda j: j[2].trust)


def _finished(pair: Pair, ranking: Ranking, options: Options) -> tuple[np.ndarray, Ranking, Quality]:
    """The refined matrix of a ranking's best, found forwards and backwards, and its quality."""
    matrix = _exact(_refined(pair, ranking, options), options.transform)
    swapped = replace(ranking.measure, fixed=ranking.measure.moving, moving=ranking.measure.fixed)
    # From the candidate of the search, not from the result: that would agree with itself.
    start = replace(ranking, measure=swapped, matrices=np.linalg.inv(ranking.matrices[:1]))
    back = np.linalg.inv(_refined((pair[1], pair[0]), start, options))
    quality = judge(
        ranking, Transform(matrix, options.transform), back, pair[0].image.grid, pair[1].image.grid
    )
    return matrix, ranking, quality


def _refined(pair: Pair, ranking: Ranking, options: Options) -> np.ndarray:
    """(3, 3): the best candidate after refinement down to the finest level."""
    measure, matrices = ranking.measure, ranking.matrices[:3]
    for i, spacing in enumerate(_finer(pair)):
        fixed, moving = measure.fixed(spacing), measure.moving(spacing)
        points = sample(fixed, 8000 if i == 0 else 16000, options.seed)
        matrices, scores = climb(
            points,
            moving,
            matrices,
            fixed.matrix,
            options.transform,
            measure.score,
            measure.spin,
            steps=40,
            step=2.0,
            least=0.02,
        )
        matrices = matrices[np.argsort(-scores, kind="stable")][: max(1, 2 - i)]
    return matrices[0]


def _finer(pair: Pair) -> list[float]:
    """Pixel sizes from that of the search, where an affine map may still change much, down to the finest."""
    coarse, finest = _spacing(pair, COARSE), _spacing(pair, FINEST)
    sizes = [coarse / 2**i for i in range(6) if coarse / 2**i > 1.5 * finest]
    return [*sizes, finest]


def _exact(matrix: np.ndarray, kind: Kind) -> np.ndarray:
    """The nearest matrix that is of its kind to the last bit: single precision leaves crumbs."""
    out = np.vstack((matrix[:2], (0.0, 0.0, 1.0)))
    if kind != "affine":
        u, s, vt = np.linalg.svd(out[:2, :2])
        out[:2, :2] = (1.0 if kind == "rigid" else np.sqrt(s[0] * s[1])) * (u @ vt)
    return out
