"""Transform: conventions against SimpleITK, group laws, files that are read, kept and refused."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoint.core.errors import InputError
from counterpoint.core.grid import Grid
from counterpoint.registration.transform import Transform

POINTS = np.random.default_rng(0).uniform(-500, 500, (20, 2))


def rotation(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s], [s, c]])


def homogeneous(linear, move=(0.0, 0.0)):
    m = np.eye(3)
    m[:2, :2], m[:2, 2] = linear, move
    return m


MIRROR = np.diag((-1.0, 1.0))
CASES = {
    "rigid": Transform(homogeneous(rotation(32.5), (1 / 3, -7)), "rigid"),
    "rigid mirrored": Transform(homogeneous(rotation(-170) @ MIRROR, (12, 1e5 / 3)), "rigid"),
    "similarity": Transform(homogeneous(0.37 * rotation(110), (5, 6)), "similarity"),
    "similarity mirrored": Transform(homogeneous(2.5 * rotation(10) @ MIRROR, (5, 6)), "similarity"),
    "affine": Transform(homogeneous([[1.1, 0.3], [-0.2, 0.7]], (0.1, 1e-7)), "affine"),
    "affine mirrored": Transform(homogeneous([[0.3, 1.1], [0.7, 0.2]], (-4, 2)), "affine"),
}
ITK_NAMES = {"rigid": "Euler2DTransform", "similarity": "Similarity2DTransform"}
cases = pytest.mark.parametrize("case", CASES)
suffixes = pytest.mark.parametrize("suffix", [".tfm", ".txt", ".h5", ".hdf5"])


@st.composite
def transforms(draw, kind=None):
    kind = kind or draw(st.sampled_from(["rigid", "similarity", "affine"]))
    number = st.floats(-200, 200)
    linear = rotation(draw(st.floats(-180, 180))) @ (MIRROR if draw(st.booleans()) else np.eye(2))
    if kind != "rigid":
        linear = linear * draw(st.floats(0.1, 10))
    if kind == "affine":
        stretch = np.diag((draw(st.floats(0.5, 2)), draw(st.floats(0.5, 2))))
        linear = linear @ stretch @ rotation(draw(st.floats(-180, 180)))
    return Transform(homogeneous(linear, (draw(number), draw(number))), kind)


@st.composite
def grids(draw):
    turn = rotation(draw(st.floats(-180, 180))) @ (MIRROR if draw(st.booleans()) else np.eye(2))
    step, place = st.floats(0.05, 20), st.floats(-1000, 1000)
    return Grid(
        (draw(st.integers(1, 500)), draw(st.integers(1, 500))),
        (draw(step), draw(step)),
        (draw(place), draw(place)),
        ((turn[0, 0], turn[0, 1]), (turn[1, 0], turn[1, 1])),
    )


# --- the map and its laws ------------------------------------------------


def test_maps_points_by_hand():
    quarter = Transform(np.array([[0, -1, 10], [1, 0, 20], [0, 0, 1.0]]), "rigid")
    np.testing.assert_array_equal(quarter.map_points(np.array([(1, 2), (0, 0)])), [(8, 21), (10, 20)])
    assert quarter.angle == pytest.approx(90) and quarter.translation == (10, 20) and not quarter.mirrored
    assert quarter.map_points(np.empty((0, 2))).shape == (0, 2)


def test_composes_right_to_left_and_takes_the_wider_kind():
    move = Transform(homogeneous(np.eye(2), (1, 0)), "rigid")
    double = Transform(homogeneous(2 * np.eye(2)), "similarity")
    np.testing.assert_array_equal((double @ move).map_points(np.array([(0, 0)])), [(2, 0)])
    np.testing.assert_array_equal(move.compose(double).map_points(np.array([(0, 0)])), [(1, 0)])
    assert (double @ move).kind == (move @ double).kind == "similarity"
    assert (CASES["affine"] @ move).kind == "affine"


@given(transforms(), transforms(), transforms())
@settings(max_examples=60, deadline=None)
def test_group_laws(a, b, c):
    one = Transform.identity()
    near = {"rtol": 1e-9, "atol": 1e-7}
    np.testing.assert_allclose(((a @ b) @ c).matrix, (a @ (b @ c)).matrix, **near)
    np.testing.assert_allclose((a @ a.inverse()).matrix, one.matrix, **near)
    np.testing.assert_allclose((a.inverse() @ a).matrix, one.matrix, **near)
    np.testing.assert_allclose((a @ b).inverse().matrix, (b.inverse() @ a.inverse()).matrix, **near)
    np.testing.assert_array_equal((a @ one).matrix, a.matrix)
    np.testing.assert_allclose((a @ b).map_points(POINTS), a.map_points(b.map_points(POINTS)), **near)
    assert a.inverse().kind == a.kind
    assert (a @ b).mirrored == (a.mirrored != b.mirrored)


@given(transforms(), grids(), grids())
@settings(max_examples=60, deadline=None)
def test_pixels_and_from_pixels_undo_each_other(transform, fixed, moving):
    pixels = transform.pixels(fixed, moving)
    back = Transform.from_pixels(pixels, fixed, moving, transform.kind)
    np.testing.assert_allclose(back.matrix, transform.matrix, rtol=1e-8, atol=1e-6)


def test_pixels_as_itk_indexes():
    fixed = Grid((40, 30), (0.5, 2.0), (3, -4), ((0.6, -0.8), (0.8, 0.6)))
    moving = Grid((20, 50), (1.5, 0.25), (-7, 9), ((0.0, 1.0), (1.0, 0.0)))
    images = []
    for grid in (fixed, moving):
        images.append(sitk.Image(list(grid.size), sitk.sitkUInt8))
        images[-1].SetSpacing(grid.spacing)
        images[-1].SetOrigin(grid.origin)
        images[-1].SetDirection(sum(grid.direction, ()))
    transform = CASES["affine"]
    for x, y in [(0, 0), (39, 0), (7, 13)]:
        point = transform.to_itk().TransformPoint(images[0].TransformIndexToPhysicalPoint((x, y)))
        expected = images[1].TransformPhysicalPointToContinuousIndex(point)
        np.testing.assert_allclose((transform.pixels(fixed, moving) @ (x, y, 1))[:2], expected, atol=1e-9)


@pytest.mark.parametrize("degrees", [-179, -90, 0, 12.3, 90, 180])
@pytest.mark.parametrize("mirror", [np.eye(2), MIRROR])
def test_properties_tell_what_it_was_made_of(degrees, mirror):
    t = Transform(homogeneous(3 * rotation(degrees) @ mirror, (1, 2)), "similarity")
    assert t.angle == pytest.approx(degrees)
    assert t.scale == pytest.approx((3, 3))
    assert t.mirrored == (mirror is MIRROR)
    stretched = Transform(homogeneous(rotation(degrees) @ mirror @ np.diag((0.5, 2))), "affine")
    assert stretched.angle == pytest.approx(degrees) and stretched.scale == pytest.approx((2, 0.5))


def test_describes_itself_in_one_sentence():
    assert Transform(homogeneous(rotation(12.3), (3, -4)), "rigid").describe() == (
        "From fixed to moving: turns by 12.30°, moves by (3.00, -4.00)."
    )
    assert Transform(homogeneous(1.5 * rotation(90) @ MIRROR), "similarity").describe((10.0, 0.0), "µm") == (
        "From fixed to moving: mirrors x, turns by 90.00°, scales by 1.5, "
        "moves the point (10, 0) by (-10.00, -15.00) µm."
    )
    assert "by 2 along one axis and 0.5 across it" in Transform(np.diag((2, 0.5, 1)), "affine").describe()


# --- what is not a transform ------------------------------------------------


@pytest.mark.parametrize(
    ("matrix", "kind", "message"),
    [
        (np.eye(2), "rigid", "3×3"),
        ("abc", "rigid", "3×3"),
        (np.diag((1, np.nan, 1)), "affine", "finite"),
        (np.diag((1, 1, 2)), "affine", "last row"),
        (np.diag((1, 0, 1)), "affine", "invertible"),
        (np.zeros((3, 3)) + [[0], [0], [1]] * np.array([0, 0, 1]), "affine", "invertible"),
        (np.diag((1.1, 1.1, 1)), "rigid", "scales of 1"),
        (np.diag((1.1, 1.2, 1)), "similarity", "equal scales"),
        (np.eye(3), "projective", "kind of transform"),
    ],
)
def test_refuses_what_is_not_of_its_kind(matrix, kind, message):
    with pytest.raises(InputError, match=message):
        Transform(matrix, kind)


def test_refuses_a_pixel_rigid_map_between_spacings():
    with pytest.raises(InputError, match="scales of 1"):
        Transform.from_pixels(np.eye(3), Grid((4, 4)), Grid((4, 4), (2.0, 2.0)), "rigid")


def test_puts_a_float32_rotation_exactly_onto_the_rotations():
    rough = homogeneous(rotation(33)).astype(np.float32)
    exact = Transform(rough, "rigid").matrix[:2, :2]
    assert np.abs(rough[:2, :2] @ rough[:2, :2].T - np.eye(2)).max() > 1e-9
    np.testing.assert_allclose(exact @ exact.T, np.eye(2), rtol=0, atol=1e-15)
    np.testing.assert_allclose(exact, rotation(33), atol=1e-7)


def test_keeps_its_own_read_only_matrix():
    given_matrix = np.eye(3)
    t = Transform(given_matrix, "rigid")
    given_matrix[0, 0] = 5
    assert t.matrix[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        t.matrix[0, 0] = 5


def test_refuses_points_of_another_shape():
    with pytest.raises(InputError, match=r"\(N, 2\), found \(3, 3\)"):
        Transform.identity().map_points(np.eye(3))


# --- files ------------------------------------------------


@cases
@suffixes
def test_simpleitk_reads_what_is_saved(case, suffix, tmp_path):
    t = CASES[case]
    t.save(tmp_path / f"t{suffix}")
    read = sitk.ReadTransform(str(tmp_path / f"t{suffix}"))
    assert read.GetName() == ITK_NAMES.get(case, "AffineTransform")
    mapped = [read.TransformPoint(p.tolist()) for p in POINTS]
    np.testing.assert_allclose(mapped, t.map_points(POINTS), rtol=1e-14, atol=1e-9)
    assert [p.name for p in tmp_path.iterdir()] == [f"t{suffix}"]


@cases
@suffixes
def test_slicer_gets_three_dimensions(case, suffix, tmp_path):
    t = CASES[case]
    t.save(tmp_path / f"t{suffix}", dimension=3)
    read = sitk.ReadTransform(str(tmp_path / f"t{suffix}"))
    mapped = [read.TransformPoint((*p.tolist(), 7.5)) for p in POINTS]
    np.testing.assert_allclose(mapped, np.c_[t.map_points(POINTS), np.full(20, 7.5)], rtol=1e-14, atol=1e-9)
    back = Transform.load(tmp_path / f"t{suffix}")
    np.testing.assert_array_equal(back.matrix, t.matrix)
    assert back.kind == t.kind


@cases
@pytest.mark.parametrize("suffix", [".tfm", ".txt", ".h5", ".hdf5", ".json"])
def test_round_trip(case, suffix, tmp_path):
    t = CASES[case]
    t.save(str(tmp_path / f"t{suffix}"))
    back = Transform.load(str(tmp_path / f"t{suffix}"))
    by_angle = case in ITK_NAMES and suffix != ".json"
    np.testing.assert_allclose(back.matrix, t.matrix, rtol=0, atol=2e-16 * by_angle)
    assert back.kind == t.kind


def test_json_says_what_it_means(tmp_path):
    CASES["rigid"].save(tmp_path / "t.json")
    plain = json.loads((tmp_path / "t.json").read_text())
    assert plain.keys() == {"kind", "matrix", "convention"} and "fixed" in plain["convention"]
    Transform(np.eye(3), "affine").save(tmp_path / "t.json")
    assert Transform.load(tmp_path / "t.json").kind == "affine"  # an ITK file would come back as rigid


def foreign():
    euler = sitk.Euler2DTransform((3.0, -40.0), 0.3, (1 / 3, 2.0))
    similar = sitk.Similarity2DTransform(1.7, -2.0, (1.0, 2.0), (30.0, 4.0))
    affine = sitk.AffineTransform((1.0, 0.2, -0.3, 0.8), (1.0, 2.0), (100.0, 50.0))
    scale = sitk.ScaleTransform(2, (2.0, 3.0))
    scale.SetCenter((5.0, 6.0))
    move = sitk.TranslationTransform(2, (0.1, -1e5))
    return {
        "rigid": [euler, move, sitk.Transform(2, sitk.sitkIdentity), sitk.CompositeTransform([euler, move])],
        "similarity": [similar, sitk.CompositeTransform([euler, similar])],
        "affine": [
            affine,
            scale,
            sitk.CompositeTransform([euler, scale, affine]),
            sitk.CompositeTransform([affine]),
        ],
    }


@pytest.mark.parametrize("kind", ["rigid", "similarity", "affine"])
@pytest.mark.parametrize("suffix", [".tfm", ".h5"])
def test_reads_linear_transforms_of_itk_centered_and_composite(kind, suffix, tmp_path):
    for other in foreign()[kind]:
        sitk.WriteTransform(other, str(tmp_path / f"t{suffix}"))
        t = Transform.load(tmp_path / f"t{suffix}")
        expected = [other.TransformPoint(p.tolist()) for p in POINTS]
        np.testing.assert_allclose(t.map_points(POINTS), expected, rtol=1e-14, atol=1e-9)
        assert t.kind == kind


def test_reads_3d_rigid_about_z_and_refuses_other_3d(tmp_path):
    path = tmp_path / "t.tfm"
    spin = sitk.Euler3DTransform((5.0, 6.0, 7.0), 0, 0, 0.4, (1.0, 2.0, 0.0))
    sitk.WriteTransform(spin, str(path))
    expected = [spin.TransformPoint((*p.tolist(), 0.0))[:2] for p in POINTS]
    np.testing.assert_allclose(Transform.load(path).map_points(POINTS), expected, atol=1e-9)
    for tilt, rise in ((0.1, 0.0), (0.0, 3.0)):
        sitk.WriteTransform(sitk.Euler3DTransform((0, 0, 0), tilt, 0, 0, (0, 0, rise)), str(path))
        with pytest.raises(InputError, match="leaves z alone"):
            Transform.load(path)


def itk_text(*lines):
    return "#Insight Transform File V1.0\n#Transform 0\n" + "".join(f"{line}\n" for line in lines)


AFFINE = "Transform: AffineTransform_double_2_2"


def test_reads_the_base_class_that_ants_writes(tmp_path):
    base = "Transform: MatrixOffsetTransformBase_double_2_2"
    (tmp_path / "t.tfm").write_text(itk_text(base, "Parameters: 1 0.5 0 1 5 6", "FixedParameters: 10 20"))
    np.testing.assert_allclose(
        Transform.load(tmp_path / "t.tfm").matrix, [[1, 0.5, -5], [0, 1, 6], [0, 0, 1]]
    )


NOT_TRANSFORMS = {
    "empty.tfm": "",
    "prose.txt": "hello\nworld\n",
    "elastix.txt": '(Transform "EulerTransform")\n(NumberOfParameters 3)\n',
    "header.tfm": "#Insight Transform File V1.0\n",
    "short.tfm": itk_text(AFFINE, "Parameters: 1 0 0 1 5", "FixedParameters: 0 0"),
    "words.tfm": itk_text(AFFINE, "Parameters: a b c d e f", "FixedParameters: 0 0"),
    # ITK reads the next two without complaint: as the identity, and as the first one alone
    "cut.tfm": itk_text(AFFINE, "Parameters: 2 0 0 2 5 6"),
    "two.tfm": itk_text(*[AFFINE, "Parameters: 2 0 0 2 5 6", "FixedParameters: 0 0"] * 2),
    "singular.tfm": itk_text(AFFINE, "Parameters: 0 0 0 0 5 6", "FixedParameters: 0 0"),
    "unknown.tfm": itk_text("Transform: Foo_double_2_2", "Parameters: 1", "FixedParameters: 0"),
    "field.tfm": itk_text("Transform: BSplineTransform_double_2_2", "Parameters: 1", "FixedParameters: 0"),
    "broken.json": "{",
    "list.json": "[1, 2]",
    "foreign.json": '{"type": "FeatureCollection"}',
    "kind.json": '{"kind": "magic", "matrix": [[1,0,0],[0,1,0],[0,0,1]]}',
    "kinds.json": '{"kind": ["rigid"], "matrix": [[1,0,0],[0,1,0],[0,0,1]]}',
    "nan.json": '{"kind": "affine", "matrix": [[NaN,0,0],[0,1,0],[0,0,1]]}',
    "huge.json": '{"kind": "affine", "matrix": [[1' + "0" * 400 + ",0,0],[0,1,0],[0,0,1]]}",
    "ragged.json": '{"kind": "affine", "matrix": [[1,0],[0,1,0],[0,0,1]]}',
    "lie.json": '{"kind": "rigid", "matrix": [[2,0,0],[0,2,0],[0,0,1]]}',
    "deep.json": "[" * 100_000,
    "prose.h5": "hello",
    "matrix.csv": "1,0,0",
}


@pytest.mark.parametrize("name", NOT_TRANSFORMS)
def test_refuses_files_that_are_no_transform(name, tmp_path):
    (tmp_path / name).write_text(NOT_TRANSFORMS[name])
    with pytest.raises(InputError) as caught:
        Transform.load(tmp_path / name)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / name)) and "\n" not in message and len(message) < 600
    assert message.count("found") <= 1


def test_refuses_damaged_binary_missing_and_folders(tmp_path):
    CASES["affine"].save(tmp_path / "t.h5")
    whole = (tmp_path / "t.h5").read_bytes()
    (tmp_path / "t.h5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "noise.tfm").write_bytes(os.urandom(500))
    (tmp_path / "noise.txt").write_bytes(
        itk_text("Transform: \xff", "Parameters: 1", "FixedParameters: 1").encode("latin1")
    )
    (tmp_path / "folder.tfm").mkdir()
    for name in ("t.h5", "noise.tfm", "noise.txt", "folder.tfm", "missing.tfm"):
        with pytest.raises(InputError, match=name):
            Transform.load(tmp_path / name)


@pytest.mark.parametrize("bend", [sitk.BSplineTransform(2, 3), sitk.DisplacementFieldTransform(2)])
def test_refuses_what_is_not_linear(bend, tmp_path):
    if isinstance(bend, sitk.DisplacementFieldTransform):
        bend.SetDisplacementField(sitk.Image([4, 4], sitk.sitkVectorFloat64))
    sitk.WriteTransform(bend, str(tmp_path / "t.tfm"))
    with pytest.raises(InputError, match="expected a linear transform"):
        Transform.load(tmp_path / "t.tfm")


@pytest.mark.parametrize(
    ("name", "dimension"), [("t.mat", 2), ("t", 2), ("t.json", 3), ("t.tfm", 4), ("no/t.tfm", 2)]
)
def test_refuses_to_save_elsewhere_and_leaves_nothing(name, dimension, tmp_path):
    with pytest.raises(InputError, match="expected"):
        CASES["rigid"].save(tmp_path / name, dimension)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_keeps_the_old_file(tmp_path, monkeypatch):
    CASES["rigid"].save(tmp_path / "t.tfm")
    before = (tmp_path / "t.tfm").read_bytes()

    def fail(transform, name):
        raise RuntimeError("no space left")

    monkeypatch.setattr(sitk, "WriteTransform", fail)
    with pytest.raises(InputError, match="no space left"):
        CASES["affine"].save(tmp_path / "t.tfm")
    assert (tmp_path / "t.tfm").read_bytes() == before and len(list(tmp_path.iterdir())) == 1
