"""elastix: its default linear registration by mutual information, from the extra ``itk-elastix``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from counterpoint.core.errors import InputError, WorkError, unknown
from counterpoint.core.procedure import Procedure, ProcedureConfig
from counterpoint.data.intensity import gray

KINDS = {"rigid": "EulerTransform", "similarity": "SimilarityTransform", "affine": "AffineTransform"}


class Elastix(Procedure):
    """The map "rigid" of elastix (or "affine"), from identity, with the step counts of MultiRegEval.

    Mutual information by adaptive stochastic gradient descent on a pyramid. Source: Klein et al. 2010. Making
    one raises ``InputError`` if itk-elastix is not installed.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(ProcedureConfig):
        """Settings of Elastix."""

        resolutions: int = 4
        """Levels of the pyramid, ≥ 1; MultiRegEval has 4 for 300 px and 6 for 834 px."""
        iterations: int = 1024
        """Optimizer steps on each level, ≥ 1; elastix's own default is 256."""
        bins: int = 32
        """Histogram bins per image."""
        seed: int = 1
        """Of the random sampling, ≥ 1."""

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        # Here and not in the call: loading takes seconds, and a missing extra is not a failed registration.
        self._itk = _itk()

    def __call__(
        self,
        fixed: np.ndarray,
        moving: np.ndarray,
        transform: Literal["rigid", "similarity", "affine"] = "rigid",
    ) -> np.ndarray:
        """(3, 3) matrix fixed → moving in pixels, from images (H, W[, C]).

        Raises:
            InputError: an unknown ``transform``.
            WorkError: elastix fails.
        """
        if transform not in KINDS:
            raise unknown("transform", transform, KINDS)
        itk = self._itk
        settings = itk.ParameterObject.New()
        settings.AddParameterMap(self._map(settings, transform))
        method = itk.ElastixRegistrationMethod.New(*(itk.image_from_array(gray(i)) for i in (fixed, moving)))
        method.SetParameterObject(settings)
        method.SetLogToConsole(False)
        try:
            method.UpdateLargestPossibleRegion()
        except RuntimeError as error:
            raise WorkError(f"elastix: {str(error).strip().splitlines()[-1]}") from None
        return _matrix(method.ConvertToItkTransform(method.GetCombinationTransform()))

    def _map(self, settings: Any, transform: str) -> Any:
        """The default parameter map of elastix, with our settings in it."""
        c = self.config
        base = settings.GetDefaultParameterMap("affine" if transform == "affine" else "rigid", c.resolutions)
        base["Transform"] = [KINDS[transform]]
        base["MaximumNumberOfIterations"] = [str(c.iterations)]
        base["NumberOfHistogramBins"] = [str(c.bins)]
        base["RandomSeed"] = [str(c.seed)]
        # The warped image is not looked at here.
        base["WriteResultImage"] = ["false"]
        return base


def _itk() -> Any:
    try:
        import itk  # pyright: ignore[reportMissingImports] -- an extra
    except ImportError:
        itk = None
    if not hasattr(itk, "ElastixRegistrationMethod"):
        raise InputError("elastix: expected itk-elastix, found none: pip install counterpoint[elastix]")
    return itk


def _matrix(transform: Any) -> np.ndarray:
    """(3, 3) of a linear ITK transform between images of unit spacing."""
    origin, x, y = (np.array(transform.TransformPoint(p)) for p in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)))
    return np.array([[*(x - origin), 0.0], [*(y - origin), 0.0], [*origin, 1.0]]).T
