"""Evidence that outlives changes of code that change no number."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest

from counterpoint.cli.claim import command
from counterpoint.evidence import store
from counterpoint.evidence.catalogue import entry, needed
from counterpoint.evidence.repeat import different, repeated
from counterpoint.evidence.run import run

GOOD = "return {'one': {'accuracy': 0.9 + seed / 100}, 'other': {'accuracy': 0.5}}"


@pytest.fixture
def known(toys, tmp_path):
    """Evidence of a claim whose code has changed since."""
    toys.claim("sure", GOOD)
    evidence = run("sure", jobs=1)
    store.write(evidence, tmp_path / "evidence")
    method = toys.method("sure")
    method.write_text(method.read_text() + "changed = True\n")
    return evidence


def test_the_same_numbers_make_it_evidence_of_today(known, tmp_path, capsys):
    where = tmp_path / "evidence"
    assert entry("sure", where).stale
    answer, code = command(["sure", "--repeat", "--jobs", "1", "-o", str(where)])
    assert (code, answer["claims"]) == (0, [{"claim": "toy/sure", "outcome": "the same numbers"}])
    found = entry("sure", where)
    assert not found.stale and "toy/sure" not in needed(where)
    assert found.evidence and found.evidence.repeated and found.evidence.repeated.seed == 0
    # All else is as it was measured.
    assert replace(found.evidence, repeated=None, code=known.code) == known
    assert found.evidence.code != known.code


def test_other_numbers_leave_it_as_it_is(known, toys, tmp_path, capsys):
    where = tmp_path / "evidence"
    text = (where / "toy" / "sure.json").read_text()
    toys.claim("sure", GOOD.replace("0.5", "0.5001"))
    answer, code = command(["sure", "--repeat", "--jobs", "2", "-o", str(where)])
    assert code == 0
    assert answer["claims"][0]["outcome"] == "accuracy of other was 0.5 and is 0.5001"
    assert (where / "toy" / "sure.json").read_text() == text and entry("sure", where).stale


def test_what_is_expected_is_judged_anew(known, toys):
    toys.claim("sure", GOOD, margin=0.415)
    del sys.modules["counterpoint.claims.toy.sure"]
    [(_, today, _)] = repeated({"toy/sure": known}, jobs=2)
    assert known.verdict == "holds" and today is not None and today.verdict == "open"


def test_another_number_of_seeds_asks_for_a_run(known):
    [(_, today, why)] = repeated({"toy/sure": replace(known, seeds=known.seeds[:3])}, jobs=1)
    assert today is None and why == "4 seeds are asked for, 3 are known"


def test_without_evidence_there_is_nothing_to_repeat(toys, tmp_path, capsys):
    toys.claim("sure", GOOD)
    answer, _ = command(["sure", "--repeat", "-o", str(tmp_path / "evidence")])
    assert answer["claims"][0]["outcome"] == "no evidence to compare with"


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"a": {"x": 1.0, "y": 2.0}}, ""),
        ({"a": {"x": 1.0 + 1e-8, "y": 2.0}}, ""),
        ({"a": {"x": 1.0, "y": 2.1}}, "y of a was 2 and is 2.1"),
        ({"a": {"x": 1.0}}, "y of a was 2 and is not measured"),
        ({"a": {"x": 1.0, "y": 2.0}, "b": {"x": 1.0}}, "x of b was not measured and is 1"),
        ({"a": {"x": float("nan"), "y": 2.0}}, "x of a was 1 and is nan"),
    ],
)
def test_the_first_difference_is_named(now, said):
    assert different({"a": {"x": 1.0, "y": 2.0}}, now) == said


def test_older_evidence_is_read(known, tmp_path):
    file = tmp_path / "evidence" / "toy" / "sure.json"
    plain = json.loads(file.read_text())
    del plain["repeated"]
    file.write_text(json.dumps(plain))
    assert store.read("toy/sure", tmp_path / "evidence") == known
