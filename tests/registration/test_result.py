"""Registration: its parts agree with each other, and with SimpleITK."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from counterpoint.core.errors import InputError
from counterpoint.core.grid import Grid
from counterpoint.data.image import Image
from counterpoint.registration.measure import mutual_information
from counterpoint.registration.prepare import prepare
from counterpoint.registration.quality import Quality
from counterpoint.registration.result import Registration
from counterpoint.registration.transform import Transform

FIXED = Grid((60, 50), (0.5, 0.5), (20, -3), ((0.0, 1.0), (1.0, 0.0)))
MOVING = Grid((40, 44), (0.8, 0.6), (-7, 5), ((0.6, -0.8), (0.8, 0.6)))
POINTS = np.array([(20.0, -3.0), (31.5, 7.25), (44.0, 20.0)])


def transform(degrees=30.0, scale=1.1):
    """Takes the middle of FIXED to about that of MOVING."""
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    m = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    ends = [g.matrix @ (g.size[0] / 2, g.size[1] / 2, 1) for g in (FIXED, MOVING)]
    m[:2, 2] = np.add(ends[1][:2], (0.4, -0.3)) - m[:2, :2] @ ends[0][:2]
    return Transform(m, "similarity")


@pytest.fixture(scope="module")
def found():
    rng = np.random.default_rng(0)
    fixed, moving = rng.random((50, 60)).astype(np.float32), (rng.random((44, 40)) * 200).astype(np.uint8)
    fixed, moving = Image(fixed, FIXED, True, "mm"), Image(moving, MOVING, True, "mm")
    quality = Quality(0.9, "mutual information", 0.5, 0.4, 8.0, 0.6, 2.0, 2.0 / 60)
    measure = mutual_information(prepare(fixed, None, "fixed"), prepare(moving, None, "moving"))
    return Registration(transform(), quality, fixed, moving, measure, 1.5)


def test_points_are_mapped_alike_in_space_and_in_pixels(found):
    there = found.map_points(POINTS)
    assert np.allclose(there, POINTS @ transform().matrix[:2, :2].T + transform().matrix[:2, 2])
    into, out = np.linalg.inv(FIXED.matrix), np.linalg.inv(MOVING.matrix)
    pixels = POINTS @ into[:2, :2].T + into[:2, 2]
    expected = there @ out[:2, :2].T + out[:2, 2]
    assert np.allclose(found.map_points(pixels, pixels=True), expected)
    assert np.allclose(np.c_[pixels, np.ones(3)] @ found.matrix.T, np.c_[expected, np.ones(3)])


def test_the_inverse_leads_back_and_exchanges_everything(found):
    back = found.inverse()
    assert np.allclose(back.map_points(found.map_points(POINTS)), POINTS)
    assert np.allclose(back.matrix @ found.matrix, np.eye(3))
    assert back.fixed is found.moving and back.moving is found.fixed
    assert back.measure.fixed is found.measure.moving and back.measure.moving is found.measure.fixed
    assert back.measure.rough == found.measure.rough[::-1]
    assert (back.quality.trust, back.quality.measure) == (0.9, "mutual information")
    # 2 fixed pixels of 0.5 · 1.1, in moving pixels of √(0.8 · 0.6)
    assert back.quality.agreement == pytest.approx(2 * 0.55 / np.sqrt(0.48))
    assert back.quality.share == pytest.approx(back.quality.agreement / 40)
    y, x = np.mgrid[:440, :400] / 10 - 0.45
    seen = np.abs(back.map_points(np.c_[x.ravel(), y.ravel()], pixels=True) - (29.5, 24.5)) <= (30, 25)
    assert back.quality.overlap == pytest.approx(seen.all(1).mean(), abs=5e-3)
    again = back.inverse()
    assert np.allclose(again.transform.matrix, found.transform.matrix)
    assert again.quality.share == pytest.approx(found.quality.share)


def test_composed_registrations_lead_through_the_image_between(found):
    first = Registration(transform(-70, 0.9), found.quality, found.moving, found.fixed, found.measure, 1.0)
    assert np.allclose(found.compose(first).map_points(POINTS), found.map_points(first.map_points(POINTS)))


@pytest.mark.parametrize("dimension", [2, 3])
def test_itk_reads_the_same_map_from_the_file(found, tmp_path, dimension):
    found.save(tmp_path / "t.tfm", dimension)
    read = sitk.ReadTransform(str(tmp_path / "t.tfm"))
    for point, expected in zip(POINTS.tolist(), found.map_points(POINTS), strict=True):
        assert np.allclose(read.TransformPoint((*point, 1.5)[:dimension])[:2], expected)
    assert np.allclose(Transform.load(tmp_path / "t.tfm").matrix, transform().matrix)


def test_itk_warps_alike_by_the_file(found, tmp_path):
    found.save(str(tmp_path / "t.tfm"))
    image = sitk.GetImageFromArray(found.moving.array.astype(float))
    image.SetSpacing(MOVING.spacing)
    image.SetOrigin(MOVING.origin)
    image.SetDirection(sum(MOVING.direction, ()))
    read = sitk.ReadTransform(str(tmp_path / "t.tfm"))
    arguments = FIXED.size, read, sitk.sitkLinear, FIXED.origin, FIXED.spacing, sum(FIXED.direction, ()), -9.0
    expected = sitk.GetArrayFromImage(sitk.Resample(image, *arguments))
    floats = Image(found.moving.array.astype(float), MOVING)
    got = found.warp(floats, outside=-9).array
    assert 0.1 < (expected == -9).mean() < 0.7
    assert np.allclose(got, expected, atol=1e-6)


def test_warp_takes_the_moving_image_or_whatever_lies_on_it(found):
    warped = found.warp()
    assert warped.grid == FIXED and warped.array.dtype == np.uint8 and warped.unit == "mm"
    assert np.array_equal(found.warp(found.moving.array).array, warped.array)
    labels = found.warp(found.moving.array // 60 * 60, labels=True, outside=7).array
    assert set(np.unique(labels)) == {0, 60, 120, 180, 7}
    assert not np.array_equal(found.warp(order="cubic").array, warped.array)
    inside = (labels != 7).nonzero()
    row, column = inside[0][100], inside[1][100]
    x, y = np.rint(found.map_points(np.array([(column, row)], float), pixels=True)[0]).astype(int)
    assert labels[row, column] == found.moving.array[y, x] // 60 * 60
    with pytest.raises(InputError, match="expected 44×40 pixels as its grid has"):
        found.warp(np.zeros((44, 41)))


def test_it_can_be_written_as_a_page_and_refuses_foreign_names(found, tmp_path):
    found.report(str(tmp_path / "page.html"))
    assert (tmp_path / "page.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    with pytest.raises(InputError, match="expected a file name ending in"):
        found.save(tmp_path / "t.png")
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]
