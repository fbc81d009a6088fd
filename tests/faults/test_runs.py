"""What befalls a training: it goes on to the same bits, or one sentence says why; a checkpoint is whole."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from counterpoint.core.errors import InputError, WorkError
from counterpoint.core.files import output_folder
from counterpoint.core.grid import Grid
from counterpoint.core.networks import load_networks
from counterpoint.core.tensors import read_tensors, write_tensors
from counterpoint.data.folder import Files
from counterpoint.data.image import Image
from counterpoint.data.write import write_image
from counterpoint.train import checkpoint
from counterpoint.train.record import open_run, read_log, read_run

resource = pytest.importorskip("resource")  # these tests limit files and kill processes as Unix does
FILES = ["checkpoint.safetensors", "lock", "log.jsonl", "networks.safetensors", "run.yaml"]


def bits(folder: Path) -> dict[str, Any]:
    """All that a run leaves, but for the seconds it took."""
    assert sorted(p.name for p in folder.iterdir()) == FILES
    log = [{k: v for k, v in line.items() if k != "seconds"} for line in read_log(folder)]
    weights = {name: (folder / name).read_bytes() for name in (FILES[0], FILES[3])}
    return {"log": log, "settings": read_run(folder)} | weights


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """The folder of ``victim.py``, and what its children said: (where, exit code, sentence)."""
    folder = tmp_path_factory.mktemp("victims")
    command = [sys.executable, str(Path(__file__).with_name("victim.py")), str(folder)]
    done = subprocess.run(command, check=True, timeout=900, capture_output=True, text=True)
    return folder, [tuple(json.loads(line)) for line in done.stdout.splitlines()]


@pytest.fixture
def whole(story):
    """What the training leaves that nothing befell."""
    return bits(story[0] / "whole")


def test_killed_at_any_write_a_training_goes_on_to_the_same_bits(story, whole):
    folder, said = story
    ends = {where: code for where, code, _ in said if where.startswith("kill-")}
    count = sum(code == -signal.SIGKILL for code in ends.values())
    assert count >= 18 and ends[f"kill-{count}"] == 0  # one event more than there are: nothing befell it
    for k in range(count):
        assert ends[f"kill-{k}, again"] == 0, said
        assert bits(folder / f"kill-{k}") == whole, f"killed at event {k}"


def test_on_a_full_disk_a_training_says_so_and_goes_on_when_there_is_room(story, whole):
    folder, said = story
    sentences = [sentence for where, code, sentence in said if where.startswith("full-") and code == 1]
    assert len(sentences) >= 4
    for sentence in sentences:
        assert sentence.endswith("could not be written: No space left on device") and "\n" not in sentence
    assert {Path(s.partition(":")[0]).name for s in sentences} >= {
        "run.yaml",
        "log.jsonl",
        "checkpoint.safetensors",
    }
    for where, code, _ in said:
        if where.startswith("full-") and where.endswith(", again"):
            assert code == 0
            assert bits(folder / where.partition(",")[0]) == whole


def test_killed_again_and_again_a_training_ends_with_the_same_bits(story, whole):
    folder, said = story
    assert {code for where, code, _ in said if where == "random"} <= {0, -signal.SIGKILL}
    assert bits(folder / "random") == whole


def test_where_the_system_refuses_to_write_on_the_last_checkpoint_stays(victim, tmp_path, whole):
    def limit(at, line):
        if at.step == 4:  # after the checkpoint of step 4; the log fits, the next checkpoint does not
            resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(
            WorkError, match=r"checkpoint\.safetensors: .* could not be written: File too large"
        ):
            victim.train(tmp_path / "run", report=limit)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    tensors, header = read_tensors(tmp_path / "run" / checkpoint.FILE, checkpoint.FORMAT)
    assert header["step"] == 4 and tensors
    assert victim.train(tmp_path / "run").resumed_from == 4
    assert bits(tmp_path / "run") == whole


def test_a_folder_that_cannot_be_written_to_is_refused_and_left_alone(victim, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o555)

    def work() -> None:
        os.chdir(tmp_path)
        if os.geteuid() == 0:  # who may write anywhere
            tmp_path.chmod(0o755)
            os.setresuid(65534, 65534, 65534)
        output_folder("locked/run")

    code, said = victim.in_child(work)
    assert code == 2 and said.endswith("a folder that can be written to, found: Permission denied")
    assert not list(locked.iterdir())


def test_a_run_whose_folder_is_removed_or_replaced_stops_and_touches_no_other(victim, tmp_path, whole):
    def remove(at, line):
        if at.step == 1:
            shutil.rmtree(tmp_path / "run")

    with pytest.raises(WorkError, match="expected the folder of this run, found it removed or replaced"):
        victim.train(tmp_path / "run", report=remove)
    assert not (tmp_path / "run").exists()

    def replace(at, line):
        if at.step == 1:
            shutil.rmtree(tmp_path / "run")
            victim.train(tmp_path / "run")  # another run, in a folder of the same name

    with pytest.raises(WorkError, match="removed or replaced"):
        victim.train(tmp_path / "run", report=replace, seed=4)
    assert bits(tmp_path / "run") == whole


def test_two_runs_in_one_folder_are_refused_while_one_is_at_work(victim, tmp_path, whole):
    def other(at, line):
        if at.step == 2:
            for resume in (True, False):
                with pytest.raises(InputError, match="found another run at work in it"):
                    victim.train(tmp_path / "run", resume=resume)

    victim.train(tmp_path / "run", report=other)
    assert bits(tmp_path / "run") == whole


def test_clocks_that_go_backwards_change_nothing(victim, tmp_path, monkeypatch, whole):
    now = [4e9]

    def backwards() -> float:
        now[0] -= 3600
        return now[0]

    monkeypatch.setattr(time, "time", backwards)
    victim.train(tmp_path / "run")
    assert bits(tmp_path / "run") == whole
    seconds = [line["seconds"] for line in read_log(tmp_path / "run")]
    assert seconds == sorted(seconds) and seconds[0] >= 0


class Faulty:
    """The images of the training, but for a batch that goes wrong."""

    def __init__(self, data, wrong) -> None:
        self.data, self.wrong, self.count = data, wrong, 0
        self.provides, self.steps = data.provides, data.steps

    def __len__(self) -> int:
        return len(self.data)

    def epoch(self, size, rng, start=0):
        for batch in self.data.epoch(size, rng, start):
            self.count += 1
            yield self.wrong(batch) if self.count == 6 else batch


def nan(batch):
    batch["image"][2, 1, 3, 3] = float("nan")
    return batch


def dies(batch):
    raise InputError("b.png: expected a whole PNG image, found one that cannot be decoded")


@pytest.mark.parametrize(("wrong", "error"), [(nan, WorkError), (dies, InputError)])
def test_a_bad_batch_is_said_spoils_no_checkpoint_and_is_made_good(victim, tmp_path, whole, wrong, error):
    with pytest.raises(error) as caught:
        victim.train(tmp_path / "run", Faulty(victim.images(), wrong))
    said = str(caught.value)
    assert "\n" not in said and ("b.png" in said or "training failed at step 6 of 6: the term '" in said)
    tensors, header = read_tensors(tmp_path / "run" / checkpoint.FILE, checkpoint.FORMAT)
    assert header["step"] == 4 and all(t.isfinite().all() for t in tensors.values())
    assert victim.train(tmp_path / "run").resumed_from == 4
    assert bits(tmp_path / "run") == whole


def test_a_gradient_that_explodes_where_the_loss_does_not_is_said_before_it_moves_a_weight(victim, tmp_path):
    method = victim.fresh(victim.MethodConfig.from_dict(victim.METHOD), 3)
    before = {name: weight.clone() for name, weight in method.named_parameters()}
    next(p for p in method.parameters() if p.requires_grad).register_hook(lambda g: g * torch.inf)
    config = victim.TrainConfig.from_dict(victim.TRAIN)
    with pytest.raises(WorkError, match=r"failed at step 1 of 6: the gradient is (nan|inf); the last"):
        victim.fit(method, victim.images(), config, tmp_path / "run", progress=False)
    assert all(torch.equal(weight, before[name]) for name, weight in method.named_parameters())


def test_weights_that_explode_are_never_saved(victim, tmp_path):
    wild = {"optim": {"name": "sgd", "lr": 3e38, "schedule": "constant", "warmup": 0.0}, "save_every": 1}
    with pytest.raises(WorkError, match=r"training failed at step .*smaller learning rate") as caught:
        victim.train(tmp_path / "run", **wild)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "networks.safetensors").exists()
    for file in (tmp_path / "run").glob("*.safetensors"):
        tensors, _ = read_tensors(file, checkpoint.FORMAT)
        assert all(t.isfinite().all() for t in tensors.values())


def test_a_weight_that_is_not_finite_is_never_saved(tmp_path):
    class Unscaled:
        def state_dict(self):
            return {}

        def load_state_dict(self, state_dict):
            pass

    network = torch.nn.Linear(2, 2)
    state, file = checkpoint.State(network, {}, Unscaled()), tmp_path / checkpoint.FILE
    checkpoint.save(file, state, 4, {})
    before = file.read_bytes()
    with torch.no_grad():
        network.bias[1] = torch.inf
    with pytest.raises(
        WorkError, match=r"failed at step 5: bias is no longer finite; the last checkpoint stays"
    ):
        checkpoint.save(file, state, 5, {})
    assert file.read_bytes() == before


def test_a_file_that_goes_bad_in_the_middle_is_named_and_the_run_goes_on_when_it_is_back(
    victim, tmp_path, monkeypatch
):
    monkeypatch.setattr("counterpoint.data.folder.MEMORY", 0)  # as if they were too many to be kept
    for i, image in enumerate(victim.images().image):
        array = (image * 255).byte().permute(1, 2, 0).numpy()
        write_image(tmp_path / f"{i:02}.png", Image(array, Grid((8, 8))))
    files = sorted(tmp_path.glob("*.png"))
    often = {"save_every": 3}
    victim.train(tmp_path / "at once", Files(files, workers=0), **often)

    def spoil(at, line):
        if at.step == 2:  # the end of an epoch: all are read again
            files[7].rename(tmp_path / "away")
            files[7].write_bytes(b"\x89PNG\r\n\x1a\n")

    with pytest.raises(InputError, match=r"07\.png: expected a whole PNG image"):
        victim.train(tmp_path / "run", Files(files), report=spoil, **often)  # read by threads
    (tmp_path / "away").replace(files[7])
    assert victim.train(tmp_path / "run", Files(files), **often).resumed_from == 3
    assert bits(tmp_path / "run") == bits(tmp_path / "at once")


def test_what_a_power_failure_leaves_at_the_end_of_a_log_is_dropped(victim, tmp_path, whole):
    class Stop(Exception):
        pass

    def stop(at, line):
        if at.step == 4:
            raise Stop

    with pytest.raises(Stop):
        victim.train(tmp_path / "run", report=stop)
    log = tmp_path / "run" / "log.jsonl"
    log.write_bytes(log.read_bytes() + bytes(40) + b"\n" + b'{"step": 6, "loss": 1}\n' + bytes(20))
    with pytest.raises(InputError, match="in line 3"):  # who only reads is told
        read_log(tmp_path / "run")
    assert victim.train(tmp_path / "run").resumed_from == 4
    assert bits(tmp_path / "run") == whole
    lines = log.read_bytes().splitlines(keepends=True)
    with open_run(tmp_path / "run", read_run(tmp_path / "run")["settings"], 3) as run:
        log.write_bytes(b"damage\n" + b"".join(lines[1:]))
        with pytest.raises(InputError, match="in line 1"):  # before what is kept: it must not be lost unsaid
            run.rewind(6)


NEWER = (
    "train.chunk", "train.checkpoint", "train.processes", "train.monitor", "train.optim.trust",
    "train.optim.sam", "train.optim.scale", "method.views.flip", "method.momentum",
)  # fmt: skip
"""Settings as if they were new: all of the training's have their defaults but the last."""


def older(folder: Path, names: tuple[str, ...] = NEWER, **more: Any) -> None:
    """Make a run one of a version without these settings, or with more of them."""
    tensors, header = read_tensors(folder / checkpoint.FILE, checkpoint.FORMAT)
    whole = read_run(folder)
    for settings in (header["settings"], whole["settings"]):
        for name in names:
            *tables, last = name.split(".")
            table = settings
            for each in tables:
                table = table[each]
            del table[last]
        settings["train"] |= more
    write_tensors(folder / checkpoint.FILE, tensors, checkpoint.FORMAT, header)
    (folder / "run.yaml").write_text(yaml.safe_dump(whole))


@pytest.fixture
def stopped(victim, tmp_path):
    """A run after its first checkpoint."""

    def stop(at, line):
        if at.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        victim.train(tmp_path / "run", report=stop)
    return tmp_path / "run"


def test_a_run_of_an_older_version_whose_settings_had_fewer_names_goes_on(victim, stopped, whole):
    older(stopped, NEWER[:-1])
    assert victim.train(stopped).resumed_from == 4
    now = bits(stopped)
    assert "trust" not in now["settings"]["settings"]["train"]["optim"]  # run.yaml stays as it was
    assert now | {"settings": whole["settings"]} == whole


def test_settings_that_are_new_count_as_their_defaults(victim, stopped):
    older(stopped)
    with pytest.raises(InputError) as caught:
        victim.train(stopped, optim={"lr": 0.01, "trust": 0.5})
    said = str(caught.value)
    assert "train.optim.trust (there 0.001, now 0.5)" in said
    assert "method.momentum (there 0.999, now 0.9)" in said
    assert said.count("there") == 2 and "\n" not in said


def test_settings_of_a_newer_version_are_named(victim, stopped):
    older(stopped, NEWER[:3], future=7)
    with pytest.raises(InputError, match=r"found others: train\.future \(there 7, now None\); choose"):
        victim.train(stopped)


def test_the_log_is_on_the_disk_before_a_checkpoint_is(victim, tmp_path, monkeypatch):
    events, sync, rename = [], os.fsync, Path.replace

    def synced(fd: int) -> None:
        sync(fd)
        log = tmp_path / "run" / "log.jsonl"
        events.extend(["log"] if log.exists() and os.path.samestat(log.stat(), os.fstat(fd)) else [])

    def renamed(self: Path, to: Path) -> Path:
        events.extend(["checkpoint"] if to.name == checkpoint.FILE else [])
        return rename(self, to)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    victim.train(tmp_path / "run")
    assert events == ["log", "checkpoint"] * 2


def damaged(header: dict, tensors: dict, how: str) -> None:
    """Make a checkpoint one that only somebody else can have written."""
    momentum = next(name for name in tensors if name.startswith("optim/") and name.endswith("exp_avg"))
    match how:
        case "step":
            header["step"] = "4"
        case "negative":
            header["step"] = -4
        case "settings":
            header["settings"] = [1]
        case "plain":
            header["plain"] = ["optim/all/0/step"]
        case "scale":
            header["scale"] = None
        case "shape":
            tensors[momentum] = torch.zeros(3, 1)
        case "index":
            tensors[momentum.replace("/0/", "/999/")] = tensors[momentum]
        case "name":
            tensors["optim/x"] = tensors[momentum]


@pytest.mark.parametrize("how", ["step", "negative", "settings", "plain", "scale", "shape", "index", "name"])
def test_a_checkpoint_by_another_hand_is_refused_in_a_sentence(story, victim, tmp_path, how):
    shutil.copytree(story[0] / "whole", tmp_path / "run")
    (tmp_path / "run" / "networks.safetensors").unlink()
    file = tmp_path / "run" / checkpoint.FILE
    tensors, header = read_tensors(file, checkpoint.FORMAT)
    header.pop("format")
    damaged(header, tensors, how)
    write_tensors(file, tensors, checkpoint.FORMAT, header)
    with pytest.raises(InputError, match=r"checkpoint\.safetensors: expected a (run|checkpoint)") as caught:
        victim.train(tmp_path / "run")
    assert "\n" not in str(caught.value)


PARENT = """
import os, sys, time
sys.path.insert(0, {folder!r})
import napping
from counterpoint.evidence.workers import each
if __name__ == "__main__":
    for _ in each(napping.nap, [{folder!r}], 2, "naps"):
        pass
"""
NAPPING = """
import os, time
def nap(folder):
    open(f"{folder}/pid-{os.getpid()}", "w").close()
    time.sleep(600)
"""


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def until(what, seconds: float = 90.0):
    """What comes, sooner or later."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError("nothing came")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes as Linux lists them")
def test_workers_end_with_who_started_them(tmp_path):
    (tmp_path / "napping.py").write_text(NAPPING)
    (tmp_path / "parent.py").write_text(PARENT.format(folder=str(tmp_path)))
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py")], stderr=subprocess.DEVNULL, start_new_session=True
    ) as parent:
        (file,) = until(lambda: list(tmp_path.glob("pid-*"))[:1])
        parent.kill()
        until(lambda: not alive(int(file.name.removeprefix("pid-"))))


def test_networks_of_a_run_are_whole(story):
    assert load_networks(story[0] / "random").keys() == load_networks(story[0] / "whole").keys()
