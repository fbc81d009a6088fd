"""register, end to end: one scene seen by two instruments, whose places are known."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from counterpoint.core.errors import InputError
from counterpoint.core.grid import Grid
from counterpoint.data.image import Image
from counterpoint.data.write import write_image
from counterpoint.encoders.unet import UNet
from counterpoint.registration.align import align
from counterpoint.registration.confirm import confirm
from counterpoint.registration.measure import gradient
from counterpoint.registration.options import Options
from counterpoint.registration.prepare import prepare
from counterpoint.registration.register import as_image, register


def scene(points, seed=0):
    """A function of the plane with detail of all sizes, in [0, 1]; (…, 2) → (…,)."""
    rng = np.random.default_rng(seed)
    size = np.repeat((0.02, 0.08, 0.25), 25)
    k, phase = rng.normal(size=(75, 2)) * size[:, None], rng.random(75) * 2 * np.pi
    return 0.5 + 0.5 * np.tanh(np.cos(points @ k.T + phase) @ size**-0.5 / 20)


def shot(grid, truth=None, seed=0):
    """What an instrument sees whose points p show the scene at truth⁻¹(p)."""
    y, x = np.mgrid[: grid.size[1], : grid.size[0]]
    m = (np.eye(3) if truth is None else np.linalg.inv(truth)) @ grid.matrix
    return scene(np.stack((x, y, np.ones_like(x)), -1) @ m[:2].T, seed)


def truth(fixed, moving, degrees, scale=1.0, mirror=False, move=(6.0, -4.0)):
    """Takes the middle of fixed to ``move`` beside that of moving."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    m = np.eye(3)
    m[:2, :2] = scale * np.array([[c, -s], [s, c]]) @ np.diag((1, -1 if mirror else 1))
    ends = [g.matrix @ ((g.size[0] - 1) / 2, (g.size[1] - 1) / 2, 1) for g in (fixed, moving)]
    m[:2, 2] = ends[1][:2] + move - m[:2, :2] @ ends[0][:2]
    return m


def off(found, expected):
    """Largest distance at the corners of the fixed image, in its pixels."""
    grid = found.fixed.grid
    corners = np.c_[grid.corners, np.ones(4)] @ grid.matrix.T
    return (
        np.linalg.norm((corners @ (found.transform.matrix - expected).T)[:, :2], axis=1).max()
        / grid.spacing[0]
    )


PLAIN = Grid((144, 132))


def test_inverted_contrast_at_a_large_angle():
    t = truth(PLAIN, PLAIN, 140)
    found = register(shot(PLAIN), 1 - shot(PLAIN, t))
    assert off(found, t) < 0.1
    assert found.quality.trusted and found.quality.agreement < 0.2 and found.seconds > 0
    assert found.transform.kind == "rigid" and found.transform.angle == pytest.approx(140, abs=0.1)
    assert np.allclose(found.matrix, t, atol=0.2)


@pytest.mark.parametrize("mirror", [False, True])
def test_mirror_images_are_told_apart(mirror):
    t = truth(PLAIN, PLAIN, -75, mirror=mirror)
    found = register(shot(PLAIN), np.abs(shot(PLAIN, t) - 0.5), options=Options(mirror=True))
    assert off(found, t) < 0.2 and found.quality.trusted and found.transform.mirrored == mirror


@pytest.mark.parametrize("kind", ["similarity", "affine"])
def test_scale_is_found(kind):
    moving = Grid((150, 160))
    t = truth(PLAIN, moving, 33, 1.2)
    if kind == "affine":
        center = np.array(PLAIN.size) / 2
        squeeze = np.eye(3)
        squeeze[:2, :2] = [[1.03, 0.02], [0.0, 0.98]]
        squeeze[:2, 2] = center - squeeze[:2, :2] @ center
        t = t @ squeeze
    options = Options(angles=(10, 50))
    found = register(shot(PLAIN), 1 - shot(moving, t), transform=kind, options=options)
    assert off(found, t) < 0.2 and found.quality.trusted and found.transform.kind == kind
    assert found.transform.scale == pytest.approx(np.linalg.svd(t[:2, :2])[1], abs=0.003)


def test_where_no_spacing_is_known_sizes_suggest_a_scale():
    fixed, moving = Grid((80, 72)), Grid((200, 176))
    t = truth(fixed, moving, 25, 2.4)
    found = register(
        shot(fixed), 1 - shot(moving, t), transform="similarity", options=Options(angles=(0, 50))
    )
    assert off(found, t) < 0.2 and found.quality.trusted
    assert found.moving.grid == moving and found.transform.scale[0] == pytest.approx(2.4, abs=0.01)
    fine, coarse = found.measure.moving(1.0), found.measure.fixed(1.0)  # what the report shows lies in place
    assert np.allclose(fine.matrix @ (-0.5, -0.5, 1), (-0.5, -0.5, 1)) and coarse.mask.shape == (72, 80)


def test_a_frame_suggests_no_scale():
    """The canvas of a turned image is larger than the image."""
    t = truth(PLAIN, PLAIN, 41)
    canvas = np.full((200, 210), 0.4)
    canvas[30:162, 40:184] = 1 - shot(PLAIN, t)
    said = []
    found = register(shot(PLAIN), canvas, transform="similarity", progress=said.append)
    move = np.eye(3)
    move[:2, 2] = 40, 30
    assert off(found, move @ t) < 0.2 and found.quality.trusted
    assert not any("times as large" in sentence for sentence in said)


def test_one_measure_alone_is_judged_by_its_own_ranking(monkeypatch):
    """Where it leaves doubts there is nobody to agree with, and no other scale of how well it stands out."""
    rankings = []

    def kept(*args):
        rankings.append(confirm(*args))
        return rankings[-1]

    monkeypatch.setattr("counterpoint.registration.align.confirm", kept)
    noise = np.random.default_rng(0).random((2, 64, 64))
    pair = [
        prepare(as_image(image), None, role) for image, role in zip(noise, ("fixed", "moving"), strict=True)
    ]
    found = align((pair[0], pair[1]), lambda f, m: [gradient(f, m)], Options(angles=(-20, 20)))
    assert len(rankings) == 1 and not found.quality.trusted
    assert (found.quality.margin, found.quality.prominence) == (rankings[0].margin, rankings[0].prominence)


def test_what_is_rigid_in_space_is_found_between_pixels_of_different_size():
    fixed = Grid((150, 140), (0.5, 0.5), (20, -3), ((0.0, 1.0), (1.0, 0.0)))
    moving = Grid((80, 76), (1.0, 1.0), (-7, 5), ((0.6, -0.8), (0.8, 0.6)))
    t = truth(fixed, moving, 110, move=(2, 3))
    found = register(Image(shot(fixed), fixed, True, "mm"), Image(1 - shot(moving, t), moving, True, "mm"))
    assert off(found, t) < 0.2 and found.quality.trusted
    assert abs(np.linalg.det(found.matrix)) == pytest.approx(0.25)


def test_a_spacing_that_is_given_overrides_that_of_an_image_and_one_alone_is_not_used():
    fixed, moving = Grid((144, 132), (0.5, 0.5)), Grid((72, 66), (1.0, 1.0))
    t = truth(fixed, moving, 20, move=(2, 1))
    images = Image(shot(fixed), PLAIN, True, "mm"), shot(moving, t)
    found = register(*images, fixed_spacing=(0.5, 0.5), moving_spacing=(1.0, 1.0))
    assert off(found, t) < 0.2 and found.fixed.calibrated and found.moving.calibrated
    t = truth(PLAIN, PLAIN, 20)
    found = register(Image(shot(PLAIN), fixed, True, "mm"), shot(PLAIN, t))
    assert off(found, t) < 0.1 and found.fixed.grid == PLAIN and not found.fixed.calibrated


def test_what_is_masked_does_not_count():
    """Both images show, over a third, a second scene that is somewhere else."""
    t, other = truth(PLAIN, PLAIN, 65), truth(PLAIN, PLAIN, -30, move=(-8, 5))
    fixed, moving = shot(PLAIN), shot(PLAIN, t)
    masks = np.ones((2, 132, 144), bool)
    masks[0, :, :55] = masks[1, :50] = False
    fixed[~masks[0]] = 4 * shot(PLAIN, seed=1)[~masks[0]]
    moving[~masks[1]] = 4 * shot(PLAIN, other, seed=1)[~masks[1]]
    found = register(fixed, 1 - moving, fixed_mask=masks[0], moving_mask=masks[1])
    assert off(found, t) < 0.2 and found.quality.trusted
    unfinished = 1 - moving
    unfinished[~masks[1]] = np.nan  # not finite is as good as masked
    assert off(register(fixed, unfinished, fixed_mask=masks[0]), t) < 0.2


def color(gray):
    """RGB, uint8, of one hue per gray value."""
    return (255 * np.stack((gray, 0.3 + 0.4 * gray, 1 - gray), -1)).astype(np.uint8)


def channels(gray):
    return np.stack([gray**p for p in (0.5, 1, 2, 3)], -1).astype(np.float32)


def counts(gray):
    return (4000 + 900 * gray).astype(np.uint16)


@pytest.mark.parametrize(
    ("kinds", "way"),
    [
        ((color, counts), "array"),
        ((color, counts), "Image"),
        ((color, counts), "file"),
        ((channels, color), "array"),
    ],
)
def test_images_of_any_kind_are_taken(kinds, way, tmp_path):
    small = Grid((96, 88))
    t = truth(small, small, -160, move=(3, 2))
    arrays = kinds[0](shot(small)), kinds[1](1 - shot(small, t))
    images = [Image(a, small) for a in arrays]
    paths = tmp_path / "fixed.tif", str(tmp_path / "moving.png")
    if way == "file":
        for path, image in zip(paths, images, strict=True):
            write_image(path, image)
    found = register(*{"array": arrays, "Image": images, "file": paths}[way])
    assert off(found, t) < 0.25 and found.quality.trusted
    assert (found.fixed.path, found.moving.path) == (
        (paths[0], tmp_path / "moving.png") if way == "file" else (None, None)
    )


def test_the_same_images_give_the_same_result_to_the_last_bit():
    t = truth(PLAIN, PLAIN, 140)
    images = shot(PLAIN), np.abs(shot(PLAIN, t) - 0.5)
    kept = [a.copy() for a in images]
    options = Options(angles=(130, 150))
    first, second = (register(*images, transform="similarity", options=options) for _ in range(2))
    assert np.array_equal(first.transform.matrix, second.transform.matrix)
    assert asdict(first.quality) == asdict(second.quality)
    assert all(np.array_equal(a, b) for a, b in zip(images, kept, strict=True))


def test_unrelated_images_are_not_trusted():
    small, said = Grid((80, 80)), []
    options = Options(angles=(-10, 10))
    found = register(shot(small), shot(small, seed=5), options=options, progress=said.append)
    assert not found.quality.trusted and found.quality.reason
    assert said == list(dict.fromkeys(said)) and len(said) >= 5  # every measure was tried, once
    assert any("mutual information" in words for words in said)


def test_a_trained_network_is_what_the_images_are_compared_by():
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks = {
            role: UNet.Config(channels=1, widths=(4, 8)).build().eval() for role in ("fixed", "moving")
        }
    networks["moving"].load_state_dict(networks["fixed"].state_dict())
    t = truth(PLAIN, PLAIN, 0)
    found = register(shot(PLAIN), shot(PLAIN, t), networks, options=Options(angles=(-5, 5)))
    assert found.quality.measure == "learned" and off(found, t) < 0.2


def test_images_that_cannot_overlap_as_asked_are_refused():
    wide, tall = np.random.default_rng(0).random((2, 40, 120))
    with pytest.raises(InputError, match="overlap by 80%, found no such place"):
        register(wide, tall.T, options=Options(overlap=0.8, angles=(0, 0)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"transform": "rigit"}, "did you mean rigid"),
        ({"overlap": 0}, "overlap: expected a share from 0.05 to 1, found 0"),
        ({"overlap": 30}, "overlap: expected"),
        ({"scales": (1.2, 0.8)}, "scales: expected two numbers from 0.1 to 10 in order"),
        ({"angles": (30, -30)}, "angles: expected two angles in degrees in order"),
        ({"angles": (float("nan"), 0)}, "angles: expected"),
    ],
)
def test_bad_options_are_named(change, words):
    with pytest.raises(InputError, match=words):
        Options(**change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fixed": "no such.png"}, "no such.png"),
        ({"fixed": np.zeros((4, 5, 6, 7))}, "expected an array"),
        ({"fixed": np.full((40, 40), "x")}, "expected numbers"),
        ({"fixed": np.zeros((40, 40))}, "fixed image: expected an image with contrast"),
        ({"moving": np.ones((9, 90))}, "moving image: expected at least 16 × 16"),
        ({"moving_mask": np.ones((3, 3))}, "moving mask: expected the image's shape"),
        ({"fixed_spacing": (0, 1)}, "spacing: expected two positive numbers"),
        ({"transform": "elastic"}, "unknown transform 'elastic'"),
        ({"model": "no such run"}, "no such run: expected a trained model"),
        ({"model": {}}, "model: expected a network for the fixed image"),
    ],
)
def test_bad_input_is_named(change, words):
    noise = np.random.default_rng(0).random((2, 40, 40))
    with pytest.raises(InputError, match=words) as error:
        register(**{"fixed": noise[0], "moving": noise[1], **change})
    assert "\n" not in str(error.value)


def test_a_model_for_other_channels_is_refused():
    noise = np.random.default_rng(0).random((2, 40, 40))
    networks = {role: UNet.Config(channels=3, widths=(2, 2)).build() for role in ("fixed", "moving")}
    with pytest.raises(InputError, match="trained on images of 3 channels, but image has 1"):
        register(noise[0], noise[1], networks)
