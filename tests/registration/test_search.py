"""Search: scores of all shifts against slow loops, and planted transforms found again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from counterpoint.core.grid import Grid
from counterpoint.registration import search as room
from counterpoint.registration.levels import Level
from counterpoint.registration.represent import normalized_gradient
from counterpoint.registration.search import Search, poses, spun

FIXED = Grid((52, 44), (0.5, 0.5), (3, -2), ((0.0, 1.0), (1.0, 0.0)))
MOVING = Grid((48, 56), (0.7, 0.7), (-5, 4), ((0.6, -0.8), (0.8, 0.6)))


def waves(points, seed=0, count=60, longest=0.9):
    """A smooth function of the plane, the sum of many waves; (…, 2) → (…,)."""
    rng = np.random.default_rng(seed)
    k, phase = rng.normal(size=(count, 2)) * longest, rng.random(count) * 2 * np.pi
    return np.cos(points @ k.T + phase).sum(-1) / np.sqrt(count)


def positions(grid):
    y, x = np.mgrid[: grid.size[1], : grid.size[0]]
    return np.stack((x, y, np.ones_like(x)), -1) @ grid.matrix[:2].T


def middle(grid):
    return grid.matrix @ ((grid.size[0] - 1) / 2, (grid.size[1] - 1) / 2, 1)


def planted(linear, move=(0.0, 0.0)):
    """Of this linear part; takes the middle of FIXED to ``move`` beside that of MOVING."""
    m = np.eye(3)
    m[:2, :2] = linear
    m[:2, 2] = middle(MOVING)[:2] + move - linear @ middle(FIXED)[:2]
    return m


def level(grid, values, mask=None):
    maps = torch.from_numpy(np.atleast_3d(values)).permute(2, 0, 1).float()
    mask = torch.ones(maps.shape[1:]) if mask is None else torch.from_numpy(mask).float()
    return Level(maps * (mask > 0), mask, grid.matrix)


def views(truth, seed=0):
    """The same scene on both grids: moving shows at truth(p) what fixed shows at p."""
    back = np.linalg.inv(truth)
    there = positions(MOVING) @ back[:2, :2].T + back[:2, 2]
    return level(FIXED, waves(positions(FIXED), seed)), level(MOVING, waves(there, seed))


def bilinear(array, x, y):
    """``array`` (C, H, W) at one place, zero outside."""
    out, x0, y0 = np.zeros(len(array)), int(np.floor(x)), int(np.floor(y))
    for i, j, w in (
        (x0, y0, (1 - x + x0) * (1 - y + y0)),
        (x0 + 1, y0, (x - x0) * (1 - y + y0)),
        (x0, y0 + 1, (1 - x + x0) * (y - y0)),
        (x0 + 1, y0 + 1, (x - x0) * (y - y0)),
    ):
        if 0 <= i < array.shape[2] and 0 <= j < array.shape[1]:
            out += w * array[:, j, i]
    return out


def slow_ncc(f, g, w):
    """(C, N), (C, N), (N,) → weighted normalized cross-correlation over all channels, each centered."""
    f, g = (a - (a * w).sum(1, keepdims=True) / w.sum() for a in (f, g))
    return (w * f * g).sum() / np.sqrt((w * f * f).sum() * (w * g * g).sum())


def slow_score(fixed, moving, matrix):
    """Masked NCC and overlap in fixed pixels of one transform, pixel by pixel."""
    pixel = np.linalg.inv(moving.matrix) @ matrix @ fixed.matrix
    maps, mask = moving.maps.double().numpy(), moving.mask.double().numpy()
    stack = np.concatenate((maps * mask, mask[None]))
    f, g, w = [], [], []
    for y in range(fixed.mask.shape[0]):
        for x in range(fixed.mask.shape[1]):
            got = bilinear(stack, *(pixel @ (x, y, 1))[:2])
            if got[-1] > 1e-6 and fixed.mask[y, x] > 0:
                f.append(fixed.maps[:, y, x].double().numpy())
                g.append(got[:-1] / got[-1])
                w.append(got[-1] * float(fixed.mask[y, x]))
    return slow_ncc(np.array(f).T, np.array(g).T, np.array(w)), sum(w)


def blobs(shape, channels, seed):
    """Random maps and fractional masks with holes."""
    rng = np.random.default_rng(seed)
    mask = rng.random(shape) * (rng.random(shape) < 0.7)
    return torch.from_numpy(rng.random((channels, *shape))).float(), torch.from_numpy(mask).float()


@pytest.mark.parametrize("channels", [1, 3])
def test_masked_correlation_of_all_shifts_equals_a_slow_loop(channels):
    (f, m), (g, w) = blobs((7, 9), channels, 0), blobs((8, 6), channels, 1)
    got, count = room._NCC(Level(f, m, np.eye(3)), [16, 15])(g[None], w[None])
    for sy in range(-6, 8):
        for sx in range(-8, 6):
            both = [
                (f[:, y, x].tolist(), g[:, y + sy, x + sx].tolist(), float(m[y, x] * w[y + sy, x + sx]))
                for y in range(7)
                for x in range(9)
                if 0 <= y + sy < 8 and 0 <= x + sx < 6
            ]
            a, b, c = (np.array(v).T for v in zip(*both, strict=True))
            assert float(count[0, sy, sx]) == pytest.approx(c.sum(), abs=1e-4)
            if c.sum() > 2:
                assert float(got[0, sy, sx]) == pytest.approx(slow_ncc(a, b, c), abs=2e-3)


def test_mutual_information_of_all_shifts_equals_slow_histograms():
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 3, (7, 9)), rng.integers(0, 4, (8, 6))
    m, w = (torch.from_numpy((rng.random(v.shape) < 0.8) * 0.9).float() for v in (a, b))
    hot = [torch.from_numpy(np.eye(n, dtype=np.float32)[v]).permute(2, 0, 1) for n, v in ((3, a), (4, b))]
    scorer = room._MutualInformation(Level(hot[0], m, np.eye(3)), [16, 15])
    got, count = scorer(hot[1][None], w[None])
    for sy in range(-6, 8):
        for sx in range(-8, 6):
            joint = np.zeros((3, 4))
            for y in range(7):
                for x in range(9):
                    if 0 <= y + sy < 8 and 0 <= x + sx < 6 and m[y, x] > 0 and w[y + sy, x + sx] > 0:
                        joint[a[y, x], b[y + sy, x + sx]] += 1
            assert float(count[0, sy, sx]) == pytest.approx(joint.sum(), abs=1e-3)
            p = joint / max(joint.sum(), 1)
            apart = p.sum(1, keepdims=True) * p.sum(0)
            there = p > 0
            mi = (p[there] * np.log(p[there] / apart[there])).sum()
            assert float(got[0, sy, sx]) == pytest.approx(mi, abs=1e-4)


def test_a_peak_has_the_score_and_the_overlap_of_its_matrix():
    rng = np.random.default_rng(4)
    fixed, moving = views(planted(1.1 * poses(360, angles=(30, 30), mirror=True)[1]))
    fixed, moving = (
        level(
            g,
            np.stack((v.maps[0], rng.random(v.mask.shape)), -1),
            rng.random(v.mask.shape) * (rng.random(v.mask.shape) < 0.8),
        )
        for g, v in ((FIXED, fixed), (MOVING, moving))
    )
    linear = poses(90, (0.9, 1.2), mirror=True, angles=(20, 200))
    for a, b, ratio in ((fixed, moving, 0.7 / 0.5), (moving, fixed, 0.5 / 0.7)):
        peaks = Search(a, b, overlap=0.3).run(linear, per_pose=2)
        assert {p.pose for p in peaks} == set(range(len(linear)))
        assert [p.score for p in peaks] == sorted((p.score for p in peaks), reverse=True)
        for peak in peaks[::11]:
            scaled = float(b.mask.sum()) * ratio**2 / abs(np.linalg.det(peak.matrix[:2, :2]))
            smaller = min(float(a.mask.sum()), scaled)
            assert np.allclose(peak.matrix[:2, :2], linear[peak.pose])
            score, count = slow_score(a, b, peak.matrix)
            assert peak.score == pytest.approx(score, abs=1e-3)
            assert peak.overlap == pytest.approx(count / smaller, abs=1e-3) and peak.overlap >= 0.3


@pytest.mark.parametrize(("size", "overlap"), [(14, 0.06), (52, 0.06), (14, 0.3), (40, 0.3)])
def test_shifts_that_fold_onto_each_other_are_not_mistaken_for_an_overlap(size, overlap):
    """A small image in a large one, or a small overlap: circular correlation adds up both ends."""
    rng = np.random.default_rng(size)
    small, large = Grid((12, 13)), Grid((size, size))
    fixed, moving = (level(g, rng.random(g.size[::-1])) for g in (small, large))
    for a, b, turns in ((fixed, moving, 0), (moving, fixed, 0), (moving, fixed, 45)):
        for peak in Search(a, b, overlap).run(poses(45, angles=(0, turns)), per_pose=12):
            score, count = slow_score(a, b, peak.matrix)
            assert peak.overlap == pytest.approx(count / 156, abs=2e-3)
            assert peak.score == pytest.approx(score, abs=2e-3)


def test_the_best_shift_of_a_pose_is_the_best_of_a_slow_loop():
    truth = planted(poses(360, angles=(40, 40))[0], (2, 5))
    fixed, moving = views(truth, 3)
    small = Level(fixed.maps[:, ::4, ::4], fixed.mask[::4, ::4], fixed.matrix @ np.diag((4, 4, 1)))
    (best,) = Search(small, moving, overlap=0.5).run([truth[:2, :2]], per_pose=1)
    for sx in range(-5, 6):
        for sy in range(-5, 6):
            step = np.eye(3)
            step[:2, 2] = sx, sy
            other = best.matrix @ small.matrix @ step @ np.linalg.inv(small.matrix)
            score, count = slow_score(small, moving, other)
            if count >= 0.5 * small.mask.sum():
                assert score <= best.score + 1e-4


@pytest.mark.parametrize(
    ("angle", "scale", "mirror"), [(0, 1, False), (35, 1.2, False), (-110, 0.8, True), (165, 1, True)]
)
@pytest.mark.parametrize("score", ["ncc", "spin", "mi"])
def test_a_planted_transform_is_found(angle, scale, mirror, score):
    linear = poses(5, (0.8, 1.0, 1.2), mirror=True, angles=(angle - 20, angle + 20))
    truth = planted(poses(5, (scale,), True, (angle, angle))[mirror], (2, -3))
    fixed, moving = views(truth, 7)
    if score == "spin":
        fixed, moving = normalized_gradient(fixed), normalized_gradient(moving)
    elif score == "mi":
        fixed, moving = (
            Level(torch.stack([(v.maps[0] > 0) == k for k in (order)]).float(), v.mask, v.matrix)
            for v, order in ((fixed, (True, False)), (moving, (False, True)))
        )
    search = Search(fixed, moving, spin=score == "spin")
    best = search.run(linear, "mi" if score == "mi" else "ncc")[0]
    assert np.allclose(linear[best.pose], truth[:2, :2])
    assert np.allclose(best.matrix[:2, :2], truth[:2, :2])
    off = (best.matrix - truth) @ middle(FIXED)
    assert np.linalg.norm(off) <= 1.01 * np.sqrt(0.5) * 0.5 * scale  # half a fixed pixel, both ways


def test_no_less_overlap_than_asked_for_is_accepted():
    truth = planted(np.eye(2), (12, 0))  # about half of either
    fixed, moving = views(truth, 5)
    assert np.linalg.norm(Search(fixed, moving, 0.3).run([np.eye(2)])[0].matrix - truth) < 0.5
    found = Search(fixed, moving, 0.9).run([np.eye(2)], per_pose=9)
    assert found and all(p.overlap >= 0.9 for p in found)
    apart = level(FIXED, np.ones((44, 52)), (np.arange(52) < 5) * np.ones((44, 1)))
    assert Search(apart, level(FIXED, np.ones((44, 52)), np.zeros((44, 52)))).run([np.eye(2)]) == []


def test_all_angles_stand_on_a_circle_once():
    angles = [np.degrees(np.arctan2(a[1, 0], a[0, 0])) for a in poses(5.0)]
    assert len(angles) == 72 and np.allclose(np.sort(np.mod(angles, 360)), np.arange(0, 360, 5), atol=1e-6)
    assert len(poses(7.0)) == 52  # 6.9 degrees
    assert len(poses(5.0, angles=(-360, 360))) == 72


def test_a_range_of_angles_is_searched_to_both_ends():
    found = poses(7.0, angles=(-10, 25))
    assert np.allclose([np.degrees(np.arctan2(a[1, 0], a[0, 0])) for a in found], np.linspace(-10, 25, 6))
    (one,) = poses(5.0, angles=(90, 90))
    assert np.allclose(one @ (1, 0), (0, 1)) and np.allclose(one @ (0, 1), (-1, 0))  # x towards y


def test_scales_and_mirror_images_multiply_the_angles():
    found = poses(90.0, (0.5, 2.0), mirror=True)
    assert len(found) == 4 * 2 * 2
    assert np.allclose(np.linalg.det(found), np.repeat((0.25, 4, -0.25, -4), 4))
    assert all(np.allclose(a.T @ a, abs(np.linalg.det(a)) * np.eye(2)) for a in found)


def test_double_angle_channels_turn_with_the_image():
    def double(g):
        return torch.stack((g[:, 0] ** 2 - g[:, 1] ** 2, 2 * g[:, 0] * g[:, 1]), 1)

    rng = np.random.default_rng(0)
    g = torch.from_numpy(rng.normal(size=(1, 2, 9)))
    for a in poses(37.0, mirror=True):
        linear = torch.from_numpy(a)[None]
        # fixed(x) = moving(A x), so the gradient of fixed is Aᵀ times that of moving
        assert torch.allclose(spun(double(g), linear), double(linear.mT @ g))
        assert torch.allclose(spun(double(g), 1.7 * linear), double(linear.mT @ g))
