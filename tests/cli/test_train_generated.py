"""Training on images inflated by generated ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml


def stored(path: str, count: int, side: int = 8, channels: int = 1) -> str:
    rng = np.random.default_rng(count)
    np.savez(path, x=rng.integers(0, 255, (count, side, side, channels), np.uint8), y=np.arange(count) % 2)
    return path


TINY = [
    "--use", "method.encoder=convnet", "--method.encoder.width", "2", "--method.hidden", "4",
    "--method.dim", "3", "--method.views.size", "8", "--train.steps", "2", "--train.batch", "8",
]  # fmt: skip


def test_a_run_says_what_it_was_inflated_with(run):
    data, made = stored("real.npz", 6), stored("made.npz", 20, channels=3)
    ended = run(
        "train", "adainf", "--data", data, "--generated", made, "--times", 3, "-o", "run", "--json", *TINY
    )
    assert ended.code == 0, ended.err
    assert ended.answer["images"] == 3 * 6 + 20
    about = yaml.safe_load(Path("run/run.yaml").read_text())["settings"]["data"]
    assert about["generated"] == made and about["times"] == 3 and about["shape"] == [1, 8, 8]


def test_generated_images_have_no_labels_and_must_fit(refused):
    data, made = stored("real.npz", 6), stored("made.npz", 6, side=10)
    assert "expected label for supcon" in refused(
        "train", "supcon", "--data", data, "--generated", data, "-o", "run"
    )
    assert "expected images of (1, 8, 8)" in refused(
        "train", "adainf", "--data", data, "--generated", made, "-o", "run"
    )
