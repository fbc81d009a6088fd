"""Images: train a method, ask the run what it learned."""

from __future__ import annotations

import json

import numpy as np
import pytest

from counterpoint.cli.main import run

TINY = [
    "--use", "method.encoder=convnet", "--method.encoder.width", "4", "--method.hidden", "8",
    "--method.dim", "4",
    "--train.steps", "2", "--train.batch", "8",
]  # fmt: skip


def data(path, labels=True):
    rng = np.random.default_rng(0)
    arrays = {"image": rng.integers(0, 255, (40, 16, 16), np.uint8)}
    np.savez(path, **arrays, **({"label": np.arange(40) % 4} if labels else {}))
    return str(path)


def answer(capsys, argv, code=0):
    assert run([*argv, "--json"]) == code
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def trained(tmp_path, capsys):
    found = answer(
        capsys, ["train", "simclr", "--data", data(tmp_path / "a.npz"), "-o", str(tmp_path / "run"), *TINY]
    )
    assert found["steps"] == 2 and found["images"] == 40
    return found["run"]


@pytest.mark.parametrize("task", ["knn", "linear_probe", "retrieval", "clustering", "geometry"])
def test_a_run_answers_tasks_with_finite_numbers(task, trained, tmp_path, capsys):
    found = answer(
        capsys, ["score", trained, task, "--data", str(tmp_path / "a.npz"), "-o", str(tmp_path / "s")]
    )
    assert found["train"] + found["test"] == 40 and found["scores"]
    assert all(np.isfinite(v) for v in found["scores"].values())
    assert json.loads((tmp_path / "s" / f"{task}.json").read_text()) == found


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["knm", "--data", "digits"], "knn"),
        (["knn"], "--data"),
        (["knn", "--data", "digitz"], "digits"),
        (["knn", "--data", "digits", "--task.role", "fixed"], "role"),
    ],
)
def test_a_wrong_question_is_one_sentence_and_writes_nothing(argv, says, trained, tmp_path, capsys):
    out = tmp_path / "s"
    assert run(["score", trained, *argv, "-o", str(out)]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("counterpoint: ") and says in said and not out.exists()


def test_labels_that_a_method_needs_must_be_there(tmp_path, capsys):
    source = data(tmp_path / "bare.npz", labels=False)
    assert run(["train", "supcon", "--data", source, "-o", str(tmp_path / "run"), *TINY]) == 2
    assert "label" in capsys.readouterr().err and not (tmp_path / "run").exists()
