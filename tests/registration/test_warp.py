"""warp, inside, overlap: against SimpleITK, against slow references, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from counterpoint.core.errors import InputError
from counterpoint.core.grid import Grid
from counterpoint.data.image import Image
from counterpoint.registration import warp as room
from counterpoint.registration.transform import Transform
from counterpoint.registration.warp import inside, overlap, warp

FIXED = Grid((61, 47), (0.5, 0.7), (3, -4), ((0.6, -0.8), (0.8, 0.6)))
MOVING = Grid((70, 80), (0.4, 0.6), (-20, 9), ((0.0, 1.0), (1.0, 0.0)))


def smooth(shape, seed=0):
    """Random, in [0, 1], smooth over about 2 pixels."""
    a = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5)
    return (a - a.min()) / (a.max() - a.min())


def turned(degrees, move=(0.0, 0.0), scale=1.0, about=(0.0, 0.0)):
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    linear = np.array([[c, -s], [s, c]])
    m = np.eye(3)
    m[:2, :2], m[:2, 2] = linear, np.array(about) - linear @ about + move
    return Transform(m, "similarity")


def centered():
    """A mirrored affine map that takes the middle of FIXED to the middle of MOVING."""
    middle = [(g.matrix @ (g.size[0] / 2, g.size[1] / 2, 1))[:2] for g in (FIXED, MOVING)]
    linear = np.array([[0.2, 0.7], [0.8, -0.1]])
    m = np.eye(3)
    m[:2, :2], m[:2, 2] = linear, middle[1] - linear @ middle[0] + (6.031, 9.017)
    return Transform(m, "affine")


def by_itk(array, moving, transform, onto, how):
    image = sitk.GetImageFromArray(np.asarray(array, float))
    image.SetSpacing(moving.spacing)
    image.SetOrigin(moving.origin)
    image.SetDirection(sum(moving.direction, ()))
    args = onto.size, transform.to_itk(), how, onto.origin, onto.spacing, sum(onto.direction, ()), np.nan
    return sitk.GetArrayFromImage(sitk.Resample(image, *args))


HOW = {"linear": sitk.sitkLinear, "cubic": sitk.sitkBSpline3, "nearest": sitk.sitkNearestNeighbor}


@pytest.fixture(params=[512, 16], ids=["whole", "blocks of 16"])
def side(request, monkeypatch):
    """Once in one block, once in many: the joints must not show."""
    monkeypatch.setattr(room, "_SIDES", (request.param,))


@pytest.mark.parametrize("order", ["linear", "cubic"])
def test_floats_agree_with_simpleitk_up_to_the_border(order, side):
    array = smooth((80, 70))
    expected = by_itk(array, MOVING, centered(), FIXED, HOW[order])
    found = warp(Image(array, MOVING), centered(), FIXED, order=order, outside=np.nan).array
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_array_equal(~np.isnan(found), inside(centered(), FIXED, MOVING))
    assert 0.2 < np.isnan(found).mean() < 0.8
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("order", ["linear", "cubic"])
@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", ">u2", "int16", "int32", "uint32", "int64", "uint64"]
)
def test_integers_are_rounded_and_clipped(order, dtype):
    limits = np.iinfo(dtype)
    array = np.where(smooth((80, 70)) > 0.5, min(limits.max, 2**52), max(limits.min, -(2**52))).astype(dtype)
    expected = by_itk(array, MOVING, centered(), FIXED, HOW[order])
    found = warp(Image(array, MOVING), centered(), FIXED, order=order, outside=7).array
    assert found.dtype == np.dtype(dtype)
    seen = ~np.isnan(expected)
    assert (found[~seen] == 7).all()
    clipped = (
        np.clip(np.rint(expected[seen]), float(array.min()), float(array.max())) if limits.bits < 64 else None
    )
    if clipped is not None:
        assert np.abs(found[seen] - clipped).max() <= 1  # halves may round either way
        assert np.mean(found[seen] != clipped) < 0.02
    else:
        np.testing.assert_allclose(found[seen], np.clip(expected[seen], limits.min, None), atol=2.0**10)


def test_the_largest_64_bit_integers_do_not_wrap():
    for dtype in ("int64", "uint64"):
        array = np.full((9, 9), np.iinfo(dtype).max)
        found = warp(Image(array, Grid((9, 9))), turned(10, about=(4, 4)), Grid((9, 9))).array[2:7, 2:7]
        assert (found > np.iinfo(dtype).max * 0.999).all()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_keep_their_type(dtype):
    array = smooth((80, 70)).astype(dtype)
    found = warp(Image(array, MOVING), centered(), FIXED).array
    assert found.dtype == dtype
    expected = np.nan_to_num(by_itk(array, MOVING, centered(), FIXED, HOW["linear"]))
    np.testing.assert_allclose(found, expected, atol=1e-3 if dtype == "float16" else 1e-6)


def test_labels_agree_with_simpleitk_and_none_is_invented(side):
    labels = np.random.default_rng(0).choice(np.array([0, 3, 2**53 + 1]), (80, 70))
    found = warp(Image(labels, MOVING), centered(), FIXED, labels=True, outside=-1).array
    assert set(np.unique(found)) == {-1, 0, 3, 2**53 + 1}
    expected = by_itk(labels % 5, MOVING, centered(), FIXED, HOW["nearest"])
    np.testing.assert_array_equal(np.where(found < 0, np.nan, found % 5), expected)


def test_bool_stays_bool():
    mask = smooth((80, 70)) > 0.5
    found = warp(Image(mask, MOVING), centered(), FIXED, outside=True).array
    expected = by_itk(mask, MOVING, centered(), FIXED, HOW["nearest"])
    assert found.dtype == bool
    np.testing.assert_array_equal(found, np.where(np.isnan(expected), True, expected == 1))


@pytest.mark.parametrize("labels", [False, True])
def test_channels_are_warped_alike_and_names_and_unit_kept(labels, side):
    array = np.random.default_rng(0).integers(0, 256, (80, 70, 3), dtype=np.uint8)
    moving = Image(array, MOVING, True, "µm", ("a", "b", "c"))
    found = warp(moving, centered(), FIXED, labels=labels)
    assert (found.grid, found.calibrated, found.unit, found.channels) == (FIXED, True, "µm", ("a", "b", "c"))
    for c in range(3):
        alone = warp(Image(array[..., c], MOVING), centered(), FIXED, labels=labels).array
        np.testing.assert_array_equal(found.array[..., c], alone)


@pytest.mark.parametrize("order", ["linear", "cubic"])
def test_the_identity_changes_nothing(order):
    for array in (
        smooth((9, 7)),
        np.arange(63, dtype=np.uint8).reshape(9, 7),
        np.ones((1, 1)),
        smooth((1, 5)),
    ):
        grid = Grid((array.shape[1], array.shape[0]), (0.3, 0.7), (5.5, -1e4))
        found = warp(Image(array, grid), Transform.identity(), grid, order=order, outside=99).array
        np.testing.assert_allclose(found, array, atol=1e-9)


def test_half_a_pixel_by_hand():
    array = np.array([[0.0, 2.0, 4.0, 8.0]])
    shift = np.eye(3)
    shift[0, 2] = 0.5
    found = warp(
        Image(array, Grid((4, 1))), Transform(shift, "rigid"), Grid((6, 1), origin=(-1.0, 0.0)), outside=9
    )
    np.testing.assert_array_equal(found.array, [[0, 1, 3, 6, 8, 9]])  # −½ and 3½ are the image's edges


def test_nowhere_in_sight():
    far = turned(0, (1e6, 0))
    image = Image(np.ones((5, 5, 2), np.uint8), Grid((5, 5)))
    assert (warp(image, far, Grid((40, 30)), outside=3).array == np.full((30, 40, 2), 3)).all()
    assert not inside(far, Grid((40, 30)), image.grid).any()
    assert overlap(far, Grid((40, 30)), image.grid) == 0


# --- NaN --------------------------------------------------------------------


@pytest.mark.parametrize("order", ["linear", "cubic"])
def test_nan_holes_neither_grow_nor_spread(order, side):
    clean = smooth((40, 50))
    array = clean.copy()
    array[10:14, 20:25] = np.nan
    array[30, 30] = np.inf
    grid = Grid((50, 40))
    same = warp(Image(array, grid), Transform.identity(), grid, order=order).array
    np.testing.assert_array_equal(np.isnan(same), ~np.isfinite(array))
    np.testing.assert_allclose(same[np.isfinite(array)], array[np.isfinite(array)], atol=1e-9)
    shifted = turned(0, (0.25, 0))
    found = warp(Image(array, grid), shifted, grid, order=order).array
    assert np.isnan(found).sum() == 21
    away = ~ndimage.binary_dilation(~np.isfinite(array), iterations=14)
    expected = warp(Image(clean, grid), shifted, grid, order=order).array
    np.testing.assert_allclose(found[away], expected[away], atol=1e-6)


def test_all_nan_and_nan_when_shrinking():
    grid, coarse = Grid((64, 64)), Grid((16, 16), (4.0, 4.0), (1.5, 1.5))
    array = np.full((64, 64), np.nan, np.float32)
    assert np.isnan(warp(Image(array, grid), Transform.identity(), coarse).array).all()
    array[:, 32:] = 5
    found = warp(Image(array, grid), Transform.identity(), coarse).array
    assert np.isnan(found[:, :8]).all() and (np.abs(found[:, 8:] - 5) < 1e-5).all()


# --- shrinking --------------------------------------------------------------


def waves(period, size=256):
    return (0.5 + 0.5 * np.sin(2 * np.pi * np.arange(size) / period)) * np.ones((size, 1))


def test_shrinking_does_not_alias_but_labels_are_left_alone():
    coarse = Grid((64, 64), (4.0, 4.0), (1.5, 1.5))
    image = Image(waves(3.7), Grid((256, 256)))  # plain interpolation shows this as waves of 12 pixels
    plain = by_itk(image.array, image.grid, Transform.identity(), coarse, HOW["linear"])
    found = warp(image, Transform.identity(), coarse).array
    assert plain[8:-8, 8:-8].std() > 0.2
    assert found[8:-8, 8:-8].std() < 0.02 and found.mean() == pytest.approx(0.5, abs=0.01)
    steps = Image((waves(40) > 0.5).astype(np.uint8) * 9, Grid((256, 256)))
    assert set(np.unique(warp(steps, Transform.identity(), coarse, labels=True).array)) == {0, 9}


@pytest.mark.parametrize("order", ["linear", "cubic"])
def test_shrinking_is_a_gaussian_then_interpolation_also_when_turned(order, side):
    image = Image(smooth((200, 240)), Grid((240, 200)))
    turn, onto = turned(30, about=(120, 100)), Grid((40, 40), (3.0, 3.0), (60, 45))
    sigma = 0.5 * np.sqrt(3.0**2 - 1)
    blurred = ndimage.gaussian_filter(image.array, sigma, mode="nearest")
    expected = by_itk(blurred, image.grid, turn, onto, HOW[order])
    np.testing.assert_allclose(
        warp(image, turn, onto, order=order, outside=np.nan).array, expected, atol=1e-6
    )


@pytest.mark.parametrize("order", ["linear", "cubic"])
@pytest.mark.parametrize(
    ("step", "texture", "tolerance"), [(8, 0, 0.2), (21.3, 0, 0.2), (8, 3, 0.03), (21.3, 6, 0.03)]
)
def test_shrinking_far_takes_averages_for_part_of_the_gaussian(order, step, texture, tolerance, side):
    """White noise, the worst case, is 15 % of its small remainder off; texture of a few pixels 3 %."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).random((700, 801)), texture)
    image = Image(noise, Grid((801, 700)))
    turn, onto = turned(15, about=(400, 350)), Grid((25, 20), (step, step), (150, 130))
    blurred = ndimage.gaussian_filter(image.array, 0.5 * np.sqrt(step**2 - 1), mode="nearest")
    expected = by_itk(blurred, image.grid, turn, onto, HOW[order])
    found = warp(image, turn, onto, order=order, outside=np.nan).array
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    assert np.nanstd(found - expected) < tolerance * np.nanstd(expected)


def test_joints_of_blocks_do_not_show_when_shrinking_far(monkeypatch):
    image = Image(np.random.default_rng(0).random((700, 801)), Grid((801, 700)))
    turn, onto = turned(15, about=(400, 350)), Grid((40, 38), (18, 18), (30, 20))
    whole = warp(image, turn, onto, order="cubic").array
    monkeypatch.setattr(room, "_SIDES", (4,))
    np.testing.assert_allclose(warp(image, turn, onto, order="cubic").array, whole, atol=1e-6)


def test_pool_by_hand():
    pooled, matrix = room._pool(np.arange(10, dtype=np.uint8).reshape(2, 5), np.array((2, 1)), np.float32)
    np.testing.assert_array_equal(pooled, [[0.5, 2.5, 4], [5.5, 7.5, 9]])
    np.testing.assert_allclose(matrix @ (2.5, 1, 1), (1, 1, 1))


def test_only_the_axis_that_shrinks_is_blurred():
    onto = Grid((60, 200), (4.0, 1.0))
    along_y = Image(waves(3.7, 240)[:200].T[:200, :200].copy(), Grid((200, 200)))
    found = warp(along_y, Transform.identity(), Grid((50, 200), (4.0, 1.0))).array
    np.testing.assert_allclose(found, along_y.array[:, ::4], atol=1e-9)
    along_x = Image(waves(3.7, 240)[:200], Grid((240, 200)))
    assert warp(along_x, Transform.identity(), onto).array[:, 4:-4].std() < 0.02


def test_up_to_one_and_a_half_is_plain_interpolation():
    image, onto = Image(smooth((60, 60)), Grid((60, 60))), Grid((40, 40), (1.49, 1.49))
    expected = by_itk(image.array, image.grid, Transform.identity(), onto, HOW["linear"])
    np.testing.assert_allclose(warp(image, Transform.identity(), onto).array, expected, atol=1e-6)


# --- memory -----------------------------------------------------------------


def test_reads_only_what_it_needs_of_a_memory_mapped_image(tmp_path):
    """A window of 64² out of 4096² reads no more than its surroundings, at any angle."""
    read = []

    class Spy(np.memmap):
        def __getitem__(self, key):
            part = super().__getitem__(key)
            read.append(part.size)
            return part

    array = Spy(tmp_path / "a.raw", np.uint16, "w+", shape=(4096, 4096))
    array[2000:2200, 2000:2200] = 40000
    read.clear()
    onto = Grid((64, 64), origin=(2060, 2060))
    found = warp(Image(array, Grid((4096, 4096))), turned(45, about=(2100, 2100)), onto).array
    assert (found == 40000).all()
    assert 64 * 64 < sum(read) < 110 * 110


@pytest.mark.parametrize("scale", [1, 3, 20, 90])
@pytest.mark.parametrize("degrees", [0, 45])
@pytest.mark.parametrize("order", ["linear", "cubic"])
def test_blocks_cover_the_image_and_draw_on_a_bounded_part(scale, degrees, order):
    size = (900, 700)
    sampler = room._Sampler(
        np.broadcast_to(np.uint8(0), (10**6, 10**6)),
        turned(degrees, scale=scale).pixels(Grid(size), Grid((10**6, 10**6))),
        order,
    )
    covered = np.zeros(size[::-1], int)
    for block in sampler.blocks(*size):
        covered[block] += 1
        h, w = (s.stop - s.start for s in block)
        extent = np.abs(sampler.matrix[:2, :2]) @ (w, h) + 2 * sampler.margin
        assert np.prod(extent) <= room._DRAWN
    assert (covered == 1).all()


# --- inside, overlap ----------------------------------------------------------


def test_overlap_by_hand():
    ten = Grid((10, 10))
    assert overlap(Transform.identity(), ten, ten) == 1
    assert overlap(turned(0, (5, 0)), ten, ten) == pytest.approx(0.5)
    assert overlap(turned(0, (5, -5)), ten, ten) == pytest.approx(0.25)
    assert overlap(turned(0, (10, 0)), ten, ten) == 0
    about = (4.5, 4.5)
    assert overlap(turned(45, about=about), ten, ten) == pytest.approx(2 * np.sqrt(2) - 2)  # an octagon
    assert overlap(turned(0, scale=2, about=about), ten, ten) == pytest.approx(0.25)
    assert overlap(turned(0, scale=0.5, about=about), ten, ten) == pytest.approx(1)
    mirror = Transform(np.array([[-1, 0, 9], [0, 1, 2], [0, 0, 1.0]]), "rigid")
    assert overlap(mirror, ten, ten) == pytest.approx(0.8)


def test_overlap_and_inside_agree_where_pixels_are_many():
    rng = np.random.default_rng(1)
    fixed, moving = Grid((300, 200), (2.0, 2.0)), Grid((500, 400), (1.0, 1.5), (30, 40))
    shares = []
    for _ in range(30):
        t = turned(rng.uniform(-180, 180), rng.uniform(-300, 300, 2), rng.uniform(0.3, 2), (300, 200))
        shares.append(overlap(t, fixed, moving))
        assert inside(t, fixed, moving).mean() == pytest.approx(shares[-1], abs=0.003)
    assert len(set(np.round(shares, 2))) > 15


def test_inside_in_strips_is_inside(monkeypatch):
    fixed = Grid((1500, 1000))
    t = turned(20, (100, 50), 1.3)
    points = (
        t.pixels(fixed, fixed)[:2]
        @ np.c_[np.tile(np.arange(1500), 1000), np.repeat(np.arange(1000), 1500), np.ones(1500000)].T
    )
    slow = ((points >= -0.5) & (points <= [[1499.5], [999.5]])).all(0).reshape(1000, 1500)
    np.testing.assert_array_equal(inside(t, fixed, fixed), slow)


# --- refusals -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "settings", "message"),
    [
        (np.zeros((4, 4), np.uint8), {"outside": np.nan}, "outside"),
        (np.zeros((4, 4), np.uint8), {"outside": 256}, "uint8 can hold, found 256"),
        (np.zeros((4, 4), np.uint8), {"outside": -1}, "outside"),
        (np.zeros((4, 4), np.int16), {"outside": 0.5}, "outside"),
        (np.zeros((4, 4), np.float16), {"outside": 1e9}, "outside"),
        (np.zeros((4, 4)), {"order": "quintic"}, "order of interpolation"),
        (np.zeros((4, 5)), {}, "4×4 pixels as its grid has"),
        (np.zeros(4), {}, "4×4 pixels"),
        (np.zeros((4, 4), complex), {}, "complex128"),
        (np.zeros((4, 4, 0)), {}, "4×4 pixels"),
    ],
)
def test_refuses(array, settings, message):
    with pytest.raises(InputError, match=message):
        warp(Image(array, Grid((4, 4))), Transform.identity(), Grid((4, 4)), **settings)
