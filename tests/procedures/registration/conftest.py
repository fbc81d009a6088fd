"""An easy pair with a known answer, for all rivals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from skimage import data

from counterpoint.metrics.registration import corner_error
from counterpoint.registration.protocol import Draw, make_pair

Known = tuple[np.ndarray, np.ndarray, Callable[[np.ndarray], float]]


@pytest.fixture(scope="session")
def known() -> Callable[..., Known]:
    """(angle, tx, ty, inverted) → fixed RGB (160, 160, 3), moving (160, 160), error of a matrix in px."""

    def make(angle: float, tx: float, ty: float, inverted: bool = False) -> Known:
        astronaut = data.astronaut()[::2, ::2]
        blue = astronaut[..., 2].astype(np.float32)
        moving = 255 - blue if inverted else blue
        fixed, moving, true = make_pair(astronaut, moving, Draw(angle, tx, ty), patch=(160, 160))
        return fixed, moving, lambda m: corner_error(m, true, 160, 160)

    return make
