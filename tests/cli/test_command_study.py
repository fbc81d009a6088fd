from __future__ import annotations

import json
from pathlib import Path

import pytest

from counterpoint.cli.study import divided
from counterpoint.core.errors import InputError
from counterpoint.data.pairs import Pair

TINY = (
    "--method.size", "16", "--method.fixed.widths", "4", "8", "--method.moving.widths", "4", "8",
    "--train.batch", "4", "--train.steps", "2", "--patches", "8", "--seeds", "2", "--jobs", "1",
    "--levels", "1", "-o", "out",
)  # fmt: skip
TWO = ("--arms", "none", "summed, cosine")


@pytest.fixture
def pairs(folders) -> Path:
    """A folder of two folders of images."""
    both = Path("pairs")
    both.mkdir()
    for folder, name in zip(folders, ("fixed", "moving"), strict=True):
        folder.rename(both / name)
    return both


def study(run, pairs, *more):
    return run("study", "intermediate-supervision", "--pairs", pairs, *TINY, *more)


def test_a_study_trains_judges_and_answers_and_goes_on_where_it_was(run, pairs):
    ended = study(run, pairs, *TWO, "--json")
    assert ended.code == 0, ended.err
    assert "2 arms with 2 seeds each: 4 trainings" in ended.err and "fixed (fixed) with moving" in ended.err
    (finding,) = [f for f in ended.answer["findings"] if f["metric"] == "success"]
    assert (finding["arm"], finding["than"]) == ("none", "summed, cosine") and len(finding["gains"]) == 2
    kept = json.loads(Path("out/study.json").read_text())
    assert kept["verdict"] == ended.answer["verdict"] in ("holds", "fails", "open")
    assert kept["settings"]["train"]["steps"] == 2 and set(kept["arms"]) == {"none", "summed, cosine"}
    numbers = kept["arms"]["none"]["seeds"]
    assert len(numbers) == 2 and numbers[0] != numbers[1]
    assert 0 <= numbers[0]["success"] <= 1 and numbers[0]["bottleneck rank"] > 1
    assert {"partner ssim", "alignment", "output rank, maps", "success 1"} <= set(numbers[0])
    page = Path("out/report.html").read_text()
    assert "Does contrastive supervision of the bottleneck" in page and "stress" not in numbers[0]
    assert page.count("<img") >= 11  # success, gains, spectra of two roles, layouts of output and bottleneck

    weights = {p: p.stat().st_mtime_ns for p in Path("out/runs").rglob("networks.safetensors")}
    Path("out/results/none-1.json").unlink()
    again = study(run, pairs, *TWO, "--json")
    assert "3 of 4 trainings were done before" in again.err
    assert weights == {p: p.stat().st_mtime_ns for p in weights}
    assert json.loads(Path("out/study.json").read_text())["arms"] == kept["arms"]
    sentence = study(run, pairs, *TWO, "--train.optim.lr", "0.1").sentence
    assert "train.optim.lr (there 0.004, now 0.1)" in sentence


def test_every_arm_trains_what_it_says(run, pairs):
    once = ("none", "pre-training, l1", "summed, mse, projector")
    arms = (*once, "alternating, mse, twice as long")
    ended = study(run, pairs, "--arms", *arms, "--json")
    assert ended.code == 0, ended.err
    kept = json.loads(Path("out/study.json").read_text())["arms"]
    made = {arm: (of["updates"], of["of the output"]) for arm, of in kept.items()}
    assert made == dict(zip(arms, [(2, 2), (2, 1), (2, 2), (4, 2)], strict=True))
    log = Path("out/runs/pre-training-l1-0/log.jsonl").read_text().splitlines()
    assert set(json.loads(log[-1])["terms"]) == {"map", "decay"}


def test_what_cannot_be_is_refused_in_a_sentence(refused, pairs):
    name, data = "intermediate-supervision", ("--pairs", pairs)
    assert "expected a study first, one of intermediate-supervision" in refused("study")
    assert "did you mean" in refused("study", "intermediate-supervison", *data)
    assert "unknown arm 'nine'" in refused("study", name, *data, "--arms", "nine")
    assert "at least 2 seeds" in refused("study", name, *data, "--seeds", "1")
    assert "a share between 0 and 1, found 1.0" in refused("study", name, *data, "--test", "1.0")
    assert "expected --fixed DIR and --moving DIR" in refused("study", name)
    empty = ("--pairs", "pairs/fixed")
    assert "expected pairs.csv or two folders of images in it" in refused("study", name, *empty)


def test_help_lists_studies_and_settings(run):
    assert "intermediate-supervision" in run("study", "--help").out
    assert "--method.schedule.when" in run("study", "intermediate-supervision", "--help").out


def listed(*parts: str) -> list[Pair]:
    return [Pair(Path("f"), Path("m"), str(i), {"part": p} if p else {}) for i, p in enumerate(parts)]


def test_pairs_are_divided_by_the_table_or_by_the_seed():
    train, test = divided(listed("train", "test", "train"), 0.5, 0)
    assert [p.name for p in train] == ["0", "2"] and [p.name for p in test] == ["1"]
    drawn = [divided(listed(*[""] * 8), 0.25, seed) for seed in (0, 0, 1)]
    assert [len(test) for _, test in drawn] == [2, 2, 2] and drawn[0] == drawn[1] != drawn[2]
    for wrong, said in ((("train", "val"), "found 'val'"), (("train", "train"), "some to test")):
        with pytest.raises(InputError, match=said):
            divided(listed(*wrong), 0.5, 0)
