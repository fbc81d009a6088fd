from __future__ import annotations

import pytest

from counterpoint.core.claim import Claim, Expect, Paper
from counterpoint.core.errors import InputError, WorkError
from counterpoint.evidence.verdict import judged, overall


def seeds(*gains: float) -> list:
    return [{"a": {"m": 1 + gain}, "b": {"m": 1.0}} for gain in gains]


@pytest.mark.parametrize(
    ("gains", "margin", "verdict"),
    [
        ((0.3, 0.31, 0.29, 0.3), 0.1, "holds"),
        ((0.3, 0.31, 0.29, 0.3), 0.5, "fails"),
        ((0.3, 0.31, -0.29, 0.3), 0.1, "open"),
        ((0.0, 0.0, 0.0), 0.0, "open"),  # no gain is no gain
        ((-0.01, 0.01, 0.0), -0.05, "holds"),  # not worse than, by more than 0.05
        ((-0.1, -0.11, -0.1), -0.05, "fails"),
    ],
)
def test_the_interval_against_the_margin(gains, margin, verdict):
    found = judged(Expect(arm="a", than="b", metric="m", margin=margin), seeds(*gains))
    assert found.verdict == verdict
    assert found.gains == pytest.approx(gains) and found.low <= found.mean <= found.high


def test_lower_may_be_better():
    found = judged(Expect(arm="b", than="a", metric="m", better="lower"), seeds(0.3, 0.4, 0.5))
    assert found.verdict == "holds" and found.mean == pytest.approx(0.4)


def test_of_several_expectations():
    expect = [Expect(arm="a", than="b", metric="m", margin=m) for m in (0.0, 0.3, 0.9)]
    holds, unsure, fails = (judged(e, seeds(0.1, 0.3, 0.5)) for e in expect)
    assert [f.verdict for f in (holds, unsure, fails)] == ["holds", "open", "fails"]
    assert overall([holds, holds]) == "holds"
    assert overall([holds, unsure]) == "open"
    assert overall([unsure, fails, holds]) == "fails"


@pytest.mark.parametrize(
    "arms", [{"a": {"m": 1.0}}, {"a": {"m": 1.0}, "b": {}}, {"a": {"m": float("nan")}, "b": {"m": 1}}]
)
def test_numbers_that_are_missing_are_named(arms):
    with pytest.raises(WorkError, match=r"a number for m of [ab], seed 1 gave"):
        judged(Expect(arm="a", than="b", metric="m"), [*seeds(0.1), arms])


def test_sentences():
    assert str(Expect(arm="a", than="b", metric="m")) == "a better than b in m"
    assert str(Expect(arm="a", than="b", metric="m", margin=0.05)) == "a better than b by more than 0.05 in m"
    words = "a not worse than b by more than 0.02 in m"
    assert str(Expect(arm="a", than="b", metric="m", margin=-0.02)) == words
    paper = Paper(authors="A, B", title="T", venue="ICML", year=2020, arxiv="1.2")
    assert str(paper) == "A, B. T. ICML 2020. arXiv:1.2"


def test_a_claim_needs_seeds_and_an_expectation():
    paper = Paper(authors="A", title="T", venue="V", year=2020)
    expect = (Expect(arm="a", than="b", metric="m"),)
    for wrong in ({"seeds": 2, "expect": expect}, {"expect": ()}):
        with pytest.raises(InputError, match="at least 3 seeds and one expectation"):
            Claim(paper=paper, says="", arms=lambda _: {}, **wrong)
