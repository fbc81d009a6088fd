from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from counterpoint.cli import demo as command_file

SMALL = """
import signal
from dataclasses import replace
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from counterpoint.cli import demo
    demo.TRAIN = replace(demo.TRAIN, steps=3, batch=2)
    from counterpoint.cli.main import main
    main(["demo", "--json", "--pairs", "2", "-o", "out"])
"""


@pytest.fixture
def small(monkeypatch) -> None:
    """A demo of seconds: three steps of training, three arms, one process."""
    monkeypatch.setattr(command_file, "TRAIN", replace(command_file.TRAIN, steps=3, batch=2))
    arms = {arm: command_file.ARMS[arm] for arm in ("learned", "gradient", "raw")}
    monkeypatch.setattr(command_file, "ARMS", arms)
    monkeypatch.setattr(command_file.os, "cpu_count", lambda: 1)


def test_the_demo_and_its_report_in_a_browser(run, small, request):
    ended = run("demo", "--pairs", "2", "-o", "out", "--json")
    assert ended.code == 0, ended.err
    answer = ended.answer
    assert answer["arms"].keys() == {"learned", "gradient", "raw"}
    for arm in answer["arms"].values():
        assert arm.keys() == {"success", "of", "median_px", "cpu_seconds"}
        assert arm["of"] == 2 and 0 <= arm["success"] <= 2 and arm["cpu_seconds"] > 0
    assert answer["arms"]["gradient"]["success"] == 2 and answer["arms"]["gradient"]["median_px"] < 5
    assert answer["training_cpu_seconds"] > 0 and answer["seconds"] > 0
    assert json.loads(Path("out/results.json").read_text()) == answer
    assert Path("out/rows.jsonl").read_text().count("\n") == 6
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert f"{answer['arms']['learned']['success']} of 2 pairs registered" in page
    assert page.count('class="chart"') == 3 and "Contrastive loss" in page and "pair 2" in page
    assert "Registrations within 2 % of the width" in ended.err

    # The run is there: nothing is trained again, and one of another seed does not fit in.
    assert command_file.train(Path("out/run"), 0) is None
    other = run("demo", "--pairs", "1", "-o", "out", "--seed", "1")
    assert other.code == 2 and "train.seed (there 0, now 1)" in other.sentence

    shown = request.getfixturevalue("browser_page")
    address = Path("out/report.html").resolve().as_uri()
    shown.goto(address)
    slider = shown.locator("[role=slider]")
    slider.focus()
    slider.press("Home")
    assert slider.get_attribute("aria-valuenow") == "0"
    shown.locator(".stage").scroll_into_view_if_needed()
    box = shown.locator(".stage").bounding_box()
    shown.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + 0.5 * box["height"])
    assert int(slider.get_attribute("aria-valuenow")) == pytest.approx(75, abs=1)
    board = shown.get_by_role("tab", name="checkerboard")
    board.click()
    assert board.get_attribute("aria-selected") == "true"
    assert shown.locator(f"#{board.get_attribute('aria-controls')}").is_visible()
    assert not shown.locator("#panel-1").is_visible()
    assert [url for url in shown.requested if not url.startswith("data:")] == [address]
    assert shown.complained == []
    assert shown.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")


def test_what_is_trained_on_and_tested_on_share_no_pixel():
    assert command_file.TRAINED.stop <= command_file.TESTED.start
    fixed, moving, true = command_file.test_pair(3)
    again = command_file.test_pair(3)
    assert fixed.shape == moving.shape == (256, 256, 1)
    assert all(np.array_equal(a, b) for a, b in zip((fixed, moving, true), again, strict=True))
    assert not np.array_equal(true, command_file.test_pair(4)[2])


@pytest.mark.parametrize("when", ["(1 of 2)", "(2 of 2)"])
def test_ctrl_c_ends_it_and_its_workers_without_a_word(process, when):
    started = process(code=SMALL)
    started.until(when)
    time.sleep(0.3)  # workers are loading
    ended = started.signal(signal.SIGINT)
    assert ended.code == 130 and ended.answer["error"] == "interrupted; what was finished is kept"
    assert ended.err.endswith("counterpoint: interrupted; what was finished is kept\n")
    assert "Traceback" not in ended.err and ended.err.count("\n") <= 3
    assert not Path("out/report.html").exists()


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="this system cannot block a signal")
def test_workers_are_born_deaf_to_ctrl_c_and_none_is_lost():
    asked = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), command_file._deaf():
            born = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert born.stdout == "True\n"
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_worker_that_is_ended_from_outside_is_a_failure(run, small, monkeypatch):
    monkeypatch.setattr(command_file, "trial", _vanish)
    ended = run("demo", "--pairs", "1", "-o", "out", "--json")
    assert (
        ended.code == 1 and ended.answer["error"] == "a process that registered pairs was ended from outside"
    )


def _vanish(arm: str, index: int, folder: str) -> None:
    os._exit(9)
