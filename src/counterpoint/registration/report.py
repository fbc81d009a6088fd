"""The report of one registration: overlays, representations, figures of trust, settings."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from counterpoint.core.grid import Grid
from counterpoint.data.image import Image
from counterpoint.registration.levels import Level
from counterpoint.registration.quality import TRUSTED
from counterpoint.registration.refine import look, sample
from counterpoint.registration.result import Registration
from counterpoint.registration.transform import Transform
from counterpoint.registration.warp import warp
from counterpoint.report.figures import trust_bars
from counterpoint.report.overlay import checkerboard, display, false_color
from counterpoint.report.page import LONGEST, Page


def write_report(result: Registration, path: Path, settings: Mapping[str, Any] | None = None) -> None:
    """Write one self-contained HTML page on a registration; ``settings`` is shown as given."""
    fixed, moving = result.fixed, result.moving
    page = Page(
        f"Registration of {_short(moving, 'moving')} onto {_short(fixed, 'fixed')}",
        result.transform.describe(unit=fixed.unit if fixed.calibrated else "px"),
    )
    q = result.quality
    page.verdict(
        "Trusted" if q.trusted else "Not to be trusted without a look", q.trusted, _sentence(q.reason)
    )
    add_overlays(page, result)
    page.section("How sure it is")
    page.table(
        ("figure", "value"),
        [
            ("trust (0 to 1)", round(q.trust, 3)),
            ("compared by", q.measure),
            ("best alignment above the second best", f"{q.margin:.0%}"),
            ("prominence among other alignments", f"{q.prominence:.1f} standard deviations"),
            ("agreement with the images exchanged", f"{q.agreement:.2f} px"),
            ("fixed image covered", f"{q.overlap:.0%}"),
            ("time", f"{result.seconds:.1f} s"),
        ],
    )
    page.figures(
        [
            (
                "Each figure beside what is needed to trust the result",
                trust_bars(
                    {
                        "trust": (q.trust, TRUSTED),
                        "margin": (min(1.0, q.margin), 0.2),
                        "prominence": (min(1.0, q.prominence / 10), 0.45),
                        "agreement": (max(0.0, 1 - q.share / 0.05), 0.6),
                    }
                ),
            )
        ]
    )
    page.section("Transform", "Maps pixels (x, y, 1) of the fixed image to pixels of the moving image.")
    page.table(("row", "x", "y", "1"), [(i + 1, *map(float, row)) for i, row in enumerate(result.matrix)])
    page.settings(
        {**(settings or {}), "fixed": _about(fixed), "moving": _about(moving), "versions": versions()}
    )
    page.write(path)


def add_overlays(page: Page, result: Registration, title: str = "The two images") -> None:
    """A section with a before/after swipe, overlays to choose from, and both representations."""
    grid, factor = _display_grid(result.fixed.grid)
    fixed = warp(result.fixed, Transform.identity(), grid).array
    after = warp(result.moving, result.transform, grid).array
    before = warp(result.moving, _centered(result), grid).array
    size = f"Shown at 1/{factor} of the fixed image's size." if factor > 1 else ""
    page.section(title)
    page.swipe(display(fixed), display(after), ("fixed", "moving, registered"), size)
    page.tabs(
        [
            ("registered, false color", false_color(fixed, after)),
            ("before, false color", false_color(fixed, before)),
            ("checkerboard", checkerboard(display(fixed), display(after))),
            ("fixed", display(fixed)),
            ("moving, registered", display(after)),
        ],
        "False color: fixed in magenta, moving in green, gray where they agree.",
    )
    a, b = representations(result)
    page.tabs(
        [("representation of fixed", a), ("representation of moving, registered", b)],
        f"What was compared: {result.quality.measure}.",
    )


def representations(result: Registration, longest: int = 384) -> tuple[np.ndarray, np.ndarray]:
    """Both representations on the fixed image's pixels, (h, w, 3) uint8 on one scale."""
    spacing = max(np.asarray(result.fixed.grid.size) * result.fixed.grid.spacing) / longest
    fixed, moving = result.measure.fixed(spacing), result.measure.moving(spacing)
    everywhere = Level(fixed.maps, torch.ones_like(fixed.mask), fixed.matrix)
    pixel = np.linalg.inv(moving.matrix) @ result.transform.matrix @ fixed.matrix
    maps, weight = look(
        sample(everywhere, fixed.mask.numel()),
        moving,
        torch.from_numpy(pixel[None]).float(),
        result.measure.spin,
    )
    there = maps[0].view(-1, *fixed.mask.shape) * (weight[0].view(fixed.mask.shape) > 0.5)
    both = [(fixed.maps * (fixed.mask > 0.5)).numpy(), there.numpy()]
    return (_orientation(both[0]), _orientation(both[1])) if result.measure.spin else _shared_gray(both)


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in ("counterpoint", "torch", "numpy")},
    }


def _orientation(maps: np.ndarray) -> np.ndarray:
    """Double-angle channels as color: hue is the direction, brightness how clear it is."""
    from matplotlib.colors import hsv_to_rgb

    size = np.hypot(maps[0], maps[1])
    hue = np.arctan2(maps[1], maps[0]) / (2 * np.pi) % 1.0
    value = np.clip(size / max(float(np.percentile(size, 99)), 1e-6), 0, 1)
    return (hsv_to_rgb(np.stack((hue, np.full_like(hue, 0.7), value), -1)) * 255).astype(np.uint8)


def _shared_gray(both: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """First channels on one gray scale: stretching each alone would hide a difference."""
    low, high = np.percentile(np.concatenate([m[0].ravel() for m in both]), (1, 99))
    first, second = (
        np.repeat(
            (np.clip((m[0] - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)[..., None], 3, 2
        )
        for m in both
    )
    return first, second


def _display_grid(grid: Grid) -> tuple[Grid, int]:
    factor = -(-max(grid.size) // LONGEST)
    if factor == 1:
        return grid, 1
    shift = grid.matrix @ [(factor - 1) / 2, (factor - 1) / 2, 1]
    spacing = (grid.spacing[0] * factor, grid.spacing[1] * factor)
    return Grid(
        (grid.size[0] // factor, grid.size[1] // factor), spacing, (shift[0], shift[1]), grid.direction
    ), factor


def _centered(result: Registration) -> Transform:
    """What one sees without registration: the images center on center."""
    centers = [
        g.matrix @ [(g.size[0] - 1) / 2, (g.size[1] - 1) / 2, 1]
        for g in (result.fixed.grid, result.moving.grid)
    ]
    matrix = np.eye(3)
    matrix[:2, 2] = (centers[1] - centers[0])[:2]
    return Transform(matrix, "rigid")


def _about(image: Image) -> dict[str, Any]:
    w, h = image.grid.size
    return {
        "file": image.name,
        "pixels": f"{w} × {h}",
        "type": str(image.array.dtype),
        "channels": image.array.shape[2] if image.array.ndim == 3 else 1,
        "spacing": f"{image.grid.spacing} {image.unit}"
        if image.calibrated
        else "not stated; pixels are used",
    }


def _short(image: Image, role: str) -> str:
    return image.path.name if image.path else role


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:] + "."
