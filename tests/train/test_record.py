from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml

from counterpoint.core.errors import InputError, WorkError
from counterpoint.train.record import open_run, read_log, read_run

SETTINGS = {"method": {"kind": "x", "rate": 1e-05}, "train": {"steps": 3, "widths": [1, 2]}}


def test_settings_are_read_back_as_they_were(tmp_path):
    with open_run(tmp_path / "a" / "b", SETTINGS, 7):
        pass
    whole = read_run(tmp_path / "a" / "b")
    assert whole["settings"] == SETTINGS and whole["seed"] == 7
    assert whole["versions"].keys() == {"counterpoint", "torch", "python"}
    before = (tmp_path / "a" / "b" / "run.yaml").read_bytes()
    with open_run(tmp_path / "a" / "b", SETTINGS, 7):
        pass
    assert (tmp_path / "a" / "b" / "run.yaml").read_bytes() == before


def test_two_runs_in_one_folder_are_refused(tmp_path):
    with open_run(tmp_path, SETTINGS, 0), pytest.raises(InputError, match="another run at work"):  # noqa: SIM117
        with open_run(tmp_path, SETTINGS, 0):
            pass
    with open_run(tmp_path, SETTINGS, 0):  # the first has let go
        pass


HOLD = """
import fcntl, sys
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_lock_of_another_process_is_seen_and_falls_with_it(tmp_path):
    command = [sys.executable, "-S", "-c", HOLD, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match="another run at work"), open_run(tmp_path, SETTINGS, 0):
            pass
        assert not (tmp_path / "run.yaml").exists()
        holder.kill()
    with open_run(tmp_path, SETTINGS, 0):
        pass


def test_the_log_is_rewound_to_a_step_and_a_cut_line_dropped(tmp_path):
    with open_run(tmp_path, SETTINGS, 0) as run:
        assert run.rewind(0) == []
        for step in (1, 2, 3, 4):
            run.write({"step": step, "loss": step / 3})
        run.sync()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')
    assert [line["step"] for line in read_log(tmp_path)] == [1, 2, 3, 4]
    with open_run(tmp_path, SETTINGS, 0) as run:
        assert run.rewind(2) == [{"step": 1, "loss": 1 / 3}, {"step": 2, "loss": 2 / 3}]
        run.write({"step": 3})
    text = (tmp_path / "log.jsonl").read_text()
    assert [json.loads(line)["step"] for line in text.splitlines()] == [1, 2, 3]


def test_a_damaged_log_is_refused_with_its_line(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"step": 1}\nnothing\n{"step": 3}\n')
    with pytest.raises(InputError, match=r"line 2, found 'nothing'"):
        read_log(tmp_path)
    with pytest.raises(InputError, match="expected the log of a run, found: No such file"):
        read_log(tmp_path / "none")


@pytest.mark.parametrize(
    "text", ["a: [", "- 1", "format: other\nsettings: {}", "", "!!python/object/apply:os.getcwd []"]
)
def test_a_file_that_holds_no_run_is_refused_in_a_sentence(tmp_path, text):
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(InputError, match="expected the settings of a run") as error:
        read_run(tmp_path)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError), open_run(tmp_path, SETTINGS, 0):
        pass
    assert (tmp_path / "run.yaml").read_text() == text


def test_nothing_there_is_said(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_run(tmp_path)


def test_networks_of_unknown_origin_are_not_written_over(tmp_path):
    (tmp_path / "networks.safetensors").write_bytes(b"precious")
    for resume in (True, False):
        with (
            pytest.raises(InputError, match="found only networks"),
            open_run(tmp_path, SETTINGS, 0, resume=resume),
        ):
            pass
    assert (tmp_path / "networks.safetensors").read_bytes() == b"precious"


def test_a_full_disk_under_the_log_is_said(tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    message = r"log\.jsonl: the file could not be written: File too large"
    try:
        with pytest.raises(WorkError, match=message), open_run(tmp_path, SETTINGS, 0) as run:
            run.rewind(0)
            resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
            run.write({"step": 1, "loss": 0.123456789, "more": "than fits"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert read_log(tmp_path) == []


def test_a_run_is_plain_yaml(tmp_path):
    with open_run(tmp_path, SETTINGS, 0):
        pass
    assert yaml.safe_load((tmp_path / "run.yaml").read_text())["settings"]["method"]["rate"] == 1e-05
