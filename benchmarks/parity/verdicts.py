"""From cells to rows, from rows to a page: means, seed noise, and whether ours is below the better peer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, median, stdev
from typing import Any

OURS, PEERS, UNTRAINED = "ours", ("lightly", "solo-learn"), "untrained"
JUDGES = {"knn": "k-NN", "linear": "linear probe"}
Row = Mapping[str, Any]
HEAD = """# Beside lightly and solo-learn

Made by `python benchmarks/parity/run.py --markdown` from `benchmarks/parity/results/`; do not edit.

Every method is trained by three libraries: by ours, by [lightly](https://github.com/lightly-ai/lightly), by
[solo-learn](https://github.com/vturrisi/solo-learn). All get the same network, data, epochs, batch, optimizer
and schedule, and the same widths, temperatures, momenta, crops and strengths of color; heads, losses,
memories and the transforms themselves are each library's own. Frozen features are judged by the same judges,
on images held out from the training. See `benchmarks/parity/README.md`.

Accuracy in percent: mean over the seeds ± standard deviation. *Not below*: the mean of ours is not below that
of the better peer by more than that peer's standard deviation. An empty cell: the library has no such method.
"""


def verdict(ours: Sequence[float], peers: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Ours against the better peer.

    Returns:
        "better" (the peer with the larger mean), "difference" (of the means, ours less the peer's), "noise"
        (sample standard deviation of that peer's seeds), "not_below" (difference ≥ −noise); "not_below" is
        None, and the others where they cannot be told, while there is no peer or no second seed of one.
    """
    peers = {name: values for name, values in peers.items() if values}
    if not ours or not peers:
        return {"better": None, "difference": None, "noise": None, "not_below": None}
    better = max(peers, key=lambda name: fmean(peers[name]))
    difference = fmean(ours) - fmean(peers[better])
    noise = stdev(peers[better]) if len(peers[better]) > 1 else None
    return {
        "better": better,
        "difference": round(difference, 5),
        "noise": None if noise is None else round(noise, 5),
        # Accuracies are fractions of a few hundred images: 1e-9 is no difference, only rounding.
        "not_below": None if noise is None else difference >= -noise - 1e-9,
    }


def rows(found: Mapping[tuple[str, str, int], Row], methods: Sequence[str]) -> list[dict[str, Any]]:
    """A row for every method and judge, from cells by (library, method, seed)."""
    made = []
    for method in methods:
        for judge in JUDGES:
            seeds = {name: _seeds(found, name, method, judge) for name in (OURS, *PEERS)}
            if not any(seeds.values()):
                continue
            begin = _seeds(found, UNTRAINED, "mae" if method == "mae" else "simclr", judge)
            made.append({
                "method": method, "judge": judge,
                **{name: values for name, values in seeds.items() if values},
                UNTRAINED: begin,
                **verdict(seeds[OURS], {name: seeds[name] for name in PEERS}),
                "seconds": _seconds(found, method),
            })  # fmt: skip
    return made


def markdown(results: Mapping[str, Mapping[str, Any]], titles: Mapping[str, str]) -> str:
    """The page, from results by data set."""
    parts = [HEAD]
    said = [row for result in results.values() for row in result["rows"] if row["not_below"] is not None]
    below = [row for row in said if not row["not_below"]]
    mean = fmean(row["difference"] for row in said) if said else 0.0
    parts.append(
        f"Of {len(said)} comparisons ours is not below in {len(said) - len(below)}; on average it is "
        f"{100 * mean:+.1f} points from the better peer. {chance(results)}\n"
    )
    for name, result in results.items():
        c = result["settings"]
        parts.append(f"## {titles[name]}\n")
        parts.append(
            f"{c['train']} images to train on, {c['test']} to be judged on; {c['epochs']} epochs (MAE "
            f"{3 * c['epochs']}) of batches of {c['batch']}; seeds {', '.join(map(str, result['seeds']))}. An "
            f"untrained network: {_untrained(result['rows'])}.\n"
        )
        parts.append(_table(result["rows"]))
        parts.append(f"\nCPU-seconds of a training, median (augmentation + the rest): {_times(result['rows'])}.\n")
    versions = next(iter(results.values()))["settings"]["peers"] if results else {}
    parts.append("Versions of the peers: " + ", ".join(f"{k} {v}" for k, v in versions.items()) + ".")
    return "\n".join(parts) + "\n"


def chance(results: Mapping[str, Mapping[str, Any]]) -> str:
    """What luck alone would do."""
    if not results:
        return ""
    return (
        "Were all libraries equal, a mean of three seeds would still fall below the better of two peers by "
        "more than its standard deviation in about one comparison of four, and below a single peer in about "
        "one of five (Gaussian noise): single cells say little, the columns say more."
    )


def _seeds(found: Mapping[tuple[str, str, int], Row], library: str, method: str, judge: str) -> list[float]:
    mine = sorted((seed, cell[judge]) for (lib, m, seed), cell in found.items() if (lib, m) == (library, method))
    return [round(value, 5) for _, value in mine]


def _seconds(found: Mapping[tuple[str, str, int], Row], method: str) -> dict[str, list[float]]:
    """Medians over seeds: library → [augmentation, the rest]."""
    made = {}
    for library in (OURS, *PEERS):
        cells = [cell for (lib, m, _), cell in found.items() if (lib, m) == (library, method)]
        if cells:
            made[library] = [round(median(cell[part] for cell in cells), 1) for part in ("views", "rest")]
    return made


def _table(rows: Sequence[Row]) -> str:
    head = ["method"]
    for title in JUDGES.values():
        head += [f"{title}: ours", *PEERS, "difference", "not below"]
    lines = [head, ["---"] * len(head)]
    for method in dict.fromkeys(row["method"] for row in rows):
        line = [method]
        for judge in JUDGES:
            row = next((r for r in rows if (r["method"], r["judge"]) == (method, judge)), None)
            line += [""] * 5 if row is None else _cells(row)
        lines.append(line)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: Row) -> list[str]:
    shown = [_mean(row.get(name, [])) for name in (OURS, *PEERS)]
    difference = "" if row["difference"] is None else f"{100 * row['difference']:+.1f}"
    return [*shown, difference, {True: "yes", False: "**no**", None: ""}[row["not_below"]]]


def _mean(values: Sequence[float]) -> str:
    if not values:
        return ""
    spread = f" ± {100 * stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * fmean(values):.1f}{spread}"


def _untrained(rows: Sequence[Row]) -> str:
    named = []
    for kind, of in (("ConvNet", lambda m: m != "mae"), ("ViT", lambda m: m == "mae")):
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
