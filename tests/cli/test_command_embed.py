"""Embedding in parts: many processes, stopped and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from counterpoint.cli.main import run
from counterpoint.core.networks import save_networks
from counterpoint.encoders.convnet import ConvNet
from counterpoint.tasks.parts import read_parts


@pytest.fixture
def trained(tmp_path):
    torch.manual_seed(0)
    (tmp_path / "run").mkdir()
    save_networks(tmp_path / "run" / "networks.safetensors", {"image": ConvNet.Config(channels=1).build()})
    return tmp_path / "run"


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "a.npz", image=rng.integers(0, 255, (480, 32, 32), np.uint8), label=np.arange(480) % 7
    )
    return tmp_path / "a.npz"


def contents(folder):
    return {f.name: f.read_bytes() for f in folder.iterdir()}


def test_killed_in_the_middle_of_two_processes_it_goes_on_to_the_same_bits(trained, data, tmp_path, capsys):
    words = ["embed", str(trained), str(data), "--part", "12", "--batch", "8", "-o"]
    assert run([*words, str(tmp_path / "whole"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["samples"], answer["parts"], answer["made"], answer["labels"]) == (480, 40, 40, True)
    killed = tmp_path / "killed"
    command = [sys.executable, "-c", "from counterpoint.cli.main import main; main()", *words]
    process = subprocess.Popen(
        [*command, str(killed), "--jobs", "2"], start_new_session=True, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 120
        while not list(killed.glob("part-*.z.npy")) and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.005)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    there = set(killed.glob("part-*.z.npy"))
    kept = {f: f.stat().st_mtime_ns for f in there}
    assert 0 < len(there) < 40
    assert run([*words, str(killed), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["made"] == 40 - len(there)
    assert f"{len(there)} of 40 parts were made before" in captured.err
    assert contents(killed) == contents(tmp_path / "whole")
    assert all(f.stat().st_mtime_ns == then for f, then in kept.items())
    assert torch.cat([p.id for p in read_parts(killed)]).tolist() == list(range(480))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["-o", "x", "--part", "0"], "--part: expected at least 1, found 0"),
        (["-o", "x", "--jobs", "-1"], "--jobs: expected no negative number, found -1"),
        (["-o", "x", "--cache", "y"], "--cache: expected a file to write"),
        (["-o", "x.csv"], "ends in .npz or .parquet, found '.csv'"),
        (["-o", "x", "--role", "fixed"], "unknown role"),
    ],
)
def test_a_wrong_flag_is_one_sentence_and_writes_nothing(
    more, says, trained, data, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert run(["embed", str(trained), str(data), *more]) == 2
    assert says in capsys.readouterr().err.strip().splitlines()[-1] and sorted(tmp_path.rglob("*")) == before
