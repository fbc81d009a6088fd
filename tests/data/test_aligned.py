from __future__ import annotations

import numpy as np
import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.data.aligned import AlignedPatches, read_aligned


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(height: int, width: int, at: int = 0, channels: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """A fixed image whose pixels say where they lie (y, x, at), and a moving one that says it negated."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    fixed = np.stack([y, x, np.full_like(y, at)], 2)
    return fixed, -fixed[..., :channels]


def corners(tiles: torch.Tensor) -> list[tuple[int, int, int]]:
    return [(int(t[2, 0, 0]), int(t[0, 0, 0]), int(t[1, 0, 0])) for t in tiles]


def test_tiles_are_cut_at_one_place_of_both_images():
    data = AlignedPatches([numbered(40, 50)], side=9, length=24)
    for batch in data.epoch(6, rng()):
        assert batch["fixed"].shape == (6, 3, 9, 9) and batch["moving"].shape == (6, 2, 9, 9)
        assert batch["fixed"].dtype == torch.float32
        assert torch.equal(batch["fixed"][:, :2], -batch["moving"])
        for tile, (_, top, left) in zip(batch["fixed"], corners(batch["fixed"]), strict=True):
            assert torch.equal(tile[0, :, 0], torch.arange(top, top + 9.0))
            assert torch.equal(tile[1, 0], torch.arange(left, left + 9.0))


def test_every_tile_of_an_epoch_has_an_id_of_its_own():
    data = AlignedPatches([numbered(40, 50)], side=9, length=20)
    ids = torch.cat([batch["id"] for batch in data.epoch(6, rng())])
    assert ids.tolist() == list(range(18)) and data.steps(6) == 3 and len(data) == 20
    assert data.steps(100) == 1 and len(next(data.epoch(100, rng()))["id"]) == 100


def test_the_tiles_of_the_fixed_pass_are_always_the_same():
    data = AlignedPatches([numbered(40, 50)], side=9, length=20)
    one, again = list(data.parts(8)), list(data.parts(8))
    assert [batch["id"].tolist() for batch in one] == [[*range(8)], [*range(8, 16)], [*range(16, 20)]]
    for a, b in zip(one, again, strict=True):
        assert torch.equal(a["fixed"], b["fixed"]) and torch.equal(a["fixed"][:, :2], -a["moving"])


def test_the_generator_decides_everything():
    data = AlignedPatches([numbered(40, 50), numbered(30, 30, 1)], side=9, length=12)
    one, same, other = (torch.cat([b["fixed"] for b in data.epoch(4, rng(s))]) for s in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_images_are_chosen_by_area_and_places_reach_every_edge():
    data = AlignedPatches([numbered(30, 30), numbered(60, 45, 1)], side=9, length=2000)
    found = [c for batch in data.epoch(1, rng()) for c in corners(batch["fixed"])]
    assert sum(i for i, _, _ in found) / 2000 == pytest.approx(0.75, abs=0.03)
    large = [(y, x) for i, y, x in found if i]
    assert {min(y for y, _ in large), max(y for y, _ in large)} == {0, 51}
    assert {min(x for _, x in large), max(x for _, x in large)} == {0, 36}


def test_tiles_of_a_batch_share_no_more_than_half_where_there_is_room():
    def worst(pairs):
        data, shared = AlignedPatches(pairs, side=20, length=160), []
        for batch in data.epoch(8, rng()):
            at = corners(batch["fixed"])
            shared += [
                max(0, 20 - abs(a[1] - b[1])) * max(0, 20 - abs(a[2] - b[2])) / 400
                for i, a in enumerate(at)
                for b in at[:i]
                if a[0] == b[0]
            ]
        return max(shared)

    assert 0 < worst([numbered(120, 120)]) <= 0.5
    assert 0 < worst([numbered(60, 60), numbered(60, 60, 1)]) <= 0.5  # the same place of two images is fine
    assert worst([numbered(22, 22)]) > 0.5  # no room: still full batches


def test_small_images_are_mirrored_on_all_sides():
    (batch,) = AlignedPatches([numbered(4, 9)], side=7, length=1).epoch(1, rng())
    assert batch["fixed"][0, 0, :, 0].tolist() == [1, 0, 1, 2, 3, 2, 1]
    assert torch.equal(batch["fixed"][:, :2], -batch["moving"])


def test_masks_keep_tiles_where_both_images_show_something():
    mask = np.zeros((60, 60), bool)
    mask[:, :40] = True
    data = AlignedPatches([numbered(60, 60)], side=10, length=100, masks=[mask])
    lefts = [c[2] for batch in data.epoch(1, rng()) for c in corners(batch["fixed"])]
    assert max(lefts) <= 35 and max(lefts) > 25


@pytest.mark.parametrize(
    ("pairs", "masks", "says"),
    [
        ([], None, "expected pairs"),
        ([(np.zeros((9, 9)), np.zeros((9, 9, 1)))], None, "pair 1, fixed: expected an image"),
        (
            [(np.zeros((9, 9, 1)), np.zeros((9, 8, 1)))],
            None,
            "pair 1, moving: expected 9×9 pixels.*found 8×9",
        ),
        ([numbered(9, 9), numbered(9, 9, channels=1)], None, "pair 2, moving: expected 2 channels.*found 1"),
        ([numbered(9, 9)], [], "masks"),
        ([numbered(9, 9)], [np.ones((9, 8), bool)], "masks: .*pair 1"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(pairs, masks, says):
    with pytest.raises(InputError, match=says):
        AlignedPatches(pairs, side=4, length=4, masks=masks)


def test_files_are_read_and_checked(tmp_path):
    from skimage.io import imsave

    noise = np.random.default_rng(0).integers(0, 256, (3, 12, 14, 3), dtype=np.uint8)
    imsave(tmp_path / "rgb.png", noise[0], check_contrast=False)
    imsave(tmp_path / "gray.png", noise[1, ..., 0], check_contrast=False)
    imsave(tmp_path / "small.png", noise[2, :10, :, 0], check_contrast=False)
    ((fixed, moving),) = read_aligned([(tmp_path / "rgb.png", tmp_path / "gray.png")])
    assert fixed.shape == (12, 14, 3) and moving.shape == (12, 14, 1)
    assert fixed.dtype == np.float32 and 0 <= fixed.min() < fixed.max() <= 1
    ((fixed, _),) = read_aligned([(tmp_path / "rgb.png", tmp_path / "gray.png")], fixed_channel=1)
    assert fixed.shape == (12, 14, 1)
    with pytest.raises(InputError, match=r"small\.png: expected 14×12 pixels as in .*rgb\.png"):
        read_aligned([(tmp_path / "rgb.png", tmp_path / "small.png")])
    with pytest.raises(InputError, match=r"gray\.png: expected 3 channels as in .*rgb\.png"):
        read_aligned(
            [(tmp_path / "rgb.png", tmp_path / "gray.png"), (tmp_path / "gray.png", tmp_path / "gray.png")]
        )
