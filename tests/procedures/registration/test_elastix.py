from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from counterpoint.core.errors import InputError
from counterpoint.procedures.registration.elastix import Elastix

installed = importlib.util.find_spec("itk") is not None
needed = pytest.mark.skipif(not installed, reason="the extra itk-elastix is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:builtin type .*:DeprecationWarning")  # SWIG, while itk loads


@needed
@pytest.mark.parametrize("transform", ["rigid", "similarity", "affine"])
def test_it_finds_a_known_transform(known, transform):
    fixed, moving, error = known(4, 2, -3)
    found = Elastix.Config().build()(fixed, moving, transform)
    assert found.shape == (3, 3) and found.dtype == np.float64
    assert error(np.eye(3)) > 5 and error(np.linalg.inv(found)) > 5
    assert error(found) < 1


@needed
def test_an_unknown_transform_is_refused(known):
    with pytest.raises(InputError, match="transform"):
        Elastix.Config().build()(*known(0, 0, 0)[:2], "projective")  # pyright: ignore[reportArgumentType]


@pytest.mark.skipif(installed, reason="the extra itk-elastix is installed")
def test_without_its_extra_it_says_what_to_install():
    with pytest.raises(InputError, match=r"pip install counterpoint\[elastix\]"):
        Elastix.Config().build()
