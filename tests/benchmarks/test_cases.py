from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from counterpoint.core.errors import InputError
from counterpoint.registration.protocol import Landmarks, pose


def load(name: str) -> ModuleType:
    file = Path(__file__).parents[2] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


cases, table = load("cases"), load("table")


def blob(x: float, y: float, width: int = 60, height: int = 40) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.rint(200 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8) + 20).astype(np.uint8)


def place(image: np.ndarray) -> np.ndarray:
    """(x, y) of the blob."""
    weight = np.clip(image.astype(float) - 40, 0, None)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()


@pytest.mark.parametrize("angle", [0, 90, 35, -120])
def test_a_turned_image_holds_everything_and_its_matrix_says_where(angle):
    image = blob(9, 30)
    out, ahead = cases.turned(image, angle)
    assert place(out) == pytest.approx((ahead @ [9, 30, 1])[:2], abs=0.15)
    corners = np.array([(0, 0, 1), (59, 0, 1), (59, 39, 1), (0, 39, 1)]) @ ahead[:2].T
    assert corners.min() > -1 and (corners.max(0) < np.array(out.shape[::-1])).all()
    assert (ahead @ [29.5, 19.5, 1])[:2] == pytest.approx((np.array(out.shape[::-1]) - 1) / 2)
    assert out[0, 0] == 20 and out.min() == 20  # the median of the border, and no darker


def test_color_keeps_its_channels_and_a_right_angle_its_pixels():
    image = np.stack((blob(9, 30), blob(40, 10), blob(9, 30)), 2)
    out, _ = cases.turned(image, 90)
    assert out.shape == (60, 40, 3)
    assert any((out == np.rot90(image, k)).all() for k in (1, 3))


def test_turns_go_round_the_whole_circle():
    angles = cases._angles(8, 0, "a", 3)
    for turn in angles.T:
        assert sorted(np.floor((turn + 180) / 45)) == list(range(8))
    assert (angles != cases._angles(8, 1, "a", 3)).all() and (
        angles[:, :2] == cases._angles(8, 0, "a", 2)
    ).all()


def test_a_turned_pair_keeps_its_truth(monkeypatch):
    image, points = blob(20, 12), np.array([(20.0, 12.0), (50.0, 30.0)])
    monkeypatch.setattr(cases.Case, "images", lambda self: (image, image))
    for truth in (None, Landmarks(points, points)):
        asked = cases.Case("a", "a", Path(), Path(), np.eye(3), truth)
        (trial,) = cases.trials("landmarks_retina", [asked], 0, 1)["turned"]
        _, moving, _, off = pose(trial)
        assert moving.shape != image.shape and off(np.eye(3)) > 5
        angle = float(trial.pair.split()[-1])
        assert off(cases.turned(image, angle)[1]) < 0.05  # the angle in the name is rounded
        (given,) = cases.trials("he_shg_loci", [asked], 0, 1)["as given"]
        assert pose(given)[3](np.eye(3)) == pytest.approx(0, abs=1e-9)


def test_cases_are_divided_whole_and_alike_every_time():
    slices = [cases.Case(f"{c} {i}", c, Path(), Path(), np.eye(3)) for c in "abcde" for i in range(3)]
    train, asked = cases.divided("harvard_ct", slices, "report")
    assert {p.case for p in train} == set("ace") and {p.case for p in asked} == set("bd")
    train, asked = cases.divided("harvard_ct", slices, "validate")
    assert {p.case for p in train} == set("ae") and {p.case for p in asked} == set("c")
    assert cases.divided("harvard_pet", slices, "report") == ([], slices)
    assert [p.name for p in cases.thinned(slices[:6], 4)] == ["a 0", "a 2", "b 0", "b 2"]


def test_two_pictures_of_one_eye_stay_together():
    eyes = [
        cases.Case(n, n, Path(), Path(), np.eye(3))
        for n in ("Retina_24", "Retina_32", "Retina_38", "Retina_52")
    ]
    train, asked = cases.divided("landmarks_retina", eyes, "report")
    assert [p.name for p in train] == ["Retina_24", "Retina_32", "Retina_38"]
    assert [p.name for p in asked] == ["Retina_52"]


def test_training_pairs_are_brought_together_by_the_truth(monkeypatch):
    shift = np.array([[1.0, 0, 7], [0, 1, -3], [0, 0, 1]])
    monkeypatch.setattr(cases.Case, "images", lambda self: (blob(20, 12), blob(27, 9)))
    (((fixed, moving),), (mask,)) = cases.aligned([cases.Case("a", "a", Path(), Path(), shift)], lambda i: i)
    assert place(255 * moving[..., 0]) == pytest.approx(place(255 * fixed[..., 0]), abs=0.1)
    assert not mask[:3].any() and not mask[:, -7:].any() and mask[3:, :-7].all()


def test_missing_data_are_said_to_be_missing(tmp_path):
    with pytest.raises(InputError, match=r"--data .*he_shg_loci/pairs\.csv.*not part of this repository"):
        cases.cases(tmp_path, "he_shg_loci")


def test_auroc_counts_pairs_in_order():
    assert table.auroc([0.9, 0.8, 0.3], [True, True, False]) == 1
    assert table.auroc([0.9, 0.2, 0.3, 0.3], [True, True, False, True]) == pytest.approx((1 + 0 + 0.5) / 3)
    assert table.auroc([0.9], [True]) is None


def test_the_better_step_length_is_shown_and_named():
    def row(method: str, success: int, median: float) -> dict:
        return {
            "set": "s", "pose": "turned", "method": method, "success": success, "of": 4, "before": 1,
            "median_percent": median, "cpu": {"median": 2.0}, "trust": [0.9, 0.6, 0.2, None],
            "right": [True, False, False, True],
        }  # fmt: skip

    rows = [
        row("Mattes, 1 start", 2, 0.5),
        row("Mattes, 1 start, rate 1", 3, 0.7),
        row("SIFT", 1, float("inf")),
    ]
    text = table.markdown(rows, {"s": "Some pairs"})
    assert "| Some pairs | turned | 1 of 4 | 3 of 4 (0.70, rate 1) | 1 of 4 (none) |" in text
    assert "| SIFT | Some pairs | turned | 1 of 3 | 2 | 1 of 2 | 1.00 |" in text
    rows[1]["success"] = 2
    assert "| 2 of 4 (0.50) |" in table.markdown(rows, {"s": "Some pairs"})
