from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import pytest

from counterpoint.core.networks import about, load_networks
from counterpoint.train.record import read_log, read_run

TINY = (
    "--method.size", "16", "--method.fixed.widths", "4", "8", "--method.moving.widths", "4", "8",
    "--train.batch", "4", "--patches", "8",
)  # fmt: skip
SHORT = (*TINY, "--train.steps", "2")


def weights(folder: str) -> bytes:
    return Path(folder, "networks.safetensors").read_bytes()


def test_a_run_tells_what_was_paired_and_is_a_model(run, folders, save, gray, scene):
    save("HE/e_HE.png", gray(scene(9)[0]))
    save("SHG/d_SHG.png", gray(scene(9)[0]))
    ended = run("train", "comir", "--fixed", "HE", "--moving", "SHG", "-o", "run", "--json", *SHORT)
    assert ended.code == 0
    assert ended.answer["paired"] == ["a", "b", "c"]
    assert ended.answer["left"] == ["HE/e_HE.png", "SHG/d_SHG.png"]
    assert "3 pairs, paired by file names without '_HE' (fixed)" in ended.err
    assert "2 images without a partner are left out: HE/e_HE.png, SHG/d_SHG.png" in ended.err
    assert ended.err.endswith("use it with: counterpoint register FIXED MOVING --model run\n")
    assert ended.answer["steps"] == 2 and np.isfinite(ended.answer["loss"])
    assert load_networks("run").keys() == {"fixed", "moving"}
    assert about("run")["data"]["pairs"] == ["a", "b", "c"]
    done = run(
        "register", "HE/a_HE.png", "SHG/a_SHG.png", "--model", "run", "-o", "out", "--angles", "0", "5"
    )
    assert done.code == 0


def test_a_finished_run_is_left_alone_and_another_does_not_fit_in(run, refused, folders):
    flags = ("train", "comir", "--fixed", "HE", "--moving", "SHG", "-o", "run", *SHORT)
    assert run(*flags).code == 0
    before = weights("run")
    again = run(*flags, "--json")
    assert "run: this run was finished before" in again.err and again.answer["resumed_from"] == 2
    sentence = run(*flags, "--train.seed", "1").sentence
    assert "train.seed (there 0, now 1)" in sentence and weights("run") == before


def test_pairs_by_a_table_and_by_a_pattern(run, folders):
    Path("pairs.csv").write_text("id;fixed;moving\nx;HE/a_HE.png;SHG/b_SHG.png\n")
    ended = run("train", "comir", "--pairs", "pairs.csv", "-o", "one", "--json", *SHORT)
    assert ended.answer["paired"] == ["x"] and "as listed in pairs.csv" in ended.err
    flags = ("--fixed", "HE", "--moving", "SHG", "--pattern", "([ab])_", "-o", "two", "--json")
    ended = run("train", "comir", *flags, *SHORT)
    assert ended.answer["paired"] == ["a", "b"]
    assert ended.answer["left"] == ["HE/c_HE.png", "SHG/c_SHG.png"]


def test_networks_have_the_channels_of_the_images(run, folders, save, scene, gray):
    stack = np.stack([scene(i)[0] for i in range(3)], axis=2)
    for name in "abc":
        save(f"RGB/{name}.png", gray(stack))
    ended = run("train", "comir", "--fixed", "HE", "--moving", "RGB", "-o", "three", "--json", *SHORT)
    assert ended.code == 0
    networks = load_networks("three")
    assert (networks["fixed"].config.channels, networks["moving"].config.channels) == (1, 3)
    flags = ("--fixed", "HE", "--moving", "RGB", "--moving-channel", "green", "-o", "one")
    assert run("train", "comir", *flags, *SHORT).code == 0
    assert load_networks("one")["moving"].config.channels == 1


def test_settings_come_from_a_run_and_flags_override_them(run, folders):
    where = ("--fixed", "HE", "--moving", "SHG")
    assert run("train", "comir", *where, "-o", "first", *SHORT, "--method.temperature", "0.3").code == 0
    flags = ("--config", "first/run.yaml", "--patches", "8")
    assert run("train", "comir", *where, "-o", "same", *flags).code == 0
    assert weights("same") == weights("first")
    assert run("train", "comir", *where, "-o", "third", *flags, "--method.temperature", "0.2").code == 0
    method = read_run("third")["settings"]["method"]
    assert method["temperature"] == 0.2 and method["fixed"]["widths"] == [4, 8]


def test_a_part_of_another_kind_is_put_in_its_place(run, folders):
    flags = (
        "--use", "method.fixed=tiramisu", "--use=method.moving=tiramisu",
        "--method.fixed.growth", "2", "--method.fixed.first", "4", "--method.fixed.down", "1",
        "--method.fixed.up", "1", "--method.fixed.bottleneck", "1", "--method.moving.growth", "2",
        "--method.moving.first", "4", "--method.moving.down", "1", "--method.moving.up", "1",
        "--method.moving.bottleneck", "1", "--method.size", "16", "--train.batch", "2",
        "--train.steps", "1", "--patches", "4",
    )  # fmt: skip
    ended = run("train", "comir", "--fixed", "HE", "--moving", "SHG", "-o", "run", *flags)
    assert ended.code == 0, ended.err
    kinds = {role: network.config.kind for role, network in load_networks("run").items()}
    assert kinds == {"fixed": "tiramisu", "moving": "tiramisu"}


class TestMistakes:
    @pytest.mark.parametrize(
        ("flags", "words"),
        [
            ("", "train: expected a method first, one of "),
            ("--fixed HE", "train: expected a method first, one of "),
            ("comri", "unknown method 'comri': did you mean comir or cmim?"),
            ("comir", "train: expected --fixed DIR and --moving DIR, or --pairs TABLE.csv"),
            ("comir --fixed HE", "train: expected --fixed DIR and --moving DIR"),
            ("comir --fixed HE --moving HE", "expected two folders, found the same one"),
            ("comir --fixed HE --moving no", "no: expected a folder of images, found nothing"),
            ("comir --fixed HE --moving HE/a_HE.png", "expected a folder of images, found a file"),
            ("comir --fixed HE --moving other", "expected file names that belong together, found none"),
            ("comir --fixed HE --moving SHG --pairs x.csv", "found both"),
            ("comir --fixed HE --moving SHG --pattern (", "expected a regular expression"),
            ("comir --use method.fixd=unet", "unknown part 'method.fixd': did you mean method.fixed"),
            ("comir --use method.fixed=unte", "unknown encoder 'unte': did you mean unet?"),
            ("comir --use unet", "--use: expected a part and a kind such as method.fixed=tiramisu"),
            ("comir --use", "--use: expected a value after it, found nothing"),
            ("comir --config no.yaml", "no.yaml: expected settings as YAML, found: "),
            ("comir --config bad.yaml", "unknown setting in bad.yaml: train 'stepz': did you mean steps?"),
            ("comir --config list.yaml", "list.yaml: expected a table of settings, found list"),
            ("comir --fixed HE --moving SHG --train.optim.warmup 2", "optim.warmup: expected a share"),
            ("comir --fixed HE --moving SHG --method.size 63", "size: expected a multiple"),
            ("comir --fixed HE --moving SHG --method.temperature 0", "temperature: expected"),
            ("comir --fixed HE --moving SHG --patches 0", "length ≥ 1"),
            ("comir --fixed HE --moving flat", "flat/b_x.png: expected an image with contrast"),
            ("comir --fixed HE --moving small", "expected 64×64 pixels as in HE/a_HE.png"),
            ("comir --fixed HE --moving broken", "broken/a_x.png: expected a whole PNG image"),
            ("comir --fixed HE --moving SHG -o HE/a_HE.png", "expected a folder that can be"),
        ],
    )
    def test_are_one_sentence_and_nothing_is_written(self, refused, folders, save, scene, gray, flags, words):
        image = gray(scene()[1])
        save("other/x.png", image), save("other/y.png", image)
        save("flat/a_x.png", image), save("flat/b_x.png", image // 255)
        save("small/a_x.png", image[:32]), save("small/b_x.png", image[:32])
        save("broken/b_x.png", image), save("broken/a_x.png", image)
        Path("broken/a_x.png").write_bytes(Path("broken/b_x.png").read_bytes()[:500])
        Path("bad.yaml").write_text("train: {stepz: 3}")
        Path("list.yaml").write_text("- 1")
        assert words in refused("train", *flags.split())

    def test_a_damaged_or_foreign_checkpoint(self, run, folders, process):
        flags = ("train", "comir", "--fixed", "HE", "--moving", "SHG", "-o", "run", *SHORT)
        assert run(*flags).code == 0
        Path("run/networks.safetensors").unlink()
        checkpoint = Path("run/checkpoint.safetensors")
        whole = checkpoint.read_bytes()
        checkpoint.write_bytes(whole[:-5])
        ended = run(*flags)
        assert ended.code == 2 and "checkpoint.safetensors: expected a safetensors file" in ended.sentence
        checkpoint.write_bytes(whole.replace(b"counterpoint-checkpoint-1", b"counterpoint-something--1"))
        ended = run(*flags)
        assert ended.code == 2 and "expected the format counterpoint-checkpoint-1" in ended.sentence

    def test_a_loss_that_is_no_number_is_a_failure(self, run, folders):
        flags = (*TINY, "--train.steps", "20", "--train.optim.lr", "1e30", "--train.clip", "0")
        ended = run("train", "comir", "--fixed", "HE", "--moving", "SHG", "-o", "run", "--json", *flags)
        assert ended.code == 1 and ended.answer["error"] == ended.sentence and "step" in ended.sentence


def test_ctrl_c_and_going_on_give_the_same_bits(run, process, folders):
    steps = 40
    flags = ("train", "comir", "--fixed", "HE", "--moving", "SHG", *TINY, "--train.steps", steps)
    started = process(*flags, "-o", "stopped", "--train.save-every", "50", "--json")
    log = Path("stopped/log.jsonl")
    until = time.monotonic() + 100
    while not (log.is_file() and log.read_text().count("\n") >= 3):
        assert started.popen.poll() is None and time.monotonic() < until
        time.sleep(0.005)
    ended = started.signal(signal.SIGINT)
    assert ended.code == 130 and ended.answer["error"] == "interrupted; what was finished is kept"
    assert "Traceback" not in ended.err
    done = len(read_log("stopped"))
    assert 3 <= done < steps
    assert sorted(p.name for p in Path("stopped").iterdir()) == [
        "checkpoint.safetensors", "lock", "log.jsonl", "run.yaml",
    ]  # fmt: skip
    again = run(*flags, "-o", "stopped", "--train.save-every", "50", "--json")
    assert again.code == 0 and again.answer["resumed_from"] == done
    assert run(*flags, "-o", "whole").code == 0
    ours, theirs = load_networks("stopped"), load_networks("whole")
    for role, network in ours.items():
        for name, tensor in network.state_dict().items():
            assert tensor.equal(theirs[role].state_dict()[name])
