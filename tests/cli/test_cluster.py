"""Two workers of a real local cluster; one is killed while it writes, or the command is."""

from __future__ import annotations

import csv
import json
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from counterpoint.cli.main import main
from counterpoint.core.cluster import DIED, _done, _Here, connected
from counterpoint.core.errors import InputError
from counterpoint.core.networks import save_networks
from counterpoint.core.rooms import opened, own
from counterpoint.data.read import read_image
from counterpoint.encoders.convnet import ConvNet
from counterpoint.registration import aligned
from counterpoint.registration.transform import Transform

pytest.importorskip("distributed", reason="the extra dask is not installed")

OBEYS = """
import os, signal, time
from contextlib import suppress
from glob import glob
from pathlib import Path

def dask_setup(worker):
    before = os.fsync

    def fsync(file):  # what brings every file to the disk that is written aside
        with suppress(FileNotFoundError):  # or another one was faster
            os.unlink({orders!r} + "/die")
            os.kill(os.getpid(), signal.SIGKILL)
        with suppress(FileNotFoundError):
            while glob(Path({orders!r}, "wait").read_text()):
                time.sleep(0.01)
        return before(file)

    os.fsync = fsync
"""
"""Runs in every worker: who finds "die" first, dies; while there is what "wait" names, none writes more."""
FEW = ("--angles", "-20", "20", "--report", "no")
MODULES = ("counterpoint.cli.register", "counterpoint.cli.embed", "SimpleITK", "skimage.feature")


@pytest.fixture(scope="module")
def orders(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("orders")


@pytest.fixture(scope="module")
def local(orders) -> Iterator[Any]:
    """A scheduler with two workers of one thread, each with a nanny who starts it anew."""
    from dask import config
    from distributed import LocalCluster
    from distributed.utils import get_mp_context

    script = orders / "obeys.py"
    script.write_text(OBEYS.format(orders=str(orders)))
    with config.set({"distributed.worker.multiprocessing-method": "forkserver"}):  # imports once for all
        get_mp_context().set_forkserver_preload(["distributed", *MODULES])
        with LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", preload=[str(script)]
        ) as local:
            yield local


@pytest.fixture
def cluster(local) -> str:
    """The scheduler's address."""
    return local.scheduler_address


@pytest.fixture
def pairs(scene, gray, save) -> Path:
    """A table of four pairs, one of them of a file that is no image."""
    lines = ["name,fixed,moving"]
    for i in range(4):
        fixed, moving, _ = scene(i, side=48)
        save(f"in/f{i}.png", gray(fixed))
        save(f"in/m{i}.png", gray(moving))
        lines.append(f"pair {i},f{i}.png,m{i}.png")
    Path("in/m2.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    Path("in/pairs.csv").write_text("\n".join(lines))
    return Path("in/pairs.csv")


@pytest.fixture
def parts() -> tuple[Path, Path]:
    """A run and data for 12 parts of 12."""
    torch.manual_seed(0)
    Path("run").mkdir()
    save_networks(Path("run/networks.safetensors"), {"image": ConvNet.Config(channels=1).build()})
    rng = np.random.default_rng(0)
    np.savez("a.npz", image=rng.integers(0, 255, (144, 32, 32), np.uint8), label=np.arange(144) % 7)
    return Path("run"), Path("a.npz")


@pytest.fixture(params=["register", "embed"])
def words(request) -> tuple[object, ...]:
    """A command that writes into the folder "out", with absolute paths."""
    if request.param == "register":
        table = request.getfixturevalue("pairs")
        return "register", "--pairs", table.absolute(), "-o", Path("out").absolute(), *FEW
    run, data = request.getfixturevalue("parts")
    sizes = ("--part", "12", "--batch", "8")
    return "embed", run.absolute(), data.absolute(), "-o", Path("out").absolute(), *sizes


def contents(folder: Path) -> dict[str, object]:
    """File → what it holds, but for how long it took."""
    found: dict[str, object] = {}
    for file in filter(Path.is_file, folder.rglob("*")):
        name = str(file.relative_to(folder))
        found[name] = file.read_bytes()
        if file.name == "result.json":
            found[name] = json.loads(file.read_text()) | {"seconds": 0}
        elif file.suffix == ".csv":
            with file.open(newline="") as f:
                found[name] = [row | {"seconds": 0} for row in csv.DictReader(f)]
    return found


def alone(run, words) -> dict[str, object]:
    """What the command writes without a cluster, which is taken away."""
    run(*words)
    Path("out").rename("alone")
    return contents(Path("alone"))


def until(what: Callable[[], object]) -> None:
    end = time.monotonic() + 90
    while not what():
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.01)


def test_a_worker_that_dies_while_it_writes_changes_nothing(run, words, cluster, orders):
    expected = alone(run, words)
    (orders / "die").touch()
    ended = run(*words, "--cluster", cluster, "--json")
    assert not (orders / "die").exists()  # it was obeyed
    assert contents(Path("out")) == expected and f"workers at {cluster}: " in ended.err
    again = run(*words, "--cluster", cluster, "--json")
    assert contents(Path("out")) == expected and again.code == ended.code
    if words[0] == "register":
        assert ended.code == 1 and ended.answer["failed"] == ["pair 2"] and "[4/4] pair " in ended.err
        assert ended.err.count("failed: ") == ended.err.count("m2.png: expected a whole PNG image") == 1
        assert again.err.count("already done") == 3
    else:
        assert ended.code == 0 and "[12/12] 12 samples" in ended.err
        assert (ended.answer["made"], again.answer["made"]) == (12, 0)


def test_a_command_that_is_killed_goes_on_with_what_is_missing(run, words, cluster, orders):
    expected = alone(run, words)
    last = "*/result.json" if words[0] == "register" else "part-*.z.npy"
    pattern = Path("out").absolute() / last
    (orders / "wait").write_text(str(pattern))  # what is done when one is there, are two at the most
    killed = multiprocessing.get_context("forkserver").Process(
        target=main, args=([str(word) for word in (*words, "--cluster", cluster)],)
    )
    killed.start()
    try:
        until(lambda: list(Path("out").glob(last)))
    finally:
        killed.kill()
        killed.join()
        kept = {f: f.stat().st_mtime_ns for f in Path("out").glob(last)}
        (orders / "wait").unlink()
    assert 0 < len(kept) < (3 if words[0] == "register" else 12)
    run(*words, "--cluster", cluster)  # while the workers end what they were at
    assert contents(Path("out")) == expected
    assert all(f.stat().st_mtime_ns == then for f, then in kept.items())


def test_what_its_workers_die_of_is_given_up(run, words, local, orders):
    local.scheduler.allowed_failures, before = 0, local.scheduler.allowed_failures
    (orders / "die").touch()
    ended = run(*words, "--cluster", local.scheduler_address, "--json")
    local.scheduler.allowed_failures = before
    assert not (orders / "die").exists() and ended.code == 1
    if words[0] == "register":  # the others are done
        errors = [row["error"] for row in ended.answer["pairs"]]
        assert [bool(error) for error in errors].count(True) == 2 and errors.count(DIED) == 1
    else:
        assert ended.sentence.endswith(f".z.npy: {DIED}")


def test_a_scheduler_that_dies_is_one_sentence_and_dask_says_nothing(run, pairs, caplog):
    from dask import config
    from distributed import LocalCluster

    short = config.set({"distributed.comm.timeouts.connect": "100ms"})
    with short, LocalCluster(n_workers=0, processes=True, dashboard_address=":0") as lonely:
        scheduler = lonely.scheduler

        def end() -> None:
            until(lambda: scheduler.tasks)  # the command waits for a worker
            lonely.sync(scheduler.close)

        ending = threading.Thread(target=end)
        ending.start()
        ended = run("register", "--pairs", pairs, "-o", "out", "--cluster", lonely.scheduler_address)
        ending.join()
    assert ended.code == 1 and ended.err.splitlines()[0].endswith(": none yet, waiting for one")
    assert ended.sentence == "the cluster: its scheduler is gone, or dropped what it was given"
    assert not [record for record in caplog.records if record.name == "distributed.client"]


def test_strips_of_a_large_image_come_from_the_workers_and_one_dies(run, local, orders, save, monkeypatch):
    """As they come without a cluster, bit by bit."""
    noise = np.random.default_rng(0).integers(0, 255, (1100, 40, 3), np.uint8)
    moving = read_image(save("moving.tif", noise))
    turn = Transform(np.array([[0.9, -0.2, 9.0], [0.3, 1.1, -4.0], [0, 0, 1.0]]), "affine")
    aligned.write_aligned(Path("alone.ome.tif"), moving, turn, moving.grid)
    monkeypatch.setattr(aligned, "LARGE", 1)
    Path("out").mkdir()
    Path("out/.strips-left").mkdir()
    (orders / "die").touch()
    with connected(local.scheduler_address, lambda _: None) as cluster:
        aligned.write_aligned(Path("out/a.ome.tif"), moving, turn, moving.grid, cluster=cluster)
    assert not (orders / "die").exists() and [f.name for f in Path("out").iterdir()] == ["a.ome.tif"]
    assert Path("out/a.ome.tif").read_bytes() == Path("alone.ome.tif").read_bytes()


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("nothing", "nothing: expected tcp://HOST:PORT or the file of a dask scheduler, found: No such file"),
        ("in/pairs.csv", "in/pairs.csv: expected the file of a dask scheduler, found something else"),
        ("x://y", "x://y: expected a dask scheduler that answers, found: unknown address scheme"),
        ("tcp://127.0.0.1:1", "expected a dask scheduler that answers, found: Timed out"),
    ],
)
def test_no_scheduler_is_one_sentence_and_nothing_is_written(refused, pairs, address, says):
    from dask import config

    with config.set({"distributed.comm.timeouts.connect": "100ms"}):
        assert says in refused("register", "--pairs", pairs, "-o", "out", "--cluster", address)


def test_flags_that_do_not_go_with_a_cluster(refused, parts):
    words = ("embed", *parts, "--cluster", "tcp://127.0.0.1:1", "-o")
    assert "a folder of parts to write, found the file z.npz" in refused(*words, "z.npz")
    assert "--jobs: expected none beside --cluster" in refused(*words, "z", "--jobs", "2")


def test_a_worker_that_does_not_see_the_same_says_so(tmp_path):
    mark = tmp_path / "mark"
    good = _Here(tmp_path, mark, (), version("counterpoint"))
    with pytest.raises(InputError, match=rf"expected the same folder {tmp_path} as here, found another one"):
        _done(str, 1, good)
    mark.touch()
    assert _done(str, 1, good) == "1"
    with pytest.raises(InputError, match=r"expected counterpoint 0\.0 as here, found"):
        _done(str, 1, replace(good, version="0.0"))
    with pytest.raises(InputError, match=r"expected the folder .*/no, which all must see, found nothing"):
        _done(str, 1, replace(good, folder=tmp_path / "no"))


def test_a_worker_has_the_folders_of_the_users_own_methods(tmp_path):
    mine = (tmp_path / "mine").resolve()
    mine.mkdir()
    (mine / "other.py").write_text("class Other:\n    class Config: ...\n")
    with opened([mine]):
        assert own() == (mine,)
    (tmp_path / "mark").touch()
    here = _Here(tmp_path, tmp_path / "mark", (mine,), version("counterpoint"))
    assert _done(lambda _: own(), None, here) == (mine,) and own() == ()


def test_without_dask_it_says_what_to_install(refused, pairs, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    said = refused("register", "--pairs", pairs, "-o", "out", "--cluster", "tcp://127.0.0.1:1")
    assert said == '--cluster: expected dask, found none; pip install "counterpoint[dask]"'
