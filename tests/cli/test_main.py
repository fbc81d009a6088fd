from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from counterpoint.cli import main as main_file
from counterpoint.cli.main import commands
from counterpoint.core.errors import WorkError

SCRIPT = Path(sys.executable).parent / "counterpoint"
script = pytest.mark.skipif(not SCRIPT.is_file(), reason="the console script is not installed")


class Fake:
    """A command module whose command does as told."""

    def __init__(self, do) -> None:
        self.command = do


@pytest.fixture
def fake(monkeypatch):
    def put(do) -> None:
        monkeypatch.setattr(main_file, "importlib", SimpleNamespace(import_module=lambda _: Fake(do)))

    return put


def failing(error: BaseException):
    def command(argv: list[str]):
        raise error

    return command


def interrupted_import(argv: list[str]):
    """As pybind11 has it, where ctrl-C comes while a library is loaded, and who then tries another way."""
    try:
        raise ImportError("initialization failed") from KeyboardInterrupt()
    except ImportError:
        raise ImportError('generic_type: type "A" is already registered!')  # noqa: B904


def unrelated(argv: list[str]):
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        raise WorkError("it was stopped for a reason of its own") from None


def test_what_fails_because_of_ctrl_c_is_an_interruption(run, fake):
    fake(interrupted_import)
    ended = run("demo")
    assert (ended.code, ended.sentence) == (130, "interrupted; what was finished is kept")
    fake(unrelated)
    assert run("demo").code == 1


def test_help_lists_every_command_with_its_line(run):
    ended = run("--help")
    assert ended.code == 0 and ended.err == ""
    assert {"demo", "register", "score", "train"} <= commands().keys()
    for name, line in commands().items():
        assert f"  {name} " in ended.out and line in ended.out and line.endswith(".")


def test_no_command_is_a_mistake_that_shows_the_help(run):
    ended = run()
    assert ended.code == 2 and ended.out.startswith("usage: counterpoint COMMAND")


def test_version(run):
    assert run("--version").out.strip() == main_file.version("counterpoint")


def test_an_unknown_command_is_refused_with_the_nearest(refused):
    assert refused("regsiter").startswith("unknown command 'regsiter': did you mean register?")


@pytest.mark.parametrize("name", ["demo", "register", "score", "train", "train comir"])
def test_the_help_of_a_command_is_readable(run, name):
    ended = run(*name.split(), "--help")
    assert ended.code == 0 and ended.err == ""
    assert ended.out.startswith(f"usage: counterpoint {name.split()[0]}")
    for ugly in ("{None}", "default: None", "PATH", "MISSING", "typing."):
        assert ugly not in ended.out


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (WorkError("the loss is nan"), 1, "the loss is nan"),
        (OSError(28, "No space left on device", "x.png"), 1, "x.png: No space left on device"),
        (MemoryError("Unable to allocate 9 TiB"), 1, "Unable to allocate 9 TiB"),
        (MemoryError(), 1, "there is not enough memory"),
        (KeyboardInterrupt(), 130, "interrupted; what was finished is kept"),
    ],
)
def test_what_may_go_wrong_has_a_code_a_sentence_and_json(run, fake, error, code, sentence):
    fake(failing(error))
    ended = run("demo")
    assert (ended.code, ended.out, ended.sentence) == (code, "", sentence)
    ended = run("demo", "--json")
    assert ended.code == code and ended.answer == {"error": sentence, "code": code}


def test_a_fault_of_ours_keeps_its_traceback_and_is_still_json(run, fake):
    fake(failing(ZeroDivisionError("no")))
    ended = run("demo", "--json")
    assert ended.code == 1 and "Traceback" in ended.err
    assert ended.answer["error"] == "a fault in counterpoint itself: ZeroDivisionError: no"


def test_an_answer_is_strict_json_whatever_is_in_it(run, fake):
    fake(lambda argv: ({"path": Path("a"), "none": float("nan"), "far": (1.5, float("inf"))}, 1))
    ended = run("demo", "--json")
    assert ended.code == 1 and ended.answer == {"path": "a", "none": None, "far": [1.5, None]}


def test_a_sentence_stays_one_line_that_no_terminal_obeys(run, fake):
    fake(failing(WorkError("a\nb\x1b[31m\udcff: wrong")))
    assert run("demo").sentence == "a\\nb\\x1b[31m\\udcff: wrong"


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["register", "--modle", "x"], "unrecognized options: --modle, x, did you mean --model?"),
        (["demo", "--josn"], "unrecognized options: --josn, did you mean --json?"),
        (
            ["train", "comir", "--method.tempreature", "1"],
            "unrecognized options: --method.tempreature, 1, did you mean --method.temperature?",
        ),
        (["register", "a", "b", "c"], "unrecognized options: c;"),
        (["register", "a", "b", "--overlap", "x"], "error parsing --overlap: could not convert"),
        (
            ["register", "a", "b", "--transform", "rigd"],
            "invalid choice 'rigd' for argument '--transform'",
        ),
        (["register", "a", "b", "--fixed-spacing", "1"], "missing value for argument '--fixed-spacing'"),
        (["register", "a", "b", "--fixed-spacing", "1", "y"], "error parsing --fixed-spacing: "),
        (
            ["register", "a", "b", "--scales", "2", "1"],
            "scales: expected two numbers from 0.1",
        ),
        (["register", "a", "b", "--overlap", "nan"], "overlap: expected a share from 0.05 to 1, found nan"),
        (["train", "comir", "--train.batch", "0"], "train.batch: expected at least 1, found 0"),
        (["train", "comir", "--train.optim.lr", "-1"], "optim: expected lr > 0"),
        (["demo", "--pairs", "0"], "pairs: expected at least 1, found 0"),
        (["score", "registration", "--repeats", "0"], "repeats: expected at least 1, found 0"),
        (["score", "registration", "--levels"], "methods, levels: expected at least one of each"),
    ],
)
def test_wrong_flags_are_one_sentence(refused, argv, sentence):
    words = refused(*argv)
    where = " ".join(argv[: 2 if argv[0] == "train" else 1])
    assert words.startswith(f"{where}: {sentence}") and words.endswith(f"; see counterpoint {where} --help")


def test_a_wrong_flag_is_json_too(run):
    ended = run("demo", "--json", "--pairs", "x")
    assert ended.code == 2 and ended.answer == {"error": ended.sentence, "code": 2}


LIGHT = """
import sys
from counterpoint.cli.main import run
code = run(sys.argv[1:])
heavy = {"torch", "numpy", "scipy", "SimpleITK", "matplotlib", "rich", "tyro"} & set(sys.modules)
print(code, sorted(heavy), file=sys.stderr)
"""


@pytest.mark.parametrize("argv", [["--help"], ["--version"], []])
def test_the_first_help_loads_nothing_heavy(process, argv):
    ended = process(*argv, code=LIGHT).end()
    assert ended.err == f"{0 if argv else 2} []\n"


@script
def test_the_console_script_answers_and_ends_with_the_code():
    done = subprocess.run([SCRIPT, "regster", "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and json.loads(done.stdout)["code"] == 2
    assert done.stderr.count("\n") == 1 and "did you mean register?" in done.stderr


SHOWS = """
from types import SimpleNamespace
from counterpoint.cli import main, console
def command(argv):
    console.show("fixed → moving", ("°",), [("ü" * 99,)] * 999)
    return {"done": True}, 0
main.importlib = SimpleNamespace(import_module=lambda name: SimpleNamespace(command=command))
main.main(["demo", *(["--json"] if JSON else [])])
"""
CODES = {
    "help": "from counterpoint.cli.main import main; main(['--help'])",
    "a table": "JSON = False" + SHOWS,
    "JSON": "JSON = True" + SHOWS,
}


@pytest.mark.parametrize("what", CODES)
def test_a_reader_that_went_away_is_no_traceback(what):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", CODES[what]], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_behind_standard_output_is_no_traceback():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", CODES["JSON"]], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1 and done.stderr in ("", "counterpoint: files: No space left on device\n")


def test_words_that_the_terminal_cannot_show_are_no_traceback():
    done = subprocess.run(
        [sys.executable, "-c", CODES["a table"]],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        check=False,
    )
    assert done.returncode == 0 and b"\\u2192" in done.stdout


LOUD = """
import signal, sys
from types import SimpleNamespace
signal.signal(signal.SIGINT, signal.default_int_handler)
from counterpoint.cli import main
load = main.importlib.import_module
def loud(name):
    print("loading", file=sys.stderr, flush=True)
    return load(name)
main.importlib = SimpleNamespace(import_module=loud)
main.main(sys.argv[1:])
"""


def test_ctrl_c_while_a_command_is_loaded(process):
    started = process("register", "a", "b", "--json", code=LOUD)
    started.until("loading\n")
    ended = started.signal(signal.SIGINT)
    assert ended.code == 130 and ended.answer["code"] == 130
    assert ended.err == "loading\ncounterpoint: interrupted; what was finished is kept\n"
