from __future__ import annotations

import numpy as np
import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.metrics.layout import mds, pca


def apart(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points[:, None] - points[None], axis=-1)


def test_points_of_a_plane_keep_their_distances():
    plane = torch.randn(15, 2, generator=torch.Generator().manual_seed(0))
    turned = plane @ torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1)))[0][:2]
    points, stress = mds(turned)
    assert stress < 0.02
    np.testing.assert_allclose(apart(points), apart(plane.numpy()), atol=0.1)
    points, share = pca(turned)
    assert share == pytest.approx(1.0)
    np.testing.assert_allclose(apart(points), apart(plane.numpy()), atol=1e-5)


def test_the_stress_is_kruskals_and_says_when_a_plane_is_too_little():
    rows = torch.eye(8)
    points, stress = mds(rows)
    near, far = apart(points), apart(rows.numpy())
    assert stress == pytest.approx(np.sqrt(((far - near) ** 2).sum() / (near**2).sum())) and stress > 0.1


def test_the_layout_follows_from_the_seed():
    rows = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(mds(rows, seed=3)[0], mds(rows, seed=3)[0])
    assert not np.array_equal(mds(rows, seed=3)[0], mds(rows, seed=4)[0])


def test_all_in_one_place_stays_there():
    points, stress = mds(torch.ones(5, 3))
    assert not points.any() and stress == 0
    assert pca(torch.ones(5, 3))[1] == 1.0


def test_a_mirrored_basis_gives_the_same_principal_directions():
    rows = torch.randn(9, 4, generator=torch.Generator().manual_seed(2)).double()
    again = torch.cat((rows, torch.zeros(9, 1).double()), 1)
    np.testing.assert_allclose(pca(rows)[0], pca(again)[0], atol=1e-10)


@pytest.mark.parametrize("layout", [mds, pca])
def test_what_cannot_be_laid_out_is_refused(layout):
    with pytest.raises(InputError, match="N of at least 3"):
        layout(torch.zeros(2, 4))
    with pytest.raises(InputError, match="finite"):
        layout(torch.full((4, 2), torch.nan))
