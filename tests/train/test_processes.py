"""Several processes do what one does: asked of every method, and of whole runs."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file

from counterpoint.core.errors import InputError, WorkError
from counterpoint.core.method import MethodConfig
from counterpoint.data.digits import digits
from counterpoint.train.config import TrainConfig
from counterpoint.train.loop import fit, fresh
from counterpoint.train.optim import OptimConfig
from counterpoint.train.record import read_log
from counterpoint.train.team import Team

FILE = Path(__file__).parent / "rooms" / "together.py"


def _together() -> ModuleType:
    spec = importlib.util.spec_from_file_location("together", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


together = _together()


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> list[dict[str, torch.Tensor]]:
    """What each of four processes had in the end."""
    folder = tmp_path_factory.mktemp("together")
    subprocess.run([sys.executable, str(FILE), str(folder)], check=True, timeout=900)
    return [load_file(folder / f"{rank}.safetensors") for rank in range(together.COUNT)]


@pytest.mark.parametrize("kind", together.KINDS)
def test_two_and_four_processes_do_what_one_does(kind, found):
    alone = together.outcome(kind)
    for size in (2, 4):
        start = f"{size}/{kind}/"
        each = [{k.removeprefix(start): v for k, v in f.items() if k.startswith(start)} for f in found]
        each = [outcome for outcome in each if outcome]
        assert len(each) == size
        for outcome in each:
            expected = {k: v for k, v in alone.items() if size == 2 or k.split()[1] == "0"}
            assert outcome.keys() == expected.keys()
            together.check_same(expected, outcome)


def test_shares_are_contiguous_and_differ_by_one_at_most():
    teams = [Team(rank, 4) for rank in range(4)]
    for rows in range(12):
        sizes = teams[0].shares(rows)
        assert sizes == [len(part) for part in torch.arange(rows).tensor_split(4)]
        owned = torch.cat([torch.arange(rows)[team.own(sizes)] for team in teams])
        assert torch.equal(owned, torch.arange(rows))


class Stop(Exception):
    """Ends a run from its report."""


@pytest.fixture(scope="module")
def data():
    return digits("train", size=16).subset(torch.arange(30))


def train(data, folder, processes=1, report=None, **changes):
    settings = {
        "kind": "moco", "encoder": {"kind": "convnet", "channels": 1, "width": 4}, "hidden": 8, "dim": 8,
        "queue": 16, "views": {"size": 16},
    }  # fmt: skip
    method = fresh(MethodConfig.from_dict(settings), 0)
    optim = OptimConfig(name="sgd", lr=0.1)
    config = TrainConfig(
        epochs=2, batch=7, device="cpu", optim=optim, save_every=3, processes=processes, **changes
    )
    return method, fit(method, data, config, folder, report=report, progress=False)


def test_a_run_of_two_processes_is_that_of_one_and_is_resumed_by_one(data, tmp_path):
    """Two processes are interrupted after the fourth update of eight; one goes on."""
    alone, whole = train(data, tmp_path / "alone")

    def interrupt(at, line) -> None:
        if at.step + 1 == 4:
            os.kill(os.getpid(), signal.SIGINT)
        assert len(multiprocessing.active_children()) == 1

    threads = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path / "run", 2, interrupt, shard=True)
    assert not multiprocessing.active_children() and torch.get_num_threads() == threads
    assert not torch.distributed.is_initialized()
    resumed, summary = train(data, tmp_path / "run")
    assert (whole.steps, summary.steps, summary.resumed_from) == (8, 8, 5)
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=1e-4, atol=1e-5, msg=name)
    losses = [[line["loss"] for line in read_log(tmp_path / name)] for name in ("alone", "run")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_process_that_is_killed_ends_the_run_with_a_sentence(data, tmp_path):
    """One process makes four updates, two go on from its checkpoint; ctrl-C is not all that can happen."""

    def stop(at, line) -> None:
        if at.step + 1 == 4:
            raise Stop

    def kill(at, line) -> None:
        if at.step + 1 == 5:
            (other,) = multiprocessing.active_children()
            other.kill()
            other.join()

    with pytest.raises(Stop):
        train(data, tmp_path, report=stop)
    with pytest.raises(WorkError, match=r"last checkpoint stays: process 2 of 2 was killed \(signal 9\)"):
        train(data, tmp_path, 2, kill)
    assert [line["step"] for line in read_log(tmp_path)] == [1, 2, 3, 4, 5]
    assert not multiprocessing.active_children()
    _, summary = train(data, tmp_path)
    assert summary.resumed_from == 3 and not summary.already_done


def test_what_cannot_be_sent_is_named(data, tmp_path):
    class Locked:
        provides, lock = data.provides, threading.Lock()

        def __getattr__(self, name):
            return getattr(data, name)

        def __len__(self):
            return len(data)

    with pytest.raises(InputError, match=r"train\.processes: expected data that can be sent to a process"):
        train(Locked(), tmp_path, 2)
    assert not multiprocessing.active_children()


def test_pieces_of_a_network_with_batch_statistics_are_refused_before_anything_is_written(data, tmp_path):
    with pytest.raises(InputError, match=r"train\.chunk: expected a network without statistics of the batch"):
        train(data, tmp_path / "run", chunk=4)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["processes", "chunk"])
def test_numbers_out_of_range_are_refused(name):
    with pytest.raises(InputError, match=f"train.{name}: expected"):
        TrainConfig.from_dict({name: -1})
