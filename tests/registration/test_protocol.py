from __future__ import annotations

import numpy as np
import pytest

from counterpoint.core.errors import InputError
from counterpoint.registration.protocol import (
    Draw,
    Drawn,
    Landmarks,
    Trial,
    draw,
    drawn_trials,
    make_pair,
    pose,
)


def blob(x: float, y: float, width: int = 90, height: int = 70) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 3.0**2))


def center_of_mass(image: np.ndarray) -> np.ndarray:
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(image * columns).sum(), (image * rows).sum()]) / image.sum()


@pytest.mark.parametrize("level", [1, 2, 3, 4])
@pytest.mark.parametrize(("width", "step"), [(300, 7), (834, 20), (256, 6)])
def test_a_draw_lies_in_the_range_of_its_level_with_every_sign(level, width, step):
    draws = [draw(level, width, 0, "pair", i) for i in range(60)]
    for values, unit in (("angle", 5), ("tx", step), ("ty", step)):
        found = np.array([getattr(d, values) for d in draws])
        assert (np.abs(found) >= unit * (level - 1)).all() and (np.abs(found) < unit * level).all()
        assert 10 < (found > 0).sum() < 50
        assert np.ptp(np.abs(found)) > 0.8 * unit


def test_full_takes_every_angle_and_the_shifts_of_all_levels():
    draws = [draw("full", 300, 1, i) for i in range(300)]
    angles, shifts = np.array([d.angle for d in draws]), np.array([(d.tx, d.ty) for d in draws])
    assert angles.min() < -170 and angles.max() > 170 and np.abs(angles).min() < 5
    assert 26 < np.abs(shifts).max() < 28


def test_a_draw_depends_on_everything_it_is_given_and_on_nothing_else():
    assert draw(2, 300, 0, "a", 1) == draw(2, 300, 0, "a", 1)
    others = [
        draw(2, 300, 1, "a", 1),
        draw(2, 300, 0, "b", 1),
        draw(2, 300, 0, "a", 2),
        draw("full", 300, 0, "a", 1),
    ]
    assert len({draw(2, 300, 0, "a", 1), *others}) == 5
    with pytest.raises(InputError, match="level"):
        draw(5, 300, 0)  # pyright: ignore[reportArgumentType]


def test_the_truth_sends_a_point_to_where_it_is_seen_in_the_warped_image():
    point = np.array([60.0, 28.0])
    _, warped, true = make_pair(blob(*point), blob(*point), Draw(25, 6.5, -4.25), "constant")
    assert center_of_mass(warped) == pytest.approx((true @ [*point, 1])[:2], abs=0.02)


def test_warping_is_the_published_formula_pixel_by_pixel():
    image = np.random.default_rng(0).random((12, 16))
    a, t, c = np.deg2rad(30), np.array([1.5, -0.75]), np.array([16 / 2 - 0.5, 12 / 2 - 0.5])
    rotation = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    _, warped, true = make_pair(image, image, Draw(30, 1.5, -0.75), "constant")
    for y in ((8, 6), (5, 4), (9, 7)):
        x = rotation @ (np.array(y) + t - c) + c
        (i, j), (u, v) = np.floor(x).astype(int), x - np.floor(x)
        corner = image[j : j + 2, i : i + 2]
        expected = np.array([1 - v, v]) @ corner @ np.array([1 - u, u])
        assert warped[y[1], y[0]] == pytest.approx(expected)
        assert true @ [*x, 1] == pytest.approx([*y, 1])


def test_a_shift_alone_moves_content_against_it():
    image = np.zeros((9, 9))
    image[4, 6] = 1
    _, warped, true = make_pair(image, image, Draw(0, 2, 1))
    assert warped[3, 4] == pytest.approx(1)
    assert true[:2, 2] == pytest.approx([-2, -1])


def test_channels_type_and_border_are_kept():
    image = np.full((20, 30, 3), 201, np.uint8)
    fixed, reflected, _ = make_pair(image, image, Draw(20, 5, 5))
    assert fixed is image and reflected.dtype == np.uint8 and (reflected == 201).all()
    assert reflected.shape == image.shape
    _, zero, _ = make_pair(image, image, Draw(20, 5, 5), "constant")
    assert (zero == 0).any() and (zero == 201).any()


@pytest.mark.parametrize("patch", [(40, 40), (41, 30)])
def test_a_patch_has_its_own_truth(patch):
    point = np.array([47.0, 33.0])
    fixed, warped, true = make_pair(blob(*point), blob(*point), Draw(15, 3, 2), patch=patch)
    assert fixed.shape == warped.shape == patch[::-1]
    seen = center_of_mass(fixed)
    assert center_of_mass(warped) == pytest.approx((true @ [*seen, 1])[:2], abs=0.1)


def test_pairs_that_do_not_fit_are_refused():
    image = np.zeros((10, 10))
    with pytest.raises(InputError, match="one size"):
        make_pair(image, np.zeros((10, 11)), Draw(0, 0, 0))
    with pytest.raises(InputError, match="patch"):
        make_pair(image, image, Draw(0, 0, 0), patch=(11, 5))


def test_a_drawn_trial_asks_for_its_own_warp():
    trial = Trial("a", lambda: (blob(40, 30), blob(40, 30)), Drawn(3, seed=5))
    fixed, moving, drawn, off = pose(trial)
    assert drawn is not None and drawn == draw(3, 90, 5, "a", 0)
    again, warped, true = make_pair(blob(40, 30), blob(40, 30), drawn)
    assert (moving == warped).all() and (fixed == again).all()
    assert off(true) == pytest.approx(0, abs=1e-9)
    # MultiRegEval's initial displacement: mean ‖X_i − P_i‖, the corners with w and h, not w − 1.
    corners = np.array([(0, 0, 1), (90, 0, 1), (90, 70, 1), (0, 70, 1)], float)
    moved = corners @ np.linalg.inv(true).T
    assert off(np.eye(3)) == pytest.approx(np.linalg.norm(moved - corners, axis=1).mean())


def shift(x: float, y: float) -> np.ndarray:
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


DOUBLE = np.diag([2.0, 2.0, 1.0])
"""Moving pixels are half as wide as fixed ones."""


def test_a_real_pair_is_given_as_it_is_and_its_error_is_in_fixed_pixels():
    images = np.zeros((4, 6)), np.zeros((8, 12))
    points = np.array([(1.0, 2.0), (3.0, 0.0)])
    for truth in (DOUBLE, Landmarks(points, 2 * points)):
        fixed, moving, drawn, off = pose(Trial("a", lambda: images, truth))
        assert fixed is images[0] and moving is images[1] and drawn is None
        assert off(DOUBLE) == 0
        # 8 moving pixels to the right and 6 down are 4 and 3 fixed ones, whatever the truth is given as.
        assert off(shift(8, 6) @ DOUBLE) == pytest.approx(5)
    # Identity leaves the moving landmarks (2, 4), (6, 0) where they are: away from (1, 2), (3, 0).
    assert off(np.eye(3)) == pytest.approx((5**0.5 + 3) / 2)


def test_a_true_matrix_is_asked_about_at_the_corners_of_the_fixed_image():
    *_, off = pose(Trial("a", lambda: (np.zeros((4, 6)), np.zeros((50, 50))), DOUBLE @ shift(1, 0)))
    # The corners (0, 0), (6, 0), (6, 4), (0, 4) lie at (2, 0), (14, 0), (14, 8), (2, 8) in the moving image.
    found = [np.hypot(2, 0), np.hypot(8, 0), np.hypot(8, 4), np.hypot(2, 4)]
    assert off(np.eye(3)) == pytest.approx(np.mean(found))


@pytest.mark.parametrize("truth", [DOUBLE, Landmarks(np.ones((1, 2)), np.ones((1, 2)))])
def test_what_cannot_be_inverted_is_no_answer_to_a_real_trial(truth):
    *_, off = pose(Trial("a", lambda: (np.zeros((4, 6)), np.zeros((4, 6))), truth))
    for wrong in (np.diag([1.0, 0.0, 1.0]), np.eye(2), np.full((3, 3), np.nan), np.array(np.nan)):
        with pytest.raises(InputError, match="matrix"):
            off(wrong)


def test_trials_are_pairs_times_levels_times_repeats():
    def load():
        raise AssertionError("nothing is read before a trial is run")

    trials = drawn_trials({"a": load, "b": load}, levels=(1, "full"), seed=3, repeats=2, folds={"b": "two"})
    assert len(trials) == len({t.key for t in trials}) == 8
    assert {(t.pair, t.level, t.fold) for t in trials} == {
        ("a", "1", ""),
        ("b", "1", "two"),
        ("a", "full", ""),
        ("b", "full", "two"),
    }
