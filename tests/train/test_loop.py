from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from counterpoint.core.errors import InputError, WorkError
from counterpoint.core.networks import about, load_networks
from counterpoint.train.loop import interruptible
from counterpoint.train.record import read_log, read_run

ROOMS = Path(__file__).parent / "rooms"


def untimed(folder: Path) -> list[dict]:
    return [{k: v for k, v in line.items() if k != "seconds"} for line in read_log(folder)]


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


class Stop(Exception):
    """Ends a run from its report."""


def stop_after(step: int):
    def report(at, line) -> None:
        if at.step + 1 == step:
            raise Stop

    return report


def test_a_run_leaves_its_folder(run, tmp_path):
    method, summary = run(tmp_path / "run", fit_with={"about": {"from": "a test"}})
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        "checkpoint.safetensors", "lock", "log.jsonl", "networks.safetensors", "run.yaml",
    ]  # fmt: skip
    lines = read_log(summary.folder)
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert [line["epoch"] for line in lines] == [e for e in range(4) for _ in range(3)]
    assert lines[4]["notes"] == {"at": 4 / 12}
    assert lines[4]["loss"] == pytest.approx(lines[4]["terms"]["agree"] + 0.5 * lines[4]["terms"]["small"])
    assert [line["seconds"] for line in lines] == sorted(line["seconds"] for line in lines)
    assert summary.steps == 12 and summary.resumed_from == 0 and not summary.already_done
    assert summary.loss == lines[-1]["loss"]
    settings = read_run(summary.folder)["settings"]
    assert settings["data"] == {"samples": 10, "from": "a test"}
    assert settings["method"]["kind"] == "toy_pair" and settings["method"]["fixed"]["kind"] == "toy"
    networks = load_networks(summary.folder)
    assert networks.keys() == {"fixed", "moving"}
    assert same(networks["moving"], method.network("moving"))
    assert about(summary.folder)["data"]["from"] == "a test"


@pytest.mark.parametrize("kind", ["toy_pair", "toy_game"])
@pytest.mark.parametrize("stop", [5, 6, 9])  # resumed from inside an epoch, and from its end
def test_a_run_broken_off_and_resumed_equals_one_at_once(run, tmp_path, kind, stop):
    whole, _ = run(tmp_path / "whole", kind, save_every=3 if stop == 6 else 4)
    changes = {"save_every": 3 if stop == 6 else 4}
    with pytest.raises(Stop):
        run(tmp_path / "broken", kind, **changes, fit_with={"report": stop_after(stop)})
    resumed, summary = run(tmp_path / "broken", kind, **changes)
    assert summary.resumed_from == {5: 4, 6: 6, 9: 8}[stop]
    assert same(whole, resumed)
    assert untimed(tmp_path / "whole") == untimed(tmp_path / "broken")
    for name in ("networks.safetensors", "checkpoint.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "broken" / name).read_bytes()


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Folders of two runs that were killed, one after update 7, one while it wrote its second checkpoint."""
    folders = {where: tmp_path_factory.mktemp(where) / "run" for where in ("update", "writing")}
    arguments = [str(folders["update"]), "update", "7", str(folders["writing"]), "writing", "8"]
    subprocess.run([sys.executable, str(ROOMS / "data.py"), *arguments], check=True, timeout=120)
    return folders


@pytest.mark.parametrize("where", ["update", "writing"])
def test_a_killed_process_is_resumed_to_the_bit(run, tmp_path, killed, where):
    folder = killed[where]
    left = list(folder.glob(".checkpoint*"))
    assert len(left) == (where == "writing")
    assert len(read_log(folder)) == {"update": 7, "writing": 8}[where]
    assert not (folder / "networks.safetensors").exists()
    resumed, summary = run(folder)
    assert summary.resumed_from == 4  # the checkpoint of step 8 was never whole
    whole, _ = run(tmp_path / "whole")
    assert same(whole, resumed)
    assert untimed(folder) == untimed(tmp_path / "whole")
    assert not list(folder.glob(".*"))
    for name in ("networks.safetensors", "checkpoint.safetensors"):
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_seed_decides_and_the_log_and_checkpoints_do_not(run, tmp_path):
    one, _ = run(tmp_path / "a")
    two, _ = run(tmp_path / "b", log_every=5, save_every=100, monitor={"every": 7})
    other, _ = run(tmp_path / "c", seed=4)
    assert same(one, two) and not same(one, other)
    lines = read_log(tmp_path / "b")
    assert [line["step"] for line in lines] == [1, 5, 7, 10, 12]
    assert [line["step"] for line in lines if "monitor" in line] == [1, 7, 12]


def test_steps_end_a_run_inside_an_epoch(run, tmp_path):
    _, summary = run(tmp_path, steps=5)
    assert summary.steps == 5 and [line["epoch"] for line in read_log(tmp_path)] == [0, 0, 0, 1, 1]


def test_a_finished_run_is_left_alone(run, tmp_path):
    run(tmp_path)
    before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.iterdir() if p.name != "lock"}
    _, summary = run(tmp_path, save_every=7, device="cpu", monitor={"every": 0})
    assert summary.already_done and summary.steps == 12 and summary.loss == read_log(tmp_path)[-1]["loss"]
    after = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.iterdir() if p.name != "lock"}
    assert before == after


def test_a_run_with_other_settings_is_refused_and_named(run, toys, tmp_path):
    run(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(
        InputError, match=r"method\.noise \(there 0\.1, now 0\.3\), train\.optim\.lr \(there 0\.01"
    ):
        run(tmp_path, method={"noise": 0.3}, optim={"lr": 0.02})
    with pytest.raises(InputError, match=r"data\.samples \(there 10, now 8\)"):
        run(tmp_path, data=toys.Patches(8))
    with pytest.raises(InputError, match=r"data\.of \(there None, now 'lungs'\)"):
        run(tmp_path, fit_with={"about": {"of": "lungs"}})
    assert before == {p.name: p.read_bytes() for p in tmp_path.iterdir()}


def test_without_resuming_a_run_begins_anew(run, tmp_path):
    run(tmp_path)
    _, summary = run(tmp_path, epochs=1, fit_with={"resume": False})
    assert not summary.already_done and len(read_log(tmp_path)) == 3
    assert read_run(tmp_path)["settings"]["train"]["epochs"] == 1


def test_a_loss_that_is_not_a_number_ends_the_run(run, tmp_path):
    with pytest.raises(
        WorkError, match=r"step 6 of 12: the term 'agree' of the loss is nan; the last checkpoint stays"
    ):
        run(tmp_path, method={"poison": 5})
    assert len(read_log(tmp_path)) == 5
    from safetensors import safe_open

    with safe_open(tmp_path / "checkpoint.safetensors", "pt") as file:
        assert json.loads(file.metadata()["counterpoint"])["step"] == 4
        assert all(file.get_tensor(k).isfinite().all() for k in file.keys())  # noqa: SIM118


def test_a_gradient_that_is_not_a_number_ends_the_run_and_spoils_no_checkpoint(run, tmp_path):
    with pytest.raises(WorkError, match="step 8 of 12: the gradient is nan"):
        run(tmp_path, method={"steep": 7})
    assert read_log(tmp_path)[-1]["step"] == 7
    _, summary = run(tmp_path / "whole", method={"steep": 20})
    assert summary.steps == 12


def test_every_pass_of_features_comes_in_the_order_of_ids_and_in_evaluation(toys, tmp_path):
    from counterpoint.core.method import MethodConfig
    from counterpoint.train.config import TrainConfig
    from counterpoint.train.loop import fit, fresh

    method, data, seen = fresh(MethodConfig.from_dict({"kind": "toy_pair"}), 0), toys.Patches(), []
    network = fresh(MethodConfig.from_dict({"kind": "toy_pair"}), 0).network("fixed").eval()
    method.before_epoch = lambda at, embed_all: seen.append((at.epoch, embed_all("fixed")))
    fit(method, data, TrainConfig(epochs=2, batch=4), tmp_path)
    assert [epoch for epoch, _ in seen] == [0, 1]
    torch.testing.assert_close(seen[0][1], network(data.fixed))
    assert method.network("fixed").training


def test_accumulating_averages_the_gradients_of_the_batches(toys, tmp_path):
    """Where a loss is a mean over samples that do not see each other, two batches of b are one of 2b."""
    from counterpoint.core.method import MethodConfig
    from counterpoint.train.config import TrainConfig
    from counterpoint.train.loop import fit, fresh
    from counterpoint.train.optim import OptimConfig

    def train(folder, batch, accumulate):
        plain = {"kind": "toy_game", "maker": {"kind": "toy", "dropout": 0.0}}
        method = fresh(MethodConfig.from_dict(plain), 3)
        method.maker.norm = torch.nn.Identity()  # samples of a batch see each other in it
        optim = OptimConfig(name="sgd", lr=0.1)
        config = TrainConfig(epochs=2, batch=batch, accumulate=accumulate, optim=optim)
        fit(method, toys.Patches(8, shuffle=False), config, folder)
        return method

    two, one = train(tmp_path / "two", 2, 2), train(tmp_path / "one", 4, 1)
    logs = [read_log(tmp_path / name) for name in ("one", "two")]
    assert [len(log) for log in logs] == [4, 4]
    for a, b in zip(two.parameters(), one.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert logs[0][-1]["maker"]["gradient"] == pytest.approx(logs[1][-1]["maker"]["gradient"], rel=1e-4)
    assert logs[0][-1]["loss"] == pytest.approx(logs[1][-1]["loss"], rel=1e-4)


def test_accumulating_joins_what_is_kept_and_resumes(run, tmp_path):
    whole, _ = run(tmp_path / "whole", batch=2, accumulate=2, save_every=4)
    assert len(read_log(tmp_path / "whole")) == 12  # 5 batches an epoch: updates from 2, 2 and 1
    with pytest.raises(Stop):
        run(tmp_path / "b", batch=2, accumulate=2, save_every=4, fit_with={"report": stop_after(5)})
    resumed, summary = run(tmp_path / "b", batch=2, accumulate=2, save_every=4)
    assert summary.resumed_from == 4 and same(whole, resumed)
    assert untimed(tmp_path / "whole") == untimed(tmp_path / "b")
    assert whole.queue.abs().sum(1).gt(0).all()


def test_what_the_method_is_given_at_each_step(toys, tmp_path):
    """Views drawn anew for every step and batch, what they keep joined, the rate of a step's middle."""
    from counterpoint.core.method import MethodConfig
    from counterpoint.train.config import TrainConfig
    from counterpoint.train.loop import fit, fresh
    from counterpoint.train.monitor import MonitorConfig
    from counterpoint.train.optim import rate

    method, drawn, kept = fresh(MethodConfig.from_dict({"kind": "toy_pair"}), 0), [], []
    views, after_step = method.views, method.after_step
    method.views = lambda batch, rng: (drawn.append(torch.rand(1, generator=rng).item()), views(batch, rng))[
        1
    ]
    method.after_step = lambda at, given: (kept.append(given["z"]), after_step(at, given))
    config = TrainConfig(epochs=2, batch=2, accumulate=2, monitor=MonitorConfig(every=0))
    fit(method, toys.Patches(), config, tmp_path)
    assert len(drawn) == len({*drawn}) == 10  # 5 batches an epoch
    assert [len(z) for z in kept] == [4, 4, 2, 4, 4, 2]
    assert [line["rate"] for line in read_log(tmp_path)] == [
        rate(config.optim, (k + 0.5) / 6) for k in range(6)
    ]


def test_what_an_epoch_begins_with_does_not_depend_on_a_break(toys, tmp_path):
    from counterpoint.core.method import MethodConfig
    from counterpoint.train.config import TrainConfig
    from counterpoint.train.loop import fit, fresh

    draws = {}

    def train(folder, name, **more):
        method = fresh(MethodConfig.from_dict({"kind": "toy_pair"}), 0)
        method.before_epoch = lambda at, _: draws.setdefault(name, []).append(
            (at.epoch, torch.rand(1).item())
        )
        fit(method, toys.Patches(), TrainConfig(epochs=3, batch=4, save_every=3), folder, **more)

    train(tmp_path / "whole", "whole")
    with pytest.raises(Stop):
        train(tmp_path / "broken", "broken", report=stop_after(6))
    train(tmp_path / "broken", "broken")
    assert draws["broken"] == draws["whole"] and len({value for _, value in draws["whole"]}) == 3


def test_bfloat16_trains_with_weights_of_full_width(run, tmp_path):
    method, summary = run(tmp_path / "half", precision="bf16-mixed")
    full, _ = run(tmp_path / "full")
    assert all(p.dtype == torch.float32 for p in method.parameters())
    assert not same(method, full)
    assert summary.loss == pytest.approx(read_log(tmp_path / "full")[-1]["loss"], rel=0.1)


def test_two_players_are_logged_apart(run, tmp_path):
    _, summary = run(tmp_path, "toy_game")
    line = read_log(tmp_path)[0]
    assert line["critic"]["terms"].keys() == {"told"} and line["maker"]["terms"].keys() == {"fooled"}
    assert load_networks(summary.networks).keys() == {"image"}


def test_ctrl_c_finishes_the_update_and_writes_a_checkpoint(run, tmp_path):
    def interrupt(at, line) -> None:
        if at.step + 1 == 5:
            os.kill(os.getpid(), signal.SIGINT)

    whole, _ = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", fit_with={"report": interrupt})
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    resumed, summary = run(tmp_path / "run")
    assert summary.resumed_from == 6
    assert same(whole, resumed) and untimed(tmp_path / "whole") == untimed(tmp_path / "run")


def test_a_second_ctrl_c_interrupts_at_once():
    reached = []
    with pytest.raises(KeyboardInterrupt), interruptible() as asked:
        signal.raise_signal(signal.SIGINT)
        reached.append(asked())
        signal.raise_signal(signal.SIGINT)
        reached.append("too far")
    assert reached == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_run_in_another_thread_leaves_signals_alone(run, tmp_path):
    results = []
    thread = threading.Thread(target=lambda: results.append(run(tmp_path, epochs=1)[1]))
    thread.start()
    thread.join()
    assert results[0].steps == 3


def test_data_and_device_that_do_not_fit_are_refused_before_anything_is_written(run, toys, tmp_path):
    class Lacking(toys.Patches):
        provides = frozenset({"fixed", "id"})

    class Empty(toys.Patches):
        def steps(self, size):
            return 0

    folder = tmp_path / "run"
    with pytest.raises(
        InputError, match="expected batches with fixed, moving, found fixed, id without moving"
    ):
        run(folder, data=Lacking())
    with pytest.raises(InputError, match=r"train\.batch: expected at most the 10 samples"):
        run(folder, data=Empty())
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="CUDA"):
            run(folder, device="cuda")
    with pytest.raises(InputError, match="16-mixed expects a CUDA device"):
        run(folder, device="cpu", precision="16-mixed")
    assert not folder.exists()


def test_data_that_end_early_end_the_run(run, toys, tmp_path):
    class Boastful(toys.Patches):
        def steps(self, size):
            return 5

    with pytest.raises(WorkError, match="5 updates in epoch 0, found fewer"):
        run(tmp_path, data=Boastful())


def test_nothing_is_said_unless_on_a_terminal(run, tmp_path, capfd):
    run(tmp_path, epochs=1)
    assert capfd.readouterr() == ("", "")


def test_the_log_is_json_that_any_reader_takes(run, tmp_path):
    run(tmp_path, epochs=1)

    def refuse(constant):
        raise ValueError(constant)

    for line in (tmp_path / "log.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=refuse)
