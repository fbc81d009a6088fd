from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from counterpoint.cli import train as module
from counterpoint.train.profile import HINTS

TINY = (
    "train", "simclr", "--data", "images.npy", "--use", "method.encoder=convnet",
    "--method.encoder.width", "2",
    "--method.hidden", "4", "--method.dim", "3", "--method.views.size", "8", "--train.batch", "8",
    "--train.steps",
)  # fmt: skip


@pytest.fixture(autouse=True)
def images(run):
    np.save("images.npy", np.random.default_rng(0).integers(0, 255, (24, 8, 8, 1), np.uint8))


def test_a_profile_names_the_slowest_stage_and_changes_no_bit(run):
    told = run(*TINY, "4", "-o", "one", "--profile")
    assert told.code == 0 and "Time of 3 updates (without the first" in told.out
    assert all(stage in told.out for stage in HINTS)
    found = json.loads(Path("one/profile.json").read_text())
    assert found["slowest"] in told.err and found["samples"] == 24
    plain = run(*TINY, "4", "-o", "two", "--json")
    assert (
        "slowest" not in plain.err and "profile" not in plain.answer and not Path("two/profile.json").exists()
    )
    for name in ("networks.safetensors", "checkpoint.safetensors", "run.yaml"):
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes()


def test_in_json_too_and_a_single_update_says_that_it_is_not_enough(run):
    told = run(*TINY, "2", "-o", "two", "--profile", "--json")
    assert told.answer["profile"] == json.loads(Path("two/profile.json").read_text())
    told = run(*TINY, "1", "-o", "one", "--profile", "--json")
    assert "--profile: expected two updates or more" in told.err and not Path("one/profile.json").exists()


def test_who_interrupts_a_run_sees_it(run, monkeypatch):
    fit = module.fit

    def interrupted(*args, **how):
        fit(*args, **how)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "fit", interrupted)
    told = run(*TINY, "3", "-o", "run", "--profile")
    assert told.code == 130 and "Time of 2 updates" in told.out and "slowest is" in told.err
