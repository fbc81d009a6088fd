from __future__ import annotations

import json
import math

import pytest
import torch

from counterpoint.core.networks import load_networks
from counterpoint.train import profile as module
from counterpoint.train.profile import HINTS, OFF, Stages
from counterpoint.train.record import PROFILE, open_run, read_log

BATCH = {"id": torch.arange(8)}


@pytest.fixture
def seconds(monkeypatch):
    """Sets the clock forward."""
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])

    def later(some: float) -> None:
        now[0] += some

    return later


def test_the_time_is_divided_among_the_stages_without_the_first_update(seconds):
    clock = Stages()
    seconds(50)  # before the first stage, and of none
    for update in range(3):
        for stage, some in (("reading", 1), ("views", 2), ("forward", 3), ("backward", 6), ("forward", 1)):
            clock(stage)
            seconds(some * (10 if update == 0 else 1))
        clock.updated([BATCH, BATCH])
    assert (clock.first, clock.updates, clock.samples) == (130, 2, 32)
    assert clock.rows() == [
        ("reading", 2, 2 / 26, 16), ("views", 4, 4 / 26, 8), ("forward", 8, 8 / 26, 4),
        ("backward", 12, 12 / 26, 32 / 12),
    ]  # fmt: skip
    assert clock.sentence() == f"slowest is 'backward' with 46% of the time: {HINTS['backward']}"
    plain = json.loads(json.dumps(clock.to_dict()))
    assert (
        plain["seconds"] == 26 and plain["samples_per_second"] == 1.2 and plain["first_update_seconds"] == 130
    )
    assert plain["stages"]["forward"] == {"seconds": 8, "share": 0.3077, "samples_per_second": 4}


@pytest.mark.parametrize("stage", HINTS)
def test_each_stage_can_be_the_slowest_and_has_a_hint(seconds, stage):
    clock = Stages()
    clock.updated([BATCH])
    clock(stage)
    seconds(1)
    clock.updated([BATCH])
    assert clock.sentence().startswith(f"slowest is '{stage}' with 100% of the time: ")


def test_one_update_says_nothing_and_a_clock_that_is_off_never_does(seconds):
    clock = Stages()
    for each in (clock, OFF):
        each("views")
        seconds(1)
        each.updated([BATCH])
    assert clock.first == 1 and clock.rows() == [] and clock.sentence() == ""
    assert clock.to_dict()["samples_per_second"] == 0
    assert OFF.first is None and OFF.seconds == {}


@pytest.mark.parametrize("kind", ["toy_pair", "toy_game"])
def test_a_run_is_the_same_with_a_profile_and_without(run, tmp_path, kind):
    clock = Stages()
    one, _ = run(tmp_path / "one", kind, fit_with={"profile": clock})
    other, _ = run(tmp_path / "other", kind)
    assert all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )
    for name in ("networks.safetensors", "checkpoint.safetensors", "run.yaml"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    assert not (tmp_path / "other" / PROFILE).exists()
    found = json.loads((tmp_path / "one" / PROFILE).read_text())
    assert found == clock.to_dict()
    assert (
        found["updates"] == 11 and found["samples"] == 4 * 10 - 4
    )  # batches of 4, 4 and 2, without the first
    assert set(found["stages"]) == set(HINTS) and found["slowest"] == clock.sentence()
    assert math.isclose(sum(s["share"] for s in found["stages"].values()), 1, abs_tol=1e-3)
    log = read_log(tmp_path / "one")
    assert found["seconds"] + found["first_update_seconds"] < log[-1]["seconds"] + 1


def test_it_is_no_part_of_the_run(run, tmp_path):
    """An interrupted run keeps what was found, goes on without, and begins anew without what is old."""

    def report(at, line):
        if at.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", fit_with={"report": report, "profile": Stages()})
    _, summary = run(tmp_path / "run", fit_with={"profile": (clock := Stages())})
    assert summary.resumed_from == 4 and clock.updates == 7 and (tmp_path / "run" / PROFILE).is_file()
    _, summary = run(tmp_path / "run", fit_with={"profile": (clock := Stages())})
    assert summary.already_done and clock.first is None
    whole, _ = run(tmp_path / "whole")
    assert all(
        torch.equal(a, b)
        for role, network in load_networks(tmp_path / "run").items()
        for a, b in zip(network.state_dict().values(), whole.network(role).state_dict().values(), strict=True)
    )
    with open_run(tmp_path / "run", {}, 0, resume=False):
        assert not (tmp_path / "run" / PROFILE).exists()
