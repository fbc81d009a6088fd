"""What every claim must be, and what every method must say of its paper."""

from __future__ import annotations

import re

import pytest

from counterpoint.core.claim import Claim
from counterpoint.core.config import names
from counterpoint.evidence.catalogue import entries
from counterpoint.evidence.run import ROOM, claims, load_claim
from counterpoint.evidence.source import fingerprints
from counterpoint.evidence.store import folder, read
from counterpoint.evidence.study import studies
from counterpoint.evidence.verdict import judged, overall

each = pytest.mark.parametrize("name", sorted(claims()))
METHODS = entries(folder(), parts=True)


@each
def test_a_claim_is_well_formed(name):
    claim = load_claim(name)
    assert isinstance(claim, Claim)
    assert claim.paper.authors and claim.paper.title and claim.paper.venue and 1950 < claim.paper.year < 2100
    assert claim.says.endswith(".") and len(claim.says) > 20
    assert claim.differs, "what is smaller or other than in the paper?"
    assert callable(claim.arms) and claim.seeds >= 3
    assert all(expect.arm != expect.than for expect in claim.expect)
    # Somebody else's explanation of the gain, or the network it started from, must be among the arms.
    assert len({arm for expect in claim.expect for arm in (expect.arm, expect.than)}) >= 2


@each
def test_a_claim_stands_at_the_place_of_its_method_or_in_the_room_of_its_parts(name):
    there = names("counterpoint.methods") | names("counterpoint.procedures")
    if name not in there:
        room = claims()[name].rpartition("/")[0]
        assert any(m.startswith(f"counterpoint.{room}.") for m in fingerprints(names(ROOM)[name]))
        return
    assert there[name].split(".")[2:] == names(ROOM)[name].split(".")[2:]


@each
def test_its_evidence_says_what_its_numbers_say(name):
    evidence = read(claims()[name], folder())
    if evidence is None:
        pytest.skip("not run yet")
    claim = load_claim(name)
    assert len(evidence.seeds) == claim.seeds
    findings = [judged(expect, evidence.seeds) for expect in claim.expect]
    assert [f.verdict for f in findings] == [f.verdict for f in evidence.findings]
    assert evidence.verdict == overall(findings)
    assert re.fullmatch(r"[0-9a-f]{40}|", evidence.commit)
    assert evidence.cpu_seconds <= 600, "five minutes on two cores"


def test_no_evidence_without_a_claim_or_a_study():
    kept = {file.relative_to(folder()).with_suffix("").parts for file in folder().rglob("*.json")}
    of_studies = {parts for parts in kept if parts[0] == "studies"}
    assert {"/".join(parts) for parts in kept - of_studies} <= set(claims().values())
    assert {parts[1] for parts in of_studies} <= set(studies())


@pytest.mark.parametrize("entry", METHODS, ids=[entry.name for entry in METHODS])
def test_every_method_tells_its_idea_and_its_paper(entry):
    assert entry.field and len(entry.idea) <= 120 and ": " in entry.idea
    assert re.search(r"(19|20)\d\d", entry.paper) and len(entry.paper.split(". ")) >= 3
    assert entry.verdict in ("holds", "fails", "open", "none")
