"""The committed answers of studies as a page: evidence/studies/*/*.json → docs/results-studies.md.

python benchmarks/studies.py
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from counterpoint.core.files import write_text
from counterpoint.metrics.intervals import bootstrap_mean

ROOT = Path(__file__).resolve().parents[1]
SETS = {
    "he_shg_loci": "H&E and second-harmonic tissue cores (256 pixels, aligned by the known matrix; 8 to "
    "train on, the middle 160 pixels of 8 others to register)",
    "harvard_ct_mri": "CT and MR slices of the brain (256 pixels; 28 slices of three patients to train on, "
    "6 of two others to register, of which those of one patient are aligned to some 4 to 9 px only: "
    "success beyond some 60 % says little there)",
    "isl_neurons": "Phase contrast and MAP2 fluorescence of neurons (the left half of one field to train on, "
    "four parts of the right half to register)",
}
HEAD = """# Answers of studies

Made by `python benchmarks/studies.py` from `evidence/studies/`; do not edit. [What a study is](studies.md).
"""


def page(answers: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Study → data set → what ``counterpoint study`` wrote, as Markdown."""
    parts = [HEAD]
    for sets in answers.values():
        first = next(iter(sets.values()))
        parts.append(f"## {first['asks']}\n\n{first['paper']}\n\n{first['differs']}\n")
        parts += [_answer(name, answer) for name, answer in sets.items()]
    return "\n".join(parts)


def _answer(name: str, answer: Mapping[str, Any]) -> str:
    of = [f["verdict"] for f in answer["findings"]]
    counts = ", ".join(f"{of.count(v)} {v}" for v in ("holds", "fails", "open") if v in of)
    train = answer["settings"]["train"]
    seeds = len(next(iter(answer["arms"].values()))["seeds"])
    gains = {f["than"]: f for f in answer["findings"] if f["metric"] == "success"}
    rows = [_row(arm, made, gains.get(arm)) for arm, made in answer["arms"].items()]
    head = ("arm", "updates", "of the output", "success", "95 %", "median px", "rank of the bottleneck",
            "none better by, 95 %", "verdict")  # fmt: skip
    table = "\n".join(_line(row) for row in (head, ["---"] * len(head), *rows))
    return (
        f"### {SETS.get(name, name)}\n\n{seeds} seeds, {train['steps']} updates with batches of "
        f"{train['batch']}, all levels of displacement. Of {len(of)} comparisons: {counts}; what the paper "
        f"says **{answer['verdict']}** here. Commit {answer['commit'][:10]}.\n\n{table}\n"
    )


def _row(arm: str, made: Mapping[str, Any], gain: Mapping[str, Any] | None) -> Sequence[str]:
    success = [seed["success"] for seed in made["seeds"]]
    low, high = bootstrap_mean(success)
    median, rank = (fmean(seed[key] for seed in made["seeds"]) for key in ("median", "bottleneck rank"))
    told = ("", "")
    if gain:
        told = (f"{gain['mean']:+.0%} ({gain['low']:+.0%} to {gain['high']:+.0%})", gain["verdict"])
    return (arm, str(made["updates"]), str(made["of the output"]), f"{fmean(success):.0%}",
            f"{low:.0%} – {high:.0%}", f"{median:.2f}", f"{rank:.1f}", *told)  # fmt: skip


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Read the evidence and write the page."""
    folders = sorted((ROOT / "evidence" / "studies").iterdir())
    answers = {
        folder.name: {
            f.stem: json.loads(f.read_text(encoding="utf-8")) for f in sorted(folder.glob("*.json"))
        }
        for folder in folders
    }
    write_text(ROOT / "docs" / "results-studies.md", page(answers))


if __name__ == "__main__":
    main()
