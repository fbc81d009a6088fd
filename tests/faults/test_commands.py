"""Commands that are killed: nothing half written is ever read as whole, and the same command goes on."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from counterpoint.core.files import write_text

pytest.importorskip("resource")
FILES = [
    "registered.png", "report.html", "result.json", "transform.json", "transform.tfm", "transform_3d.tfm",
]  # fmt: skip


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The folder of ``commands.py``, and how each of its children ended."""
    folder = tmp_path_factory.mktemp("commands")
    command = [sys.executable, str(Path(__file__).with_name("commands.py")), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, {name: (code, said) for name, code, said in map(json.loads, done.stdout.splitlines())}


def made(folder: Path) -> dict[str, object]:
    """All that a registration of the pairs leaves, but for the seconds it took."""
    found: dict[str, object] = {}
    for pair in "ab":
        assert sorted(p.name for p in (folder / pair).iterdir()) == FILES
        found |= {f"{pair} {name}": (folder / pair / name).read_bytes() for name in FILES if name[0] in "t"}
        found[f"{pair} image"] = (folder / pair / "registered.png").read_bytes()
        result = json.loads((folder / pair / "result.json").read_text())
        found[f"{pair} result"] = [result[key] for key in ("matrix", "trust", "reason", "kind", "made_with")]
    with (folder / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found["summary"] = [
        {k: v for k, v in row.items() if k[:2] == "a1" or k in ("name", "error")} for row in rows
    ]
    assert sorted(p.name for p in folder.iterdir()) == ["a", "b", "summary.csv"]
    return found


def test_registering_many_pairs_goes_on_where_it_was_killed(told):
    folder, ends = told
    assert ends["whole"] == (0, "") and ends["killed-0.35"][0] == -signal.SIGKILL
    assert ends["killed-0.35, again"] == (0, "")
    assert made(folder / "killed-0.35") == made(folder / "whole")


def test_results_of_two_settings_are_never_taken_for_one(told):
    folder, ends = told
    assert ends["mixed"][0] == -signal.SIGKILL and ends["mixed, again"] == (0, "")
    # killed while it wrote over what stood there with other settings, then asked for the first ones again
    assert made(folder / "mixed") == made(folder / "whole")


def test_features_are_whole_or_as_they_were(told):
    folder, ends = told
    assert ends["embed"] == (0, "") and ends["embed-killed"][0] == -signal.SIGKILL
    assert (folder / "z.npz").read_bytes() == (folder / "before.npz").read_bytes()
    with np.load(folder / "z.npz") as arrays:
        assert arrays["z"].shape == (18, 8)


def test_a_study_goes_on_where_it_was_killed(told):
    folder, ends = told
    if "study" not in ends:
        pytest.skip("takes some time: set COUNTERPOINT_FUZZ=2")
    assert ends["study"] == (0, "") and ends["study-killed"][0] == -signal.SIGKILL
    assert ends["study-killed, again"] == (0, "")
    one, other = (judged(folder / name) for name in ("study", "study-killed"))
    assert one == other


def judged(folder: Path) -> tuple[str, list[dict[str, float]]]:
    """Verdict and numbers of a study, but for the time it took."""
    study = json.loads((folder / "study.json").read_text())
    return study["verdict"], [
        {name: number for name, number in seed.items() if name != "cpu"}
        for seed in study["arms"]["none"]["seeds"]
    ]


@pytest.mark.parametrize("event", [0, 1, 2])  # half written, to be brought to the disk, to be renamed
def test_evidence_is_whole_or_as_it_was(victim, tmp_path, event):
    """Evidence, answers of studies and settings are all written so."""
    write_text(tmp_path / "simclr.json", "before")

    def work() -> None:
        victim.bent(event, victim.killed)
        write_text(tmp_path / "simclr.json", "after, at length")
        os._exit(0)

    assert victim.in_child(work)[0] == -signal.SIGKILL
    assert (tmp_path / "simclr.json").read_text() == "before"
