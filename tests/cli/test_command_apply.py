"""From a data set to another one, on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from counterpoint.data.open import open_data


@pytest.fixture
def scans(save) -> Path:
    """Two volumes, a folder each, of six slices in two kinds."""
    rng = np.random.default_rng(0)
    for volume in ("lung", "liver"):
        kinds = rng.integers(0, 255, (2, 20, 20), np.uint8)
        for i in range(6):
            save(f"scans/{volume}/{i}.png", kinds[i // 3])
    return Path("scans")


def test_a_folder_becomes_a_table_of_the_files_that_are_kept(run, scans):
    ended = run(
        "apply", "ct_reduction", "--data", scans, "-o", "less", "--settings.within", "class", "--json"
    )
    assert ended.code == 0, ended.err
    assert ended.answer["before"] == 12 and ended.answer["after"] == 4
    assert ended.answer["out"] == "less/data.csv" and ended.answer["settings"]["kind"] == "ct_reduction"
    assert Path("less/data.csv").read_text().splitlines() == [
        "file,label", *(f"../scans/{v}/{i}.png,{v}" for v in ("liver", "lung") for i in (0, 3))
    ]  # fmt: skip
    made = open_data("less/data.csv")
    assert (
        made.classes == ("liver", "lung") and made.label is not None and made.label.tolist() == [0, 0, 1, 1]
    )


def test_groups_and_parts_of_a_table_stay(run, scans):
    rows = [
        f"scans/{v}/{i}.png,{v},{'train' if i < 4 else 'test'}" for v in ("lung", "liver") for i in range(6)
    ]
    Path("all.csv").write_text("\n".join(["file,patient,part", *rows]))
    assert run("apply", "ct_reduction", "--data", "all.csv", "-o", "a").code == 0
    assert run("apply", "ct_reduction", "--data", "all.csv", "-o", "b", "--part", "all").code == 0
    train, both = open_data("a/data.csv"), open_data("b/data.csv")
    assert len(train) == len(both) == 4 and train.group is not None and len(train.group.unique()) == 2
    assert Path("b/data.csv").read_text().splitlines()[0] == "file,group,part"


def test_arrays_become_arrays(run):
    run("apply", "ct_reduction", "--data", "digits", "-o", "d", "--settings.within", "class")
    made, whole = open_data("d/data.npz"), open_data("digits", "train")
    assert 10 <= len(made) < len(whole) and made.classes == whole.classes
    assert made.image.shape[1:] == whole.image.shape[1:]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("", "apply: expected a procedure first, one of ct_reduction"),
        ("mattes --data digits", "unknown procedure on data 'mattes'"),
        ("ct_reduction", "apply: expected --data"),
        ("ct_reduction --data digits", "expected a group of every image"),
        ("ct_reduction --data digits --settings.by ssim", "threshold: expected a number for 'ssim'"),
    ],
)
def test_a_wrong_question_is_one_sentence_and_writes_nothing(refused, flags, words):
    assert words in refused("apply", *flags.split())


def test_a_procedure_with_a_claim_is_listed_and_shown(run):
    listed = {entry["name"]: entry for entry in _json(run("methods", "--json").out)}
    assert listed["ct_reduction"]["field"] == "image" and "mattes" not in listed
    shown = run("show", "ct_reduction", "--json").answer
    assert {"by", "threshold", "within"} <= {row["name"] for row in shown["settings"]}
    assert "counterpoint.metrics.hashing" in {part["module"] for part in shown["parts"]}


def _json(text: str) -> list[dict]:
    import json

    return json.loads(text)


def test_made_images_are_a_data_set_with_classes(run):
    settings = (
        "--settings.outer 1 --settings.inner 1 --settings.epochs 1 --settings.width 2 --settings.real 2"
    )
    ended = run("apply", "dcc", "--data", "digits", "-o", "few", "--side", 8, *settings.split(), "--json")
    assert ended.code == 0, ended.err
    made = open_data("few/data.npz")
    assert len(made) == ended.answer["after"] == 10 and made.classes == tuple("0123456789")
