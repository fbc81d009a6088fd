from __future__ import annotations

import importlib.util
import json
from pathlib import Path

ROOT = Path(__file__).parents[2]


def loaded():
    spec = importlib.util.spec_from_file_location("benchmark_studies", ROOT / "benchmarks" / "studies.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_says_what_the_evidence_says():
    studies = loaded()
    of = {"success": 0.5, "median": 2.0, "bottleneck rank": 3.0}
    arm = {"about": "", "updates": 4, "of the output": 2, "seeds": [of, of | {"success": 1.0}]}
    finding = {"arm": "none", "than": "b", "metric": "success", "mean": 0.25, "low": -0.1, "high": 0.5}
    answer = {
        "asks": "Is it so?", "paper": "Somebody.", "differs": "Small.", "verdict": "open", "commit": "a" * 40,
        "findings": [finding | {"verdict": "open"}], "arms": {"none": arm, "b": arm},
        "settings": {"train": {"steps": 4, "batch": 2}},
    }  # fmt: skip
    page = studies.page({"study": {"set": answer}})
    assert "| b | 4 | 2 | 75% | 50% – 100% | 2.00 | 3.0 | +25% (-10% to +50%) | open |" in page
    assert "| none | 4 | 2 | 75% | 50% – 100% | 2.00 | 3.0 |  |  |" in page
    assert "2 seeds, 4 updates with batches of 2" in page and "**open** here" in page


def test_the_committed_page_is_that_of_the_committed_evidence():
    studies = loaded()
    folders = sorted((ROOT / "evidence" / "studies").iterdir())
    answers = {d.name: {f.stem: json.loads(f.read_text()) for f in sorted(d.glob("*.json"))} for d in folders}
    assert studies.page(answers) == (ROOT / "docs" / "results-studies.md").read_text()
