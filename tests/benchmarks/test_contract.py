from __future__ import annotations

import copy
import importlib.util
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
spec = importlib.util.spec_from_file_location("benchmark_contract", BENCHMARKS / "contract.py")
assert spec is not None and spec.loader is not None
contract = importlib.util.module_from_spec(spec)
spec.loader.exec_module(contract)

ROW = {"method": "m", "cpu": {"median": 2.0, "q1": 1.0, "q3": 3.0, "runs": 3}}


def result() -> dict:
    return {
        "format": contract.FORMAT, "name": "x", "about": "What it measures.", "date": "2024-05-01",
        "commit": "0" * 40, "modified": False,
        "machine": {"cpu": "a", "cores": 2, "memory_gib": 8, "system": "b", "python": "3.11"},
        "versions": {"numpy": "2"}, "settings": {"starts": 12}, "seeds": [0], "warmup": 1,
        "rows": [copy.deepcopy(ROW)],
    }  # fmt: skip


@pytest.mark.parametrize("file", sorted((BENCHMARKS / "results").glob("*.json")), ids=lambda f: f.stem)
def test_a_committed_result_keeps_the_contract(file):
    found = json.loads(file.read_text(encoding="utf-8"))
    assert contract.check(found) == []
    assert found["name"] == file.stem


def test_a_result_that_keeps_the_contract_is_not_complained_of():
    assert contract.check(result()) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"commit": "main"}, "commit"),
        ({"date": "1.5.2024"}, "date"),
        ({"seeds": []}, "seed"),
        ({"rows": []}, "row"),
        ({"warmup": "one"}, "warmup"),
        ({"machine": {"cpu": "a"}}, "no cores"),
        ({"elapsed": 3}, "unknown field elapsed"),
        ({"settings": {"data": "/home/me/data"}}, "path"),
        ({"settings": {"data": "--out=C:\\data"}}, "path"),
        ({"rows": [{"cpu": {"median": 2.0}}]}, "row 1: cpu"),
        ({"rows": [{"cpu": {"median": 2.0, "q1": 3.0, "q3": 4.0, "runs": 3}}]}, "row 1: cpu"),
    ],
)
def test_what_breaks_the_contract_is_named(change, says):
    assert any(says in sentence for sentence in contract.check(result() | change))


def test_a_missing_field_and_the_name_of_this_machine_are_named(monkeypatch):
    incomplete = result()
    del incomplete["versions"]
    assert contract.check(incomplete) == ["result: no versions"]
    monkeypatch.setattr(platform, "node", lambda: "thor-7")
    assert any("thor-7" in s for s in contract.check(result() | {"about": "On thor-7."}))


def test_a_result_is_written_whole_and_read_back(tmp_path):
    file = contract.write("small", "A test.", [ROW, ROW], {"a": (1, 2)}, [0, 1], 1, tmp_path)
    found = contract.read("small", tmp_path)
    assert found["rows"] == [ROW, ROW] and found["settings"] == {"a": [1, 2]} and found["seeds"] == [0, 1]
    assert sum("cpu" in line and "median" in line for line in file.read_text().splitlines()) == 2
    with pytest.raises(ValueError, match="path"):
        contract.write("small", "In /tmp/x", [ROW], {}, [0], 1, tmp_path)
    assert contract.read("small", tmp_path) == found and len(list(tmp_path.iterdir())) == 1


def test_the_warm_up_is_not_counted():
    seen = []

    def run(given: int) -> int:
        seen.append(given)
        return given * given

    found = contract.measure(run, [3, 4], warmup=2)
    assert seen == [3, 3, 3, 4] and found["answers"] == [9, 16]
    assert found["wall"]["runs"] == found["cpu"]["runs"] == 2


def test_spread_is_median_and_quartiles():
    assert contract.spread([5, 1, 2, 3, 4]) == {"median": 3, "q1": 2, "q3": 4, "runs": 5}


TAKEN = """
import contract
before = contract.peak_mib()
block = bytearray(64 << 20)
block[::4096] = b"x" * len(block[::4096])
print(contract.peak_mib() - before)
"""


def test_memory_that_is_taken_is_seen():
    """In a process of its own: what tests before have taken and given back would hide it."""
    folder = Path(contract.__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    command = [sys.executable, "-c", TAKEN]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert float(done.stdout) > 30
