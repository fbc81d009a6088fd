"""register: two images in, the transform between them and how sure it is out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from counterpoint.core.encoder import Encoder
from counterpoint.core.errors import InputError
from counterpoint.core.grid import Grid
from counterpoint.core.networks import load_networks
from counterpoint.data.image import Image
from counterpoint.data.read import read_image
from counterpoint.registration.align import Measures, Pair, align
from counterpoint.registration.general import general
from counterpoint.registration.measure import Measure, classical, trained
from counterpoint.registration.options import Options
from counterpoint.registration.prepare import Prepared, prepare
from counterpoint.registration.refine import Kind
from counterpoint.registration.result import Registration

GIVEN = "units of the spacing given"
"""Unit of an image whose spacing came from the caller."""
Source = Image | np.ndarray | str | Path
Model = Mapping[str, Encoder] | str | Path
NONE, GENERAL = "none", "general"
"""Names that stand for no model, and for the one that comes with the package."""


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
        model: networks by role, a run folder or a networks file, or "general" for the model of the package;
            where it leaves doubts, gradients and intensities are compared, as with "none" (or None).
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
        say("only one image states the size of a pixel: both are taken in pixels, and so is the transform")
        pair = _uncalibrated(pair)
    units = {p.image.unit for p in pair} - {GIVEN}
    if len(units) > 1:
        raise InputError(f"spacing: expected one unit for both images, found {' and '.join(sorted(units))}")
    found = align(pair, _measures(model, options.only), options, say)
    return replace(found, seconds=time.perf_counter() - start)


def _measures(model: Model | None, only: bool) -> Measures:
    """What a pair is compared by, in the order in which it is tried."""
    if model is None or model == NONE:
        return classical
    networks = load_networks(model) if isinstance(model, str | Path) and model != GENERAL else model

    def measures(fixed: Prepared, moving: Prepared) -> list[Measure]:
        own = trained(fixed, moving, networks) if isinstance(networks, Mapping) else general(fixed, moving)
        return [own] if only else [own, *classical(fixed, moving)]

    return measures


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
    return replace(source, grid=grid, calibrated=True, unit=GIVEN)


def _uncalibrated(pair: Pair) -> Pair:
    """Both images in pixels: a spacing that only one of them states compares with nothing."""
    fixed, moving = (
        replace(p, image=replace(p.image, grid=Grid(p.image.grid.size), calibrated=False, unit="pixel"))
        for p in pair
    )
    return fixed, moving
