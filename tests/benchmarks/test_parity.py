from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from counterpoint.train.loop import fresh

FOLDER = Path(__file__).parents[2] / "benchmarks"


def load(name: str, folder: Path = FOLDER / "parity") -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"parity_{name}", folder / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


cells, recipe, verdicts = load("cells"), load("recipe"), load("verdicts")
contract = load("contract", FOLDER)


def cell(knn: float, linear: float = 0.5, views: float = 1.0) -> dict[str, float]:
    return {"knn": knn, "linear": linear, "views": views, "rest": 2.0}


# --- the verdict


def test_below_is_more_than_the_noise_of_the_better_peer():
    peers = {"lightly": [0.80, 0.82], "solo-learn": [0.9, 0.94]}  # 0.92 ± 0.0283
    said = verdicts.verdict([0.89, 0.90], peers)
    assert said["better"] == "solo-learn" and said["difference"] == pytest.approx(-0.025)
    assert said["noise"] == pytest.approx(0.02828, abs=1e-5) and said["not_below"] is True
    assert verdicts.verdict([0.88, 0.90], peers)["not_below"] is False
    assert verdicts.verdict([0.99, 0.99], peers)["not_below"] is True


def test_equal_seeds_have_no_noise_and_equal_means_are_not_below():
    assert verdicts.verdict([0.5, 0.5], {"lightly": [0.5, 0.5]})["not_below"] is True
    assert verdicts.verdict([0.5, 0.49], {"lightly": [0.5, 0.5]})["not_below"] is False


def test_without_a_peer_or_a_second_seed_there_is_no_verdict():
    assert verdicts.verdict([0.5, 0.6], {"lightly": [], "solo-learn": []})["not_below"] is None
    assert verdicts.verdict([], {"lightly": [0.5, 0.6]})["better"] is None
    one = verdicts.verdict([0.5], {"lightly": [0.6]})
    assert one["not_below"] is None and one["difference"] == pytest.approx(-0.1)


def test_the_gap_is_a_mean_over_rows_with_the_error_of_the_seeds():
    rows = [
        {"ours": [0.5, 0.7], "lightly": [0.5, 0.5]},
        {"ours": [0.8, 0.8], "lightly": [0.9, 0.9]},
        {"ours": [0.1, 0.1]},
        {"ours": [0.1], "lightly": [0.9]},  # one seed tells no error
    ]
    mean, error = verdicts.gap(rows, "lightly")
    # Var of 0.5, 0.7 is 0.02, of its mean 0.01; of the mean of two rows a quarter.
    assert mean == pytest.approx(0.0) and error == pytest.approx(0.05)
    assert verdicts.gap(rows, "solo-learn") is None


# --- rows and the page


def found() -> dict[tuple[str, str, int], dict[str, float]]:
    made = {("untrained", "simclr", s): cell(0.3, 0.2) for s in (0, 1)}
    for seed in (1, 0):
        made["ours", "simclr", seed] = cell(0.6 + 0.1 * seed)
        made["lightly", "simclr", seed] = cell(0.8, views=4.0 + seed)
        made["ours", "supcon", seed] = cell(0.9)
    return made


def test_rows_keep_every_seed_in_order_and_leave_out_what_nobody_made():
    rows = verdicts.rows(found(), ["simclr", "supcon", "dino"])
    assert [(r["method"], r["judge"]) for r in rows] == [
        (m, j) for m in ("simclr", "supcon") for j in ("knn", "linear")
    ]
    assert rows[0]["ours"] == [0.6, 0.7] and rows[0]["untrained"] == [0.3, 0.3]
    assert "solo-learn" not in rows[0] and rows[0]["not_below"] is False
    assert rows[1]["not_below"] is True  # linear: all equal
    assert rows[0]["seconds"] == {"ours": [1.0, 2.0], "lightly": [4.5, 2.0]}
    assert rows[2]["better"] is None


def test_a_peer_with_seeds_missing_is_shown_and_not_judged_by():
    (knn, _) = verdicts.rows(found() | {("solo-learn", "simclr", 0): cell(0.99)}, ["simclr"])
    assert knn["solo-learn"] == [0.99] and knn["better"] == "lightly"


def result() -> dict[str, object]:
    settings = {"train": 10, "test": 5, "epochs": 4, "batch": 2, "peers": {"lightly": "1.6.0"}}
    return {"rows": verdicts.rows(found(), ["simclr", "supcon"]), "settings": settings, "seeds": [0, 1]}


def test_the_page_says_the_numbers_the_verdict_and_leaves_cells_empty():
    formula = {"loss": "NT-Xent", "peer": "lightly", "value": 0.0, "gradient": 2.1e-16, "note": ""}
    page = verdicts.markdown({"digits": result()}, {"digits": "The digits"}, [formula])
    assert "| NT-Xent | lightly | 0e+00 | 2e-16 |  |" in page
    lines = [line for line in page.splitlines() if line.startswith("| simclr")]
    together, mine = lines
    assert "**-15.0 ± 5.0**" in together
    assert mine.split(" | ")[1:6] == ["65.0 ± 7.1", "80.0 ± 0.0", "", "-15.0", "**no**"]
    assert "not below in 1 of 2" in page and "(MAE 12)" in page and "lightly 1.6.0" in page
    assert "ConvNet 30.0 ± 0.0 (k-NN)" in page and "lightly 4.5 + 2.0" in page
    widths = {line.count("|") for line in page.splitlines() if line.startswith("| ")}
    assert widths == {6, 12}  # the table of formulas has 6, too


def test_committed_results_keep_the_contract():
    for file in sorted((FOLDER / "parity" / "results").glob("*.json")):
        made = contract.read(file.stem, file.parent)
        if file.stem == "formulas":
            assert all(max(r["value"], r["gradient"]) < 1e-6 for r in made["rows"])
            continue
        assert file.stem in recipe.SETS
        for row in made["rows"]:
            ours = row.get("ours", [])
            peers = {n: row[n] for n in verdicts.PEERS if len(row.get(n, [])) >= max(len(ours), 1)}
            said = verdicts.verdict(ours, peers)
            assert said == {key: row[key] for key in said}, (file.stem, row["method"])


# --- the cell store


def test_a_cell_is_answered_only_with_the_settings_it_was_asked_with(tmp_path):
    store, key = cells.Cells(tmp_path), cells.Key("digits", "ours", "simclr", 0)
    other = cells.Key("digits", "ours", "simclr", 1)
    assert store.missing([(key, "a"), (other, "a")]) == [key, other]
    store.write(key, "a", cell(0.5))
    assert store.read(key, "a") == {"asked": "a", **cell(0.5)}
    assert store.missing([(key, "a"), (other, "a")]) == [other] and store.missing([(key, "b")]) == [key]
    store.path(key).write_text('{"asked": "a", "kn')
    assert store.missing([(key, "a")]) == [key]


# --- the recipe


@pytest.mark.parametrize("data", recipe.SETS)
@pytest.mark.parametrize("method", recipe.METHODS)
def test_every_method_has_settings_for_every_set(method, data):
    shown, budget = recipe.SETS[data], recipe.Budget()
    config = recipe.recipe(method, shown, budget)
    crops = recipe.crops(config)
    assert {c.flip for c in crops} == {shown.flip} and crops[0].size == shown.size
    assert len(crops) == {"mae": 1, "swav": 4, "dino": 4}.get(method, 2)
    assert all(c.count == 1 for c in crops)
    if data == "digits":
        assert fresh(config, 0).network("image").out_dim == 64


def test_other_settings_are_another_question_and_other_words_are_not():
    from dataclasses import replace

    shown, budget = recipe.SETS["digits"], recipe.Budget()
    asked = recipe.fingerprint("swav", shown, budget)
    assert asked == recipe.fingerprint("swav", replace(shown, title="other"), budget)
    assert asked != recipe.fingerprint("swav", shown, replace(budget, epochs=99))
    assert asked != recipe.fingerprint("dino", shown, budget)
    assert recipe.Budget(epochs=5).of("mae").epochs == 15 and recipe.Budget(epochs=5).of("dcl").epochs == 5


def test_who_has_what():
    assert recipe.has("ours", "dcl", 1) and not recipe.has("solo-learn", "dcl", 3)
    assert recipe.has("solo-learn", "mae", 3) and not recipe.has("solo-learn", "mae", 1)
    assert [m for m in recipe.METHODS if recipe.has("untrained", m, 1)] == ["simclr", "mae"]
    assert {m for absent in recipe.ABSENT.values() for m in absent} < set(recipe.METHODS)
