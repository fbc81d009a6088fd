"""SimpleITK: Mattes mutual information climbed from one or several starting rotations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from counterpoint.core.errors import InputError, WorkError, unknown
from counterpoint.core.procedure import Procedure, ProcedureConfig
from counterpoint.data.intensity import gray

if TYPE_CHECKING:
    import SimpleITK as sitk

TRANSFORMS = ("rigid", "similarity", "affine")


class Mattes(Procedure):
    """Mutual information of gray values on a pyramid, by regular-step gradient descent.

    The defaults are settings under which this rival is strong, not SimpleITK's own: all pixels, a deep and
    strongly smoothed pyramid, long steps. Source: Mattes et al. 2003 (metric), ITK v4 (optimizer).
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(ProcedureConfig):
        """Settings of Mattes."""

        starts: int = 1
        """Number of starting rotations, evenly over the circle from 0°; the best final metric wins, ≥ 1."""
        angles: tuple[float, ...] = ()
        """Starting rotations in degrees, instead of ``starts``."""
        bins: int = 32
        """Histogram bins per image, ≥ 5."""
        sampling: float = 1.0
        """Share of pixels the metric looks at, in (0, 1]; below 1 they are drawn at random."""
        rate: float = 4.0
        """First step length of the optimizer; 4 reaches far, 1 is safer for "affine" on small images."""
        least_step: float = 1e-4
        """The optimizer stops below this step length."""
        iterations: int = 300
        """Most optimizer steps on each level of the pyramid."""
        relaxation: float = 0.5
        """Factor on the step length when the gradient turns round, in (0, 1)."""
        shrink: tuple[int, ...] = (8, 4, 2, 1)
        """Reduction of the images, level by level."""
        smoothing: tuple[float, ...] = (8.0, 4.0, 2.0, 0.0)
        """Standard deviation of the smoothing in pixels, level by level."""
        seed: int = 42
        """Of the random sampling."""
        threads: int = 1
        """Threads of ITK; with one, two runs give the same bits."""

    config: Config

    def __init__(self, config: Config) -> None:
        if config.starts < 1 or len(config.shrink) != len(config.smoothing):
            raise InputError(
                "mattes: expected starts ≥ 1 and as many values of shrink as of smoothing, "
                f"found {config.starts}, {config.shrink} and {config.smoothing}"
            )
        super().__init__(config)

    def __call__(
        self,
        fixed: np.ndarray,
        moving: np.ndarray,
        transform: Literal["rigid", "similarity", "affine"] = "rigid",
    ) -> np.ndarray:
        """(3, 3) matrix fixed → moving in pixels, from images (H, W[, C]).

        Raises:
            InputError: an unknown ``transform``.
            WorkError: ITK fails from every start.
        """
        import SimpleITK as sitk

        if transform not in TRANSFORMS:
            raise unknown("transform", transform, TRANSFORMS)
        a, b = (sitk.GetImageFromArray(gray(image)) for image in (fixed, moving))
        angles = self.config.angles or [360 * k / self.config.starts for k in range(self.config.starts)]
        found, reason = [], ""
        for angle in angles:
            try:
                found.append(self._climb(a, b, _start(a, b, transform, np.deg2rad(angle))))
            except RuntimeError as error:
                reason = str(error).splitlines()[-1].strip()
        if not found:
            raise WorkError(f"mattes: ITK found no transform: {reason}")
        return min(found, key=lambda result: result[0])[1]

    def _climb(self, a: sitk.Image, b: sitk.Image, start: sitk.Transform) -> tuple[float, np.ndarray]:
        """(final metric, lower is better; (3, 3) matrix) from one start."""
        import SimpleITK as sitk

        c = self.config
        method = sitk.ImageRegistrationMethod()
        method.SetNumberOfThreads(c.threads)
        method.SetNumberOfWorkUnits(c.threads)
        method.SetMetricAsMattesMutualInformation(c.bins)
        if c.sampling < 1:
            method.SetMetricSamplingStrategy(method.RANDOM)
            method.SetMetricSamplingPercentage(c.sampling, c.seed)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(
            c.rate, c.least_step, c.iterations, c.relaxation, 1e-8
        )
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetShrinkFactorsPerLevel(c.shrink)
        method.SetSmoothingSigmasPerLevel(c.smoothing)
        method.SetInitialTransform(start, inPlace=True)
        method.Execute(a, b)
        return method.GetMetricValue(), _matrix(start)


def _start(a: sitk.Image, b: sitk.Image, transform: str, angle: float) -> sitk.Transform:
    """A rotation about the center of the fixed image that brings the two image centers together."""
    import SimpleITK as sitk

    kinds = {"rigid": sitk.Euler2DTransform, "similarity": sitk.Similarity2DTransform}
    kind = kinds.get(transform, lambda: sitk.AffineTransform(2))()
    centered = sitk.CenteredTransformInitializer(a, b, kind, sitk.CenteredTransformInitializerFilter.GEOMETRY)
    start = type(kind)(centered)
    rotation = (np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle))
    start.SetMatrix(rotation)
    return start


def _matrix(transform: sitk.Transform) -> np.ndarray:
    """(3, 3) of a linear ITK transform between images of unit spacing."""
    origin, x, y = (np.array(transform.TransformPoint(p)) for p in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)))
    return np.array([[*(x - origin), 0.0], [*(y - origin), 0.0], [*origin, 1.0]]).T
