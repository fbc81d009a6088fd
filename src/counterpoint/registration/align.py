"""Align: search by one measure after another, confirm, refine, and judge, for two prepared images."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from counterpoint.core.errors import InputError
from counterpoint.core.grid import Grid
from counterpoint.core.threads import one_thread
from counterpoint.registration.confirm import Ranking, agreed, confirm
from counterpoint.registration.levels import Level
from counterpoint.registration.measure import Measure
from counterpoint.registration.options import USUAL, Options
from counterpoint.registration.prepare import MOST, Prepared
from counterpoint.registration.quality import Quality, judge
from counterpoint.registration.refine import Kind, climb, sample
from counterpoint.registration.result import Registration
from counterpoint.registration.transform import Transform

COARSE = 96
"""Pixels of the longer side of the smaller image in the search."""
CANDIDATES = 24
"""Peaks of one search that are followed."""
CONVINCING = (0.25, 4.0)
"""Margin and prominence at which no further measure is tried."""
FINEST = MOST
"""Longest side, in pixels, of the level on which refinement ends."""

Pair = tuple[Prepared, Prepared]
Measures = Callable[[Prepared, Prepared], Sequence[Measure]]
"""What a pair is to be compared by, in the order in which it is tried."""
Found = tuple[np.ndarray, Ranking, Quality]
"""(3, 3) fixed physical → moving physical, what it came from, and how sure it is."""


def align(
    pair: Pair,
    measures: Measures,
    options: Options,
    say: Callable[[str], None] = lambda _sentence: None,
) -> Registration:
    """Register two prepared images by the given measures, tried in order until one result can be trusted.

    Raises:
        InputError: there is no place where the images overlap as much as asked.
    """
    start = time.perf_counter()
    fixed, moving = pair
    with one_thread():
        found, measure = None, None
        for ratio in _ratios(pair, options):
            if ratio != 1:
                say(f"taking the moving image as {ratio:.3g} times as large, as its pixels suggest")
            sized = (fixed, moving if ratio == 1 else _respaced(moving, ratio))
            back = moving.image.grid.matrix @ np.linalg.inv(sized[1].image.grid.matrix)
            matrix, ranking, quality = _best(sized, measures(*sized), options, say)
            if found is None or quality.trust > found[1].trust:
                found = back @ matrix, quality
                measure = ranking.measure if ratio == 1 else _placed(ranking.measure, back)
            if quality.trusted:
                break
    assert found and measure  # there is at least one ratio
    transform = Transform(found[0], options.transform)
    return Registration(transform, found[1], fixed.image, moving.image, measure, time.perf_counter() - start)


def _ratios(pair: Pair, options: Options) -> tuple[float, ...]:
    """How much larger things may be in the moving image: not at all, or as the images' sizes suggest.

    The latter first, where sizes differ much: then the two mostly show the same field. Only where scale is
    free, no spacing is known and no range of scales is asked for. A frame says nothing of scale: the canvas
    of a turned image is larger than the image.
    """
    if options.transform == "rigid" or options.scales is not None or pair[1].image.calibrated:
        return (1.0,)
    canvas, content = (np.log(moving / fixed) for fixed, moving in zip(*map(_sides, pair), strict=True))
    ratio = float(np.exp(min(canvas, content, key=abs))) if canvas * content > 0 else 1.0
    return (1.0,) if USUAL[0] <= ratio <= USUAL[1] else (ratio, 1.0)


def _sides(image: Prepared) -> tuple[float, float]:
    """Pixels of the longer side, and of the side of a square as large as what lies within the frame."""
    level = image.strict.at(max(image.image.grid.size) / COARSE)
    pixels = float(level.mask.sum()) * abs(float(np.linalg.det(level.matrix[:2, :2])))
    return max(image.image.grid.size), pixels**0.5


def _respaced(moving: Prepared, ratio: float) -> Prepared:
    """The moving image as if its pixels were smaller by ``ratio``."""
    spacing = (1 / ratio, 1 / ratio)
    return replace(moving, image=replace(moving.image, grid=Grid(moving.image.grid.size, spacing)))


def _placed(measure: Measure, back: np.ndarray) -> Measure:
    """``measure`` with its moving levels at their true place."""

    def at(spacing: float) -> Level:
        return replace(level := measure.moving(spacing), matrix=back @ level.matrix)

    return replace(measure, moving=at)


def _spacing(pair: Pair, pixels: int) -> float:
    """The pixel size at which the longer side of the smaller image has ``pixels`` pixels."""
    extents = [max(np.asarray(p.image.grid.size) * p.image.grid.spacing) for p in pair]
    finest = max(float(np.sqrt(abs(np.linalg.det(p.matrix[:2, :2])))) for p in pair)
    # A much larger partner is searched on fewer pixels, so that the transforms stay small.
    return max(min(extents) / pixels, max(extents) / (3 * pixels), finest)


def _best(pair: Pair, measures: Sequence[Measure], options: Options, say: Callable[[str], None]) -> Found:
    """One measure after another, until one gives a result that can be trusted; else the most trusted."""
    spacing, linear = _spacing(pair, COARSE), options.linear()
    kind: Kind = "rigid" if options.transform == "rigid" else "similarity"
    pool: list[np.ndarray] = []
    rankings: list[Ranking] = []
    judged: list[Found] = []
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
        say("refining the candidate that most agree on")
        alone = len(rankings) == 1  # then nobody else is there to agree
        ranking = rankings[0] if alone else agreed(rankings, pair[0].image.grid, spacing)
        judged.append(_finished(pair, ranking, options))
    return max(judged, key=lambda j: j[2].trust)


def _finished(pair: Pair, ranking: Ranking, options: Options) -> Found:
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
