from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from counterpoint.core.errors import InputError, WorkError
from counterpoint.registration.protocol import Trial, drawn_trials
from counterpoint.registration.scoring import Outcome, read_rows, score, summary

IMAGE = np.zeros((60, 100))


def shift(x: float) -> np.ndarray:
    return np.array([[1.0, 0, x], [0, 1, 0], [0, 0, 1]])


def real(names: str) -> list[Trial]:
    """Trials whose truth is a shift by 10 px, in an image 100 px wide: up to 2 px is success."""
    return [Trial(name, lambda: (IMAGE, IMAGE), shift(10)) for name in names]


def row(error: float | None, level: str = "1", fold: str = "", method: str = "m") -> Outcome:
    return Outcome(
        method=method, settings="", trial="", pair="", fold=fold, level=level, angle=None, tx=None, ty=None,
        width=100, initial=9.0, error=error, success=error is not None and error <= 2, cpu=1.0, wall=1.0,
    )  # fmt: skip


@pytest.mark.parametrize(("found", "error", "success"), [(10, 0, True), (12, 2, True), (12.01, 2.01, False)])
def test_success_is_two_percent_of_the_width(tmp_path, found, error, success):
    (outcome,) = score(lambda *_: shift(found), real("a"), tmp_path, "m")
    assert outcome.error == pytest.approx(error) and outcome.success is success
    assert outcome.initial == pytest.approx(10) and outcome.level == "real" and outcome.angle is None


def fails(fixed, moving):
    raise WorkError("too dark\nand more")


@pytest.mark.parametrize(
    ("method", "says"),
    [
        (fails, "WorkError: too dark"),
        (lambda *_: None, "no transform"),
        (lambda *_: np.full((3, 3), np.nan), "no transform"),
        (lambda *_: np.eye(2), "no transform"),
        (lambda *_: "matrix", "no transform"),
    ],
)
def test_a_failure_stays_in_the_denominator_with_its_reason(tmp_path, method, says):
    rows = score(method, real("ab"), tmp_path, "m")
    assert all(r.failure.startswith(says) and not r.success and r.error is None for r in rows)
    (level, total) = summary(rows)
    assert (total.success, total.of, total.median) == (0, 2, np.inf) and level.of == 2


def test_interrupting_is_not_a_failure_and_the_run_goes_on_where_it_stood(tmp_path):
    asked = []

    def method(fixed, moving):
        asked.append(1)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return shift(10)

    with pytest.raises(KeyboardInterrupt):
        score(method, real("abcd"), tmp_path, "m")
    file = tmp_path / "m.jsonl"
    with file.open("ab") as f:
        f.write(b'{"method": "m", "trial": "\xc3')  # what a kill in the middle of writing leaves
    assert [r.pair for r in read_rows(tmp_path)] == ["a", "b"]
    new = []
    rows = score(method, real("abcd"), tmp_path, "m", each=new.append)
    assert [r.pair for r in rows] == list("abcd") and [r.pair for r in new] == ["c", "d"]
    assert read_rows(tmp_path) == rows and len(asked) == 5
    assert all(json.loads(line)["success"] for line in file.read_text().splitlines())


def test_rows_of_other_settings_are_not_taken_for_ones_own(tmp_path):
    score(lambda *_: shift(10), real("a"), tmp_path, "m", settings={"bins": 32})
    assert len(score(fails, real("a"), tmp_path, "m", settings={"bins": 32})) == 1
    with pytest.raises(InputError, match="other"):
        score(lambda *_: shift(10), real("a"), tmp_path, "m", settings={"bins": 50})


def test_what_cannot_be_kept_apart_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="one key"):
        score(fails, real("aa"), tmp_path / "out", "m")
    with pytest.raises(InputError, match="name"):
        score(fails, real("a"), tmp_path / "out", "../m")
    assert not (tmp_path / "out").exists()
    (tmp_path / "x.jsonl").write_text('{"method": 1}\n')
    with pytest.raises(InputError, match=r"x\.jsonl: line 1"):
        read_rows(tmp_path)


def test_drawn_trials_are_scored_with_their_draw(tmp_path):
    trials = drawn_trials({"a": lambda: (IMAGE, IMAGE)}, seed=1)
    rows = score(lambda *_: np.eye(3), trials, tmp_path, "nothing")
    assert [r.level for r in rows] == ["1", "2", "3", "4"]
    assert all(r.error == r.initial and 5 * int(r.level) > abs(r.angle or 99) for r in rows)
    assert rows[0].initial < rows[-1].initial


def test_cpu_seconds_count_this_process_and_its_children_but_not_waiting(tmp_path):
    spin = "import time\nwhile time.process_time() < 0.3: pass"

    def method(fixed, moving):
        time.sleep(0.3)
        subprocess.run([sys.executable, "-c", spin], check=True)
        until = time.process_time() + 0.2
        while time.process_time() < until:
            pass
        return shift(10)

    (outcome,) = score(method, real("a"), tmp_path, "m")
    assert outcome.cpu > 0.45 and outcome.wall > outcome.cpu + 0.2


def test_summary_counts_levels_totals_and_folds():
    rows = [row(1, "1", "A"), row(3, "1", "B"), row(1, "2", "A"), row(None, "2", "B"), row(1.5, "2", "B")]
    one, two, total, other = summary([*rows, row(8, method="other")])[:4]
    assert (one.level, one.success, one.of, one.median) == ("1", 1, 2, 2)
    assert (two.level, two.success, two.of, two.median) == ("2", 2, 3, 1.5)
    assert (total.level, total.success, total.of, total.cpu) == ("total", 3, 5, 1)
    # Fold A: 2 of 2; fold B: 1 of 3; population standard deviation of (1, 1/3).
    assert (total.folds, total.fold_mean) == (2, pytest.approx(2 / 3)) and total.fold_sd == pytest.approx(
        1 / 3
    )
    assert total.interval == pytest.approx((0.2307, 0.8824), abs=1e-4)  # Wilson, 3 of 5
    assert total.median_interval[0] == 1 and total.median_interval[1] > 1.5
    assert (other.method, other.fold_mean, other.folds) == ("other", None, 0)
