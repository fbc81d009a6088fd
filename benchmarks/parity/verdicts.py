"""From cells to rows, from rows to a page: means, seed noise, and whether ours is below the better peer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import sqrt
from statistics import fmean, median, stdev
from typing import Any

OURS, PEERS, UNTRAINED = "ours", ("lightly", "solo-learn"), "untrained"
JUDGES = {"knn": "k-NN", "linear": "linear probe"}
Row = Mapping[str, Any]
Found = Mapping[tuple[str, str, int], Row]
"""Cells of a data set by (library, method, seed)."""
HEAD = """# Beside lightly and solo-learn

Made by `python benchmarks/parity/run.py --markdown` from `benchmarks/parity/results/`; do not edit.

Every method is trained by three libraries: by ours, by [lightly](https://github.com/lightly-ai/lightly), by
[solo-learn](https://github.com/vturrisi/solo-learn). All get the same network, data, epochs, batch, optimizer
and schedule, and the same widths, temperatures, momenta, crops and strengths of color; heads, losses,
memories and the transforms themselves are each library's own. Frozen features are judged by the same judges,
on images held out from the training. How, and what differs all the same, is in `benchmarks/parity/README.md`.

Accuracy in percent: mean over the seeds ± standard deviation. *Not below*: the mean of ours is not below that
of the better peer by more than that peer's standard deviation. An empty cell: the library has no such method.
"""
LUCK = (
    "Were all libraries equal, the mean of three seeds would by luck alone still be called below in about "
    "one comparison of four with the better of two peers, and in one of six with a single peer (Gaussian "
    "noise): a single cell says little, the means over all sets say more."
)


def verdict(ours: Sequence[float], peers: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Ours against the better peer.

    Returns:
        "better" (the peer with the larger mean), "difference" (of the means, ours less that peer's), "noise"
        (sample standard deviation of that peer's seeds) and "not_below" (difference ≥ −noise). What cannot
        be told is None: all without a peer, noise and verdict without a second seed.
    """
    peers = {name: values for name, values in peers.items() if values}
    if not ours or not peers:
        return {"better": None, "difference": None, "noise": None, "not_below": None}
    better = max(peers, key=lambda name: fmean(peers[name]))
    difference = fmean(ours) - fmean(peers[better])
    noise = stdev(peers[better]) if min(len(ours), len(peers[better])) > 1 else None
    return {
        "better": better,
        "difference": round(difference, 5),
        "noise": None if noise is None else round(noise, 5),
        # Accuracies are kept to 5 digits: less than that is no difference, only rounding.
        "not_below": None if noise is None else difference >= -noise - 1e-5,
    }


def rows(found: Found, methods: Sequence[str]) -> list[dict[str, Any]]:
    """A row for every method and judge of which there is a cell."""
    made = []
    for method in methods:
        for judge in JUDGES:
            seeds = {name: _seeds(found, name, method, judge) for name in (OURS, *PEERS)}
            if not any(seeds.values()):
                continue
            made.append({
                "method": method, "judge": judge,
                **{name: values for name, values in seeds.items() if values},
                UNTRAINED: _seeds(found, UNTRAINED, "mae" if method == "mae" else "simclr", judge),
                # A peer that is still at work is shown, and not yet judged by.
                **verdict(
                    seeds[OURS], {p: seeds[p] for p in PEERS if len(seeds[p]) >= len(seeds[OURS])}
                ),
                "seconds": _seconds(found, method),
            })  # fmt: skip
    return made


def gap(rows: Iterable[Row], peer: str) -> tuple[float, float] | None:
    """Mean over rows of ours less a peer's, and its standard error from the seeds; None without two seeds."""
    pairs = [(r[OURS], r[peer]) for r in rows if OURS in r and peer in r]
    pairs = [pair for pair in pairs if min(map(len, pair)) > 1]
    if not pairs:
        return None
    squared = sum(stdev(values) ** 2 / len(values) for pair in pairs for values in pair)
    return fmean(fmean(a) - fmean(b) for a, b in pairs), sqrt(squared) / len(pairs)


def markdown(
    results: Mapping[str, Mapping[str, Any]], titles: Mapping[str, str], formulas: Sequence[Row] = ()
) -> str:
    """The page, from results by data set and the rows of formulas.py."""
    every = [row for result in results.values() for row in result["rows"]]
    said = [row for row in every if row["not_below"] is not None]
    right = sum(row["not_below"] for row in said)
    parts = [HEAD, f"Ours is not below in {right} of {len(said)} comparisons. {LUCK}\n"]
    parts += ["## All sets together\n", TOGETHER, _together(every)]
    for name, result in results.items():
        c = result["settings"]
        parts += [
            f"\n## {titles[name]}\n",
            f"{c['train']} images to train on, {c['test']} to be judged on; {c['epochs']} epochs (MAE "
            f"{3 * c['epochs']}) of batches of {c['batch']}; seeds "
            f"{', '.join(map(str, result['seeds']))}. An untrained network: {_untrained(result['rows'])}.\n",
            _set(result["rows"]),
            f"\nCPU-seconds of a training, median over methods, augmentation + the rest: "
            f"{_times(result['rows'])}.",
        ]
    if formulas:
        parts += [FORMULAS, _formulas(formulas)]
    versions = {k: v for result in results.values() for k, v in result["settings"]["peers"].items()}
    parts.append("\nVersions of the peers: " + ", ".join(f"{k} {v}" for k, v in versions.items()) + ".")
    return "\n".join(parts) + "\n"


TOGETHER = """Points of accuracy, ours less the peer's: mean over the sets ± standard error from the seeds.
Bold is what is more than twice its standard error.
"""
FORMULAS = """
## The formulas alone

Our losses and the peers' on the same random embeddings, in double precision: relative differences of the
values and of the gradients. What is not listed has no counterpart of the same formula.
"""


def _formulas(rows: Sequence[Row]) -> str:
    lines = [["loss", "peer", "value", "gradient", "note"], ["---"] * 5]
    lines += [[r["loss"], r["peer"], f"{r['value']:.0e}", f"{r['gradient']:.0e}", r["note"]] for r in rows]
    return _table(lines)


def _together(every: Sequence[Row]) -> str:
    head = ["method", *(f"{title}: less {peer}" for title in JUDGES.values() for peer in PEERS)]
    lines = [head, ["---"] * len(head)]
    for method in [*dict.fromkeys(row["method"] for row in every), None]:
        line = ["**all**" if method is None else method]
        for judge in JUDGES:
            mine = [r for r in every if r["judge"] == judge and method in (None, r["method"])]
            line += [_gap(gap(mine, peer)) for peer in PEERS]
        lines.append(line)
    return _table(lines)


def _gap(found: tuple[float, float] | None) -> str:
    if found is None:
        return ""
    mean, error = (100 * v for v in found)
    text = f"{mean:+.1f} ± {error:.1f}"
    return f"**{text}**" if abs(mean) > 2 * error else text


def _set(rows: Sequence[Row]) -> str:
    head = ["method"]
    for title in JUDGES.values():
        head += [f"{title}: ours", *PEERS, "difference", "not below"]
    lines = [head, ["---"] * len(head)]
    for method in dict.fromkeys(row["method"] for row in rows):
        line = [method]
        for judge in JUDGES:
            row = next((r for r in rows if (r["method"], r["judge"]) == (method, judge)), None)
            line += [""] * 5 if row is None else _compared(row)
        lines.append(line)
    return _table(lines)


def _compared(row: Row) -> list[str]:
    shown = [_mean(row.get(name, [])) for name in (OURS, *PEERS)]
    difference = "" if row["difference"] is None else f"{100 * row['difference']:+.1f}"
    return [*shown, difference, {True: "yes", False: "**no**", None: ""}[row["not_below"]]]


def _mean(values: Sequence[float]) -> str:
    if not values:
        return ""
    spread = f" ± {100 * stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * fmean(values):.1f}{spread}"


def _untrained(rows: Sequence[Row]) -> str:
    kinds: dict[str, Callable[[str], bool]] = {"ConvNet": lambda m: m != "mae", "ViT": lambda m: m == "mae"}
    named = []
    for kind, of in kinds.items():
        for judge, title in JUDGES.items():
            row = next((r for r in rows if of(r["method"]) and r["judge"] == judge and r[UNTRAINED]), None)
            if row is not None:
                named.append(f"{kind} {_mean(row[UNTRAINED])} ({title})")
    return ", ".join(named) or "not asked"


def _times(rows: Sequence[Row]) -> str:
    said = []
    for library in (OURS, *PEERS):
        pairs = [row["seconds"][library] for row in rows if library in row["seconds"]]
        if pairs:
            views, rest = (median(pair[i] for pair in pairs) for i in (0, 1))
            said.append(f"{library} {views:.1f} + {rest:.1f}")
    return ", ".join(said)


def _seeds(found: Found, library: str, method: str, judge: str) -> list[float]:
    cells = {seed: cell for (lib, m, seed), cell in found.items() if (lib, m) == (library, method)}
    return [round(cells[seed][judge], 5) for seed in sorted(cells)]


def _seconds(found: Found, method: str) -> dict[str, list[float]]:
    """Medians over seeds: library → [augmentation, the rest]."""
    made = {}
    for library in (OURS, *PEERS):
        cells = [cell for (lib, m, _), cell in found.items() if (lib, m) == (library, method)]
        if cells:
            made[library] = [round(median(cell[part] for cell in cells), 1) for part in ("views", "rest")]
    return made


def _table(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
