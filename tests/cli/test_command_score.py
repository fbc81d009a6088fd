from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from counterpoint.cli import score as command_file

CHEAP = ("--methods", "counterpoint", "--levels", "1")
FOLDERS = ("--fixed", "HE", "--moving", "SHG")


@pytest.fixture
def quick(monkeypatch) -> list[str]:
    """A registration that moves nothing and takes no time; keeps what it was asked."""
    asked: list[str] = []

    class Nothing:
        matrix = np.eye(3)

    def register(fixed, moving, model, transform, options):
        asked.append(transform)
        return Nothing()

    monkeypatch.setattr(command_file, "register", register)
    return asked


def test_drawn_levels(run, folders):
    methods = ("--methods", "counterpoint:angles=[-20,20]", "mattes:iterations=5", "--levels", "1", "2")
    ended = run("score", "registration", *FOLDERS, *methods, "-o", "out", "--json")
    assert ended.code == 0 and "3 pairs, paired by file names" in ended.err
    totals = {s["method"]: s for s in ended.answer["scores"] if s["level"] == "total"}
    assert list(totals) == ["counterpoint angles= -20,20", "mattes iterations=5"]
    ours, mattes = totals.values()
    assert ours["of"] == mattes["of"] == 6 and ours["success"] >= 5 and ours["median"] < 1.5
    assert {s["level"] for s in ended.answer["scores"]} == {"1", "2", "total"}
    assert json.loads(Path("out/scores.json").read_text()) == ended.answer["scores"]
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert page.count('class="chart"') == 3 and "By level of difficulty" in page


def test_it_goes_on_where_it_was_stopped(run, folders, quick):
    flags = ("score", "registration", *FOLDERS, *CHEAP, "-o", "out")
    assert run(*flags).code == 0 and len(quick) == 3
    rows = Path("out/counterpoint.jsonl")
    first, second, _ = rows.read_text().splitlines(keepends=True)
    rows.write_text(first + second[:20])  # killed in the middle of a line
    assert run(*flags).code == 0 and len(quick) == 5
    assert rows.read_text().startswith(first) and rows.read_text().count("\n") == 3
    assert run(*flags, "--repeats", "2").code == 0 and len(quick) == 8
    assert run(*flags, "--methods", "counterpoint", "counterpoint:overlap=0.5").code == 0
    assert len(quick) == 11


@pytest.mark.parametrize(
    "other", [("--transform", "affine"), ("--border", "constant"), ("--fixed", "SHG", "--moving", "HE")]
)
def test_rows_of_other_settings_are_not_mixed(run, folders, quick, other):
    flags = ("score", "registration", *FOLDERS, *CHEAP, "-o", "out")
    assert run(*flags).code == 0
    ended = run(*flags, *other)
    assert ended.code == 2 and "expected rows made with the settings now given" in ended.sentence
    assert len(quick) == 3


def test_a_table_with_the_truth(run, two, scene, quick):
    a = scene()[2]
    entries = ",".join(str(a[i, j]) for i in range(2) for j in range(3))
    Path("t.csv").write_text(f"fixed,moving,a11,a12,a13,a21,a22,a23\nfixed.png,moving.png,{entries}\n")
    ended = run("score", "registration", "--pairs", "t.csv", "--methods", "counterpoint", "-o", "o", "--json")
    (level, total) = ended.answer["scores"]
    assert (level["level"], total["of"], total["success"]) == ("real", 1, 0)
    ends = np.array([(0, 0, 1), (64, 0, 1), (64, 64, 1), (0, 64, 1)]).T
    expected = np.linalg.norm((np.linalg.inv(a) @ ends)[:2] - (np.linalg.inv(np.eye(3)) @ ends)[:2], axis=0)
    assert total["median"] == pytest.approx(expected.mean(), rel=0.1)


def test_a_table_with_landmarks(run, two, scene):
    points = np.array([(10.0, 12, 1), (50, 20, 1), (30, 55, 1)])
    moved = points @ scene()[2].T
    rows = [f"{x},{y},{u},{v}" for (x, y, _), (u, v, _) in zip(points, moved, strict=True)]
    Path("sub").mkdir()
    Path("sub/points.csv").write_text("\n".join(["x_fixed,y_fixed,x_moving,y_moving", *rows]))
    Path("sub/t.csv").write_text("fixed;moving;landmarks\n../fixed.png;../moving.png;points.csv\n")
    ended = run("score", "registration", "--pairs", "sub/t.csv", *CHEAP, "-o", "out", "--json")
    assert ended.code == 0
    assert ended.answer["scores"][-1]["success"] == 1 and ended.answer["scores"][-1]["median"] < 1


def test_what_a_method_throws_is_its_failure(run, folders, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("no memory")

    monkeypatch.setattr(command_file, "register", broken)
    ended = run("score", "registration", *FOLDERS, *CHEAP, "-o", "out", "--json")
    assert ended.code == 0 and "RuntimeError: no memory" in ended.err
    total = ended.answer["scores"][-1]
    assert (total["success"], total["of"], total["median"]) == (0, 3, None)


def test_our_settings_are_checked_like_those_of_others(run, folders, quick):
    methods = ("--methods", "counterpoint:transform=affine,scales=[0.5,2],mirror=true", "--levels", "1")
    assert run("score", "registration", *FOLDERS, *methods, "-o", "out").code == 0
    assert quick == ["affine"] * 3


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("", "score: expected --fixed DIR and --moving DIR, or --pairs TABLE.csv"),
        ("--fixed HE --moving SHG --pairs t.csv", "found both"),
        ("--methods mates", "unknown method 'mates': did you mean mattes or ants?"),
        ("--methods mattes:strts=2", "unknown setting in method mattes 'strts': did you mean starts?"),
        ("--methods mattes:starts=x", "method mattes.starts: expected int, found 'x'"),
        ("--methods mattes:[", "method mattes: expected settings such as starts=12,bins=50, found '['"),
        ("--methods counterpoint:overlp=1", "counterpoint 'overlp': did you mean overlap?"),
        ("--methods counterpoint:overlap=x", "method counterpoint.overlap: expected float, found 'x'"),
        ("--methods counterpoint:overlap=7", "overlap: expected a share from 0.05 to 1, found 7"),
        ("--methods learned", "method learned: expected --model RUN, found none"),
        ("--methods learned --model no", "no: expected a trained model"),
        ("--fixed HE --moving small", "small/a_x.png: expected 64 × 64 pixels as in HE/a_HE.png"),
        ("--fixed HE --moving broken", "broken/b_x.png: expected a whole PNG image"),
        ("--pairs none.csv", "none.csv: expected a table of pairs"),
        ("--pairs half.csv", "x: expected a truth as numbers, found: ValueError"),
        ("--pairs some.csv", "some.csv: expected a truth for all 2 pairs or for none, found 1"),
        ("--pairs flat.csv", "x: expected a truth as numbers, found: LinAlgError"),
        ("--pairs nan.csv", "x: expected a truth of finite numbers"),
        ("--pairs marks.csv", "x: expected a truth as numbers, found: FileNotFoundError"),
        ("--pairs columns.csv", "x: expected a truth as numbers, found: KeyError('x_fixed')"),
        ("--pairs empty.csv", "x: expected a truth of finite numbers, found none or others"),
    ],
)
def test_mistakes_are_one_sentence_and_nothing_is_written(refused, folders, save, scene, gray, flags, words):
    image = gray(scene()[1])
    save("small/a_x.png", image[:32]), save("small/b_x.png", image)
    save("broken/a_x.png", image), save("broken/b_x.png", image)
    Path("broken/b_x.png").write_bytes(Path("broken/a_x.png").read_bytes()[:500])
    matrix, pair = "name,fixed,moving,a11,a12,a13,a21,a22,a23\n", "HE/a_HE.png,SHG/a_SHG.png"
    Path("half.csv").write_text(f"{matrix}x,{pair},1,0,0,0,1,\n")
    Path("some.csv").write_text(f"{matrix}x,{pair},1,0,0,0,1,0\ny,{pair},,,,,,\n")
    Path("flat.csv").write_text(f"{matrix}x,{pair},1,0,0,1,0,0\n")
    Path("nan.csv").write_text(f"{matrix}x,{pair},1,0,nan,0,1,0\n")
    for name, marks in (("marks", "no.csv"), ("columns", "t.csv"), ("empty", "none_in_it.csv")):
        Path(f"{name}.csv").write_text(f"name,fixed,moving,landmarks\nx,{pair},{marks}\n")
    Path("t.csv").write_text("a,b\n1,2\n")
    Path("none_in_it.csv").write_text("x_fixed,y_fixed,x_moving,y_moving\n")
    assert words in refused("score", "registration", *flags.split(), "-o", "out")


def test_the_report_in_a_browser(run, folders, quick, browser_page):
    methods = ("--methods", "counterpoint", "counterpoint:overlap=0.5", "--levels", "1", "full")
    assert run("score", "registration", *FOLDERS, *methods, "-o", "out").code == 0
    address = Path("out/report.html").resolve().as_uri()
    browser_page.goto(address)
    assert browser_page.locator("h1").inner_text() == "How well methods register these pairs"
    browser_page.locator("summary").click()
    assert "HE" in browser_page.locator("details").inner_text()
    assert browser_page.locator("table").count() == 2
    assert [url for url in browser_page.requested if not url.startswith("data:")] == [address]
    assert browser_page.complained == []
    assert browser_page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
