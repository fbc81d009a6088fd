"""Refinement: scores against slow sums, gradients against differences, planted motions recovered."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from counterpoint.core.grid import Grid
from counterpoint.registration.levels import Level
from counterpoint.registration.refine import (
    FREE,
    Points,
    climb,
    look,
    motion,
    mutual_information,
    ncc,
    sample,
)
from counterpoint.registration.represent import intensity, normalized_gradient

FIXED = Grid((60, 50), (0.5, 0.5), (3, -2), ((0.0, 1.0), (1.0, 0.0)))
MOVING = Grid((72, 66), (0.5, 0.5), (-5, 4), ((0.6, -0.8), (0.8, 0.6)))
STRETCHED = Grid((50, 80), (0.7, 0.4), (-5, 4), ((0.6, -0.8), (0.8, 0.6)))


def waves(points, seed=0, count=40):
    """A smooth function of the plane in about [-2, 2]; (…, 2) → (…,)."""
    rng = np.random.default_rng(seed)
    k, phase = rng.normal(size=(count, 2)) * 0.6, rng.random(count) * 2 * np.pi
    return np.cos(points @ k.T + phase).sum(-1) / np.sqrt(count)


def positions(grid):
    y, x = np.mgrid[: grid.size[1], : grid.size[0]]
    return np.stack((x, y, np.ones_like(x)), -1) @ grid.matrix[:2].T


def level(grid, values, mask=None):
    maps = torch.from_numpy(np.atleast_3d(values)).permute(2, 0, 1).float()
    mask = torch.ones(maps.shape[1:]) if mask is None else torch.from_numpy(mask).float()
    return Level(maps * (mask > 0), mask, grid.matrix)


def middle(grid):
    return (grid.matrix @ ((grid.size[0] - 1) / 2, (grid.size[1] - 1) / 2, 1))[:2]


def planted(moving, linear=((0.8, -0.6), (0.6, 0.8)), move=(0.0, 0.0)):
    """Takes the middle of FIXED to ``move`` beside that of ``moving``."""
    m = np.eye(3)
    m[:2, :2] = linear
    m[:2, 2] = middle(moving) + move - m[:2, :2] @ middle(FIXED)
    return m


def views(truth, moving, seed=0):
    back = np.linalg.inv(truth)
    there = positions(moving) @ back[:2, :2].T + back[:2, 2]
    return level(FIXED, waves(positions(FIXED), seed)), level(moving, waves(there, seed))


def off(found, truth):
    """Largest distance at the corners of FIXED, in pixels."""
    corners = np.c_[FIXED.corners, np.ones(4)] @ FIXED.matrix.T
    return np.linalg.norm(((found - truth) @ corners.T)[..., :2, :], axis=-2).max(-1) / 0.5


def drawn(channels=1, k=2, n=30, dtype=torch.float64):
    g = torch.Generator().manual_seed(0)
    f, m, w = (torch.rand(*s, generator=g, dtype=dtype) for s in ((channels, n), (k, channels, n), (k, n)))
    return f, m, w * (w > 0.2)


def test_correlation_equals_a_slow_sum():
    f, g, w = drawn(3)
    got = ncc(f, g, w)
    for k in range(2):
        sums = np.zeros(3)
        for c in range(3):
            a, b, p = f[c].numpy(), g[k, c].numpy(), w[k].numpy() / w[k].sum().item()
            a, b = a - (p * a).sum(), b - (p * b).sum()
            sums += (p * a * b).sum(), (p * a * a).sum(), (p * b * b).sum()
        assert float(got[k]) == pytest.approx(sums[0] / np.sqrt(sums[1] * sums[2]))
    assert torch.allclose(
        ncc(f, 0.3 * f[None] + torch.tensor([[1.0], [2], [-3]]), w[:1]), torch.ones(1).double()
    )
    assert torch.allclose(ncc(f, -f[None], w[:1]), -torch.ones(1).double())


def spline(t):
    t = abs(t)
    return (4 - 6 * t * t + 3 * t**3) / 6 if t < 1 else max(0.0, 2 - t) ** 3 / 6


def test_mutual_information_equals_a_slow_histogram():
    f, g, w = drawn(1, k=3, n=200)
    g[0, 0] = f[0]
    g[0, 0, :4] = torch.tensor([0.0, 1.0, -3.0, 4.0])  # the ends, and beyond them
    got = mutual_information(f, g, w, bins=8)
    for k in range(3):
        joint = np.zeros((8, 8))
        for a, b, c in zip(f[0].tolist(), g[k, 0].clamp(0, 1).tolist(), w[k].tolist(), strict=True):
            for j in range(8):
                joint[round(a * 7), j] += c * spline(b * 4 + 1.5 - j)
        assert joint.sum() == pytest.approx(w[k].sum().item())
        p = joint / joint.sum()
        apart = p.sum(1, keepdims=True) * p.sum(0)
        expected = (p[p > 0] * np.log(p[p > 0] / apart[p > 0])).sum()
        assert float(got[k]) == pytest.approx(expected, abs=1e-6)
    assert got[0] > 3 * got[1:].max()


@pytest.mark.parametrize("score", [ncc, mutual_information])
def test_scores_have_the_gradient_they_say(score):
    f, g, w = drawn(1 if score is mutual_information else 2)
    inside = (0.02 + 0.96 * g).requires_grad_()
    assert torch.autograd.gradcheck(lambda g, w: score(f, g, w), (inside, (w + 0.1).requires_grad_()))


@pytest.mark.parametrize("spin", [False, True])
def test_what_is_looked_at_has_the_gradient_it_says(spin):
    rng = np.random.default_rng(0)
    mask = torch.from_numpy(rng.random((14, 15)))
    moving = Level(torch.from_numpy(rng.random((2, 14, 15))), mask, np.eye(3))
    x = torch.tensor([[2.0, 3, 1], [5, 4, 1], [7, 2, 1]]).double()
    points = Points(x, torch.rand(2, 3).double(), torch.tensor([1.0, 0.5, 0.7]).double())
    pixel = torch.tensor([[[0.9, -0.3, 2.13], [0.35, 1.1, 1.37]], [[-0.9, 0.2, 9.3], [0.3, 0.8, 2.21]]])
    last = torch.tensor([0.0, 0, 1]).expand(2, 1, 3)

    def value(top):
        return look(points, moving, torch.cat((top, last), 1), spin)

    assert torch.autograd.gradcheck(value, (pixel.double().requires_grad_(),))


def test_a_look_finds_values_between_pixels_and_nothing_outside():
    y, x = np.mgrid[:8, :9]
    moving = level(Grid((9, 8)), np.stack((x, 10.0 * y), -1))
    points = Points(
        torch.tensor([[0.0, 0, 1], [1, 2, 1], [4, 4, 1]]), torch.zeros(2, 3), torch.tensor([1.0, 0.5, 1])
    )
    shift = torch.tensor([[[1.0, 0, 2.25], [0, 1, 0.5], [0, 0, 1]], [[1, 0, 8], [0, 1, 3.5], [0, 0, 1]]])
    maps, weight = look(points, moving, shift, spin=False)
    assert torch.allclose(maps[0], torch.tensor([[2.25, 3.25, 6.25], [5.0, 25, 45]]))
    assert torch.allclose(weight, torch.tensor([[1, 0.5, 1], [1, 0, 0]]))
    assert torch.allclose(maps[1, :, 0], torch.tensor([8.0, 35]))


def test_a_look_across_the_edge_of_a_mask_sees_what_is_not_masked():
    moving = Level(torch.tensor([[[3.0, 3, 0, 0]] * 4]), torch.tensor([[1.0, 0.5, 0, 0]] * 4), np.eye(3))
    points = Points(torch.tensor([[0.0, 1, 1]]), torch.zeros(1, 1), torch.ones(1))
    shift = torch.eye(3).repeat(2, 1, 1)
    shift[:, 0, 2] = torch.tensor([0.5, 1.5])
    maps, weight = look(points, moving, shift, spin=False)
    assert torch.allclose(maps.flatten(), torch.tensor([3.0, 3.0]))
    assert torch.allclose(weight.flatten(), torch.tensor([0.75, 0.25]))


def test_points_are_drawn_once_inside_the_mask():
    mask = (np.random.default_rng(0).random((50, 60)) < 0.5) * 0.5
    fixed = level(FIXED, waves(positions(FIXED)), mask)
    points = sample(fixed, 500, seed=3)
    x, y = points.x[:, :2].long().T
    assert len(points.x) == 500 and len(set(zip(x.tolist(), y.tolist(), strict=True))) == 500
    assert torch.equal(points.values, fixed.maps[:, y, x]) and torch.equal(points.weight, fixed.mask[y, x])
    assert bool((points.weight > 0).all()) and bool((points.x[:, 2] == 1).all())
    assert torch.equal(sample(fixed, 500, seed=3).x, points.x)
    assert not torch.equal(sample(fixed, 500, seed=4).x, points.x)
    assert len(sample(fixed, 10**6).x) == (mask > 0).sum()
    thirds = torch.bincount(x // 20)  # from everywhere, not the first rows
    assert thirds.min() > 100 and torch.bincount(y // 17).min() > 100


def test_motions_are_of_their_kind():
    p = torch.tensor([[0.3, 0.2, 0.0, 0.0, 5.0, 6.0]])
    turn = torch.tensor([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]).float()
    assert torch.allclose(motion(p, "rigid")[0], turn)
    assert torch.allclose(motion(p, "similarity")[0], turn * np.exp(0.2))
    assert torch.allclose(motion(p, "affine")[0], torch.tensor([[1.3, 0.2], [0.0, 1.0]]))
    assert all(torch.equal(motion(torch.zeros(1, n), kind)[0], torch.eye(2)) for kind, n in FREE.items())


def starts(truth, kind, moving):
    """Three transforms up to about three pixels away, and of its kind."""
    out = []
    for angle, scale, shear, x, y in (
        (3, 1.03, 0.03, 0.7, -0.6),
        (-4, 0.97, -0.02, -0.5, 0.5),
        (0, 1, 0, 1, 1),
    ):
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        linear = np.array([[c, -s], [s, c]]) * (1 if kind == "rigid" else scale)
        if kind == "affine":
            linear = linear @ [[1, shear], [0, 1 + shear]]
        m = np.eye(3)
        m[:2, :2], m[:2, 2] = linear, np.add(middle(moving), (x, y)) - linear @ middle(moving)
        out.append(m @ truth)
    return np.stack(out)


LINEAR = {
    "rigid": [[0.8, -0.6], [0.6, 0.8]],
    "similarity": [[0.9, 0.5], [0.5, -0.9]],  # mirrored
    "affine": [[0.8, -0.5], [0.7, 0.9]],
}


@pytest.mark.parametrize(
    ("how", "grid"),
    [
        ("intensity", MOVING),
        ("intensity", STRETCHED),
        ("mutual information", MOVING),
        ("mutual information", STRETCHED),
        ("gradient", MOVING),  # taken on square pixels only
    ],
)
@pytest.mark.parametrize("kind", FREE)
def test_small_motions_are_recovered(kind, how, grid):
    truth = planted(grid, LINEAR[kind], (0.3, -0.2))
    fixed, moving = views(truth, grid)
    if how == "gradient":
        fixed, moving = normalized_gradient(fixed), normalized_gradient(level(grid, -moving.maps[0].numpy()))
    elif how == "mutual information":
        fixed, moving = intensity(fixed), intensity(level(grid, np.abs(moving.maps[0].numpy())))
    score, spin = mutual_information if how == "mutual information" else ncc, how == "gradient"
    begin = starts(truth, kind, grid)
    points = sample(fixed, 10**6)
    found, scores = climb(points, moving, begin, fixed.matrix, kind, score, spin, step=1.0, least=0.003)
    assert off(begin, truth).min() > 1.5
    assert off(found, truth).max() < (0.15 if how == "gradient" and kind != "rigid" else 0.05)
    size = np.linalg.svd(found[:, :2, :2], compute_uv=False)
    if kind == "rigid":
        assert np.allclose(size, 1, atol=1e-5)
    elif kind == "similarity":
        assert np.allclose(size, np.sqrt(1.06), rtol=2e-3) and np.allclose(size[:, 0], size[:, 1], rtol=1e-5)
    # the scores are those of the transforms that come back
    pixel = torch.from_numpy(np.linalg.inv(moving.matrix) @ found @ fixed.matrix).float()
    again = score(points.values, *look(points, moving, pixel, spin))
    assert np.allclose(scores, again, atol=1e-4)


@pytest.mark.parametrize("kind", FREE)
def test_several_climb_as_each_alone(kind):
    truth = planted(MOVING, LINEAR[kind])
    fixed, moving = views(truth, MOVING, 1)
    begin, points = starts(truth, kind, MOVING), sample(fixed, 800)
    together, scores = climb(points, moving, begin, fixed.matrix, kind, ncc, steps=25)
    for i in range(3):
        alone, score = climb(points, moving, begin[i : i + 1], fixed.matrix, kind, ncc, steps=25)
        assert off(alone[0], together[i]) < 0.02
        assert score[0] == pytest.approx(scores[i], abs=1e-3)


def test_what_is_masked_does_not_pull():
    """Half of either image shows the scene moved by two pixels, under a mask."""
    truth = planted(MOVING)
    (fixed, moving), (wrong, astray) = views(truth, MOVING), views(planted(MOVING, move=(1, 0)), MOVING)
    left, top = positions(FIXED)[..., 0] < middle(FIXED)[0], np.arange(66)[:, None] * np.ones(72) < 25
    begin = starts(truth, "rigid", MOVING)

    def error(masked):
        f = level(FIXED, np.where(left, wrong.maps[0], fixed.maps[0]), ~left * 1.0 if masked else None)
        m = level(MOVING, np.where(top, astray.maps[0], moving.maps[0]), ~top * 1.0 if masked else None)
        found = climb(sample(f, 10**6), m, begin, f.matrix, "rigid", ncc, least=0.003)[0]
        return off(found, truth).max()

    assert error(masked=True) < 0.05
    assert error(masked=False) > 0.3


def test_a_climber_never_ends_below_where_it_began():
    fixed, moving = views(planted(MOVING), MOVING, 2)
    begin = np.stack([planted(MOVING, move=m) for m in ((0, 0), (4, 3), (-6, 2))])
    points = sample(fixed, 500)
    pixel = torch.from_numpy(np.linalg.inv(moving.matrix) @ begin @ fixed.matrix).float()
    before = ncc(points.values, *look(points, moving, pixel, spin=False)).numpy()
    _, scores = climb(points, moving, begin, fixed.matrix, "rigid", ncc, steps=3, step=8.0)
    assert (scores >= before - 1e-5).all()
