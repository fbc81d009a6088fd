from __future__ import annotations

import json

import pytest

from counterpoint.core.errors import InputError, WorkError
from counterpoint.evidence import store
from counterpoint.evidence.catalogue import entries, entry, needed
from counterpoint.evidence.run import claims, load_claim, run


def test_a_claim_is_run_kept_and_goes_stale(toys, good, tmp_path):
    """The whole life of a claim, with processes of its own."""
    toys.claim("sure", good)
    toys.method("unclaimed")
    where, said = tmp_path / "evidence", []
    assert "toy/sure" in needed(where)
    evidence = run("sure", jobs=2, said=said.append)
    assert evidence.verdict == "holds" and evidence.claim == "toy/sure"
    assert evidence.findings[0].gains == pytest.approx((0.4, 0.41, 0.42, 0.43))
    assert [seed["one"]["accuracy"] for seed in evidence.seeds] == pytest.approx([0.9, 0.91, 0.92, 0.93])
    assert said[2] == "  seed 2: one 0.92, other 0.5"
    file = store.write(evidence, where)
    assert file == where / "toy" / "sure.json" and store.read("toy/sure", where) == evidence
    text = file.read_text()
    assert "/root" not in text and str(tmp_path) not in text
    assert {"commit", "machine", "versions", "date", "seconds", "code"} <= json.loads(text).keys()

    assert "toy/sure" not in needed(where)
    found = {e.name: e for e in entries(where) if e.field == "toy"}
    assert (found["sure"].verdict, found["unclaimed"].verdict) == ("holds", "none")
    assert found["sure"].claimed and not found["unclaimed"].claimed and found["sure"].stale == ()
    assert found["sure"].idea == "Toy sure: an idea in a line."
    assert found["sure"].paper == "Somebody. A title. ICML 2020. arXiv:2001.00001."

    method = toys.method("sure")
    method.write_text(method.read_text() + "changed = True\n")
    assert entry("sure", where).stale == ("counterpoint.methods.toy.sure",)
    assert entry("sure", where).verdict == "holds" and "toy/sure" in needed(where)


def test_a_claim_in_the_folder_of_a_room_speaks_for_itself(toys, tmp_path):
    """No method is called as it is; elsewhere such a claim is listed nowhere."""
    for field in ("train", "toy"):
        file = toys.folder / "claims" / field / f"lone_{field}.py"
        file.parent.mkdir(parents=True)
        file.write_text('"""Alone: an idea in a line.\n\nSomebody. A title. 2020.\n"""\n')
    listed = {e.name for e in entries(tmp_path)}
    assert not {"lone_train", "lone_toy", "lars"} & listed
    found = {e.name: e for e in entries(tmp_path, parts=True) if e.name not in listed}
    assert {"lone_train", "lars"} <= found.keys() and "lone_toy" not in found
    lone = found["lone_train"]
    assert (lone.field, lone.idea, lone.paper) == (
        "train",
        "Alone: an idea in a line.",
        "Somebody. A title. 2020.",
    )
    assert lone.claimed and lone.verdict == "none" and "train/lone_train" in needed(tmp_path)


def test_an_arm_that_fails_is_said(toys):
    toys.claim("broken", "from counterpoint.core.errors import WorkError; raise WorkError('it burned')")
    with pytest.raises(WorkError, match="it burned"):
        run("broken", jobs=2)
    toys.claim("dead", "import os; os._exit(9)")
    with pytest.raises(WorkError, match="dead: a process ended early"):
        run("dead", jobs=2)


def test_names(toys, good):
    toys.claim("sure", good)
    assert claims()["sure"] == "toy/sure"
    assert load_claim("sure") is load_claim("toy/sure")
    with pytest.raises(InputError, match="unknown claim 'sur': did you mean sure"):
        load_claim("sur")
    with pytest.raises(InputError, match="unknown claim 'image/sure'"):
        load_claim("image/sure")
    toys.claim("empty", good).write_text("CLAIM = 3\n")
    with pytest.raises(InputError, match="a Claim under the name CLAIM, found 3"):
        load_claim("empty")
    with pytest.raises(InputError, match="unknown method 'sur'"):
        entry("sur", toys.folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": "counterpoint-evidence-1", "claim": "x"}'])
def test_a_file_that_is_no_evidence_is_named(tmp_path, text):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "sure.json").write_text(text)
    with pytest.raises(InputError, match=r"sure.json: expected evidence of format counterpoint-evidence-1"):
        store.read("toy/sure", tmp_path)
    assert store.read("toy/other", tmp_path) is None
