"""ANTs: its default linear registration by Mattes mutual information, from the extra ``antspyx``."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from counterpoint.core.errors import InputError, WorkError, unknown
from counterpoint.core.procedure import Procedure, ProcedureConfig
from counterpoint.data.intensity import gray

KINDS = {"rigid": "Rigid", "similarity": "Similarity", "affine": "Affine"}


class Ants(Procedure):
    """``ants.registration`` with its own settings, which start where the centers of mass meet.

    Source: Avants et al. 2011. Two runs give the same bits if the environment has
    ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=1; otherwise ANTs adds up in the order in which its threads finish.
    Making one raises ``InputError`` if antspyx is not installed.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(ProcedureConfig):
        """Settings of Ants."""

        search: float = 0.0
        """Step in degrees of ``ants.affine_initializer`` over the full circle; 0: from centers of mass."""
        seed: int = 1
        """Of ANTs' random sampling, ≥ 1."""

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        # Here and not in the call: loading takes seconds, and a missing extra is not a failed registration.
        self._ants = _ants()

    def __call__(
        self,
        fixed: np.ndarray,
        moving: np.ndarray,
        transform: Literal["rigid", "similarity", "affine"] = "rigid",
    ) -> np.ndarray:
        """(3, 3) matrix fixed → moving in pixels, from images (H, W[, C]).

        Raises:
            InputError: an unknown ``transform``.
            WorkError: ANTs fails.
        """
        if transform not in KINDS:
            raise unknown("transform", transform, KINDS)
        ants = _ants()
        ants = self._ants
        # ANTs indexes (x, y).
        a, b = (ants.from_numpy(np.ascontiguousarray(gray(image).T)) for image in (fixed, moving))
        # The keyword random_seed of ants.registration is accepted and ignored by antspyx 0.6.3: this is not.
        ants.config.set_ants_deterministic(on=False, seed_value=self.config.seed)
        try:
            with tempfile.TemporaryDirectory() as folder:
                result = ants.registration(
                    a,
                    b,
                    type_of_transform=KINDS[transform],
                    initial_transform=self._start(a, b, folder),
                    outprefix=str(Path(folder, "found")),
                )
                # Images are pulled: what warps moving onto fixed maps points fixed → moving.
                return _matrix(ants.read_transform(result["fwdtransforms"][-1]))
        except (RuntimeError, ValueError, IndexError, OSError) as error:
            raise WorkError(f"ants: {(str(error).strip() or 'no transform').splitlines()[-1]}") from None
        finally:
            ants.config.set_ants_deterministic(on=False, seed_value=None)

    def _start(self, a: Any, b: Any, folder: str) -> str | None:
        """The file of a starting transform searched over all rotations, if that is asked for."""
        if not self.config.search:
            return None
        return self._ants.affine_initializer(
            a, b, search_factor=self.config.search, radian_fraction=1, txfn=str(Path(folder, "start.mat"))
        )


def _ants() -> Any:
    try:
        import ants  # pyright: ignore[reportMissingImports] -- an extra
        import ants.config  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            "ants: expected antspyx ≥ 0.6.3, found none: pip install counterpoint[ants]"
        ) from None
    return ants


def _matrix(transform: Any) -> np.ndarray:
    """(3, 3) of a linear ANTs transform between images of unit spacing."""
    origin, x, y = (np.array(transform.apply_to_point(p)) for p in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)))
    return np.array([[*(x - origin), 0.0], [*(y - origin), 0.0], [*origin, 1.0]]).T
