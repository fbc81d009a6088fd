"""Which method to choose: all methods for images on two real sets, with one network and equal budgets.

    python benchmarks/choosing.py --from DIR -o runs/choosing        # trains; goes on where it was stopped
    python benchmarks/choosing.py -o runs/choosing --collect         # results/choosing.json of what is there
    python benchmarks/choosing.py --markdown                         # docs/results-methods.md from the result

Every method of the room is found by itself. Its own settings are kept but for widths, memories and crops of
the size of the data, which one table of names gives all alike (``SIZES``).
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import contract
import torch

sys.path.insert(0, str(Path(__file__).parent / "parity"))
from cells import Cells, Key
from recipe import SETS, Set
from run import prepared

from counterpoint.core.config import Config, load, names
from counterpoint.core.encoder import EncoderConfig
from counterpoint.core.errors import InputError
from counterpoint.core.method import MethodConfig
from counterpoint.data.arrays import Arrays, read_arrays
from counterpoint.encoders.convnet import ConvNet
from counterpoint.tasks.features import features
from counterpoint.tasks.knn import KNN
from counterpoint.tasks.linear_probe import LinearProbe
from counterpoint.train.config import TrainConfig
from counterpoint.train.loop import fit, fresh
from counterpoint.train.optim import OptimConfig

DATA = ("cifar10_2400", "mnist_5k")
UPDATES, BATCH, RATE, DRAWS = 336, 64, 2e-3, 10
SIZES: dict[str, Any] = {
    "hidden": 256, "dim": 64, "predictor": 256, "queue": 512, "prototypes": 128, "locals": 2,
    "momentum": 0.97, "freeze": 1 / 12, "start": 1, "hardest": 32, "mixed": 16, "with_query": 16,
    "codes": 64, "words": 256, "expansion": 128, "off_diagonal": 0.02, "decoder": 48, "decoder_depth": 1,
    "decoder_heads": 4,
}  # fmt: skip
"""Settings of these names, of methods and of their parts, where they are larger than the data."""
OWN: dict[str, dict[str, Any]] = {
    "simsiam": {"dim": 256, "hidden": 64}, "barlow_twins": {"dim": 256}, "vicreg": {"dim": 256},
    "blockwise_ssl": {"dim": 256}, "metaug": {"momentum": 0.5},
}  # fmt: skip
"""Where a name means something else, or the width of the embedding is the method."""
LABELS = {"supcon", "hydra", "core_tuning"}
"""Methods that are told the classes."""
LEFT_OUT = {"supremix": "regresses a number, of which these sets have none"}
METRICS = {"knn": "k-NN", "linear": "linear", "few": "5 labels"}
HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "docs" / "results-methods.md"


def sized(config: Any, data: Set, classes: int) -> Any:
    """Settings of the size of the data, those of parts too."""
    known = SIZES | {"size": data.size, "local": data.size // 2, "flip": data.flip, "classes": classes}
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, EncoderConfig):
            changes[field.name] = _network(value, data)
        elif isinstance(value, Config):
            changes[field.name] = sized(value, data, classes)
        elif field.name in known and type(value) in (int, float) and value:  # 0 is a part left out
            changes[field.name] = known[field.name]
    return dataclasses.replace(config, **changes)


def _network(of: EncoderConfig, data: Set) -> EncoderConfig:
    if of.kind == "vit":
        return dataclasses.replace(
            of, channels=data.channels, size=data.size, patch=data.size // 4, dim=64, depth=2, heads=4
        )  # pyright: ignore[reportCallIssue] -- a ViT's settings
    return ConvNet.Config(channels=data.channels, width=16)


def methods() -> dict[str, str]:
    """Name → module of all that learn from images."""
    room = names(MethodConfig.room)
    return {n: m for n, m in sorted(room.items()) if ".image." in m and n not in LEFT_OUT}


def trained(config: MethodConfig, data: Arrays, seed: int, updates: int = UPDATES) -> Any:
    """The encoder after as many updates as all get."""
    method = fresh(config, seed)
    if updates:
        optim = OptimConfig(name="adam", lr=RATE, weight_decay=0.0, warmup=0.1)
        settings = TrainConfig(
            steps=updates, batch=BATCH, seed=seed, device="cpu", log_every=1000, optim=optim
        )
        with tempfile.TemporaryDirectory() as folder:
            fit(method, data, settings, folder, progress=False)
    return method.network("image")


def judged(encoder: Any, train: Arrays, test: Arrays, seed: int) -> dict[str, float]:
    """Accuracy of frozen features: nearest neighbors, and linear probes on all labels and on five a class."""
    a, b = features(encoder, train), features(encoder, test)
    few = LinearProbe(LinearProbe.Config(labels="5/class"))
    return {
        "knn": KNN(KNN.Config()).judge(a, b)["accuracy"],
        "linear": LinearProbe(LinearProbe.Config()).judge(a, b, 0)["accuracy"],
        "few": fmean(few.judge(a, b, 100 * seed + draw)["accuracy"] for draw in range(DRAWS)),
    }


def settings(name: str, data: Set, classes: int) -> Any:
    made = sized(load(MethodConfig.room, name).Config(), data, classes)
    gray = {"split": "bands"} if data.channels == 1 and hasattr(made, "split") else {}
    return dataclasses.replace(made, **OWN.get(name, {}), **gray)


def asked(config: Any) -> str:
    """A hash of what a cell is asked."""
    text = json.dumps([config.to_dict(), UPDATES, BATCH, RATE, DRAWS], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def ask(args: argparse.Namespace) -> None:
    """Make the cells that are missing, the first seed of all first."""
    cells = Cells(args.out / "cells")
    for seed in range(args.seeds):
        for name in DATA:
            arrays = prepared(name, args.folder, args.out)
            train, test = (read_arrays(arrays, part) for part in ("train", "test"))
            kinds: dict[str, Any] = {m: settings(m, SETS[name], len(train.classes)) for m in methods()}
            for method, config in [*kinds.items(), ("untrained", kinds["simclr"])]:
                key, hashed = Key(name, "ours", method, seed), asked(config)
                if cells.read(key, hashed) is not None:
                    continue
                start = time.process_time()
                encoder = trained(config, train, seed, 0 if method == "untrained" else UPDATES)
                seconds = time.process_time() - start
                answer = judged(encoder, train, test, seed) | {"cpu": round(seconds, 2)}
                cells.write(key, hashed, answer)
                print(name, method, seed, answer, flush=True)


def collect(args: argparse.Namespace) -> None:
    """Write the result from the cells there are."""
    cells, rows, seeds = Cells(args.out / "cells"), [], set()
    for name in DATA:
        train = read_arrays(args.out / "arrays" / f"{name}.npz", "train")
        kinds = {m: settings(m, SETS[name], len(train.classes)) for m in methods()}
        for method, config in [*kinds.items(), ("untrained", kinds["simclr"])]:
            found = {s: cells.read(Key(name, "ours", method, s), asked(config)) for s in range(args.seeds)}
            there = {s: answer for s, answer in found.items() if answer is not None}
            if there:
                seeds |= set(there)
                numbers = {m: [contract.significant(a[m]) for a in there.values()] for m in METRICS}
                cpu = contract.spread([a["cpu"] for a in there.values()])
                rows.append({"set": name, "method": method, "seeds": len(there), **numbers, "cpu": cpu})
    about = "Accuracy of frozen features by method, on two real sets, with one network and equal budgets."
    budget = {"updates": UPDATES, "batch": BATCH, "rate": RATE, "draws": DRAWS}
    contract.write("choosing", about, rows, budget, sorted(seeds), 0)


def markdown(result: dict[str, Any]) -> str:
    """The page."""
    rows = {(r["set"], r["method"]): r for r in result["rows"]}
    sets = [s for s in DATA if any(key[0] == s for key in rows)]
    budget = result["settings"]
    titles = [f"{SETS[s].title.split(',')[0]}, {t}" for s in sets for t in METRICS.values()]
    lines = [
        "# Which method to choose", "",
        "Made by `python benchmarks/choosing.py --markdown` from `benchmarks/results/choosing.json`; "
        "do not edit.", "",
        "Every method for images trains the same small ConvNet (MAE: a small ViT) with "
        f"{budget['updates']} updates of {budget['batch']} images, Adam at {budget['rate']:g}, its own loss, "
        "crops and settings but for widths and memories of the size of the data. Frozen features are then "
        "judged on images held out: accuracy in percent by 20 nearest neighbors, by a linear probe on all "
        "labels, and on 5 labels a class (mean of 10 draws). " + _seeds(len(result["seeds"])) +
        "Methods marked * are told the labels. So short a training of so small a network says which methods "
        "learn fast from little; long trainings of large networks differ less.", "",
        f"| method | {' | '.join(titles)} | CPU-s |",
        "| --- |" + " ---: |" * (len(sets) * len(METRICS) + 1),
    ]  # fmt: skip
    named = list(dict.fromkeys(method for _, method in rows))
    complete = [m for m in named if all((s, m) in rows for s in sets)]

    def mean(method: str) -> float:
        return fmean(fmean(rows[s, method][k]) for s in sets for k in METRICS)

    for method in sorted(complete, key=mean, reverse=True):
        cells = [_cell(rows[s, method][k]) for s in sets for k in METRICS]
        seconds = fmean(rows[s, method]["cpu"]["median"] for s in sets)
        star = "*" if method in LABELS else ""
        lines.append(f"| {method}{star} | {' | '.join(cells)} | {seconds:.1f} |")
    left = "; ".join(f"{name}: {why}" for name, why in LEFT_OUT.items())
    return "\n".join(
        [*lines, "", f"Not asked: {left}; the procedures on data sets (`dcc`, `ct_reduction`).", ""]
    )


def _seeds(count: int) -> str:
    if count == 1:
        return "One seed: two or three points are chance. In the order of the mean of all columns. "
    return f"Mean over {count} seeds ± standard deviation, in the order of the mean of all columns. "


def _cell(values: list[float]) -> str:
    spread = f" ± {100 * stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * fmean(values):.1f}{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--from", dest="folder", type=Path, help="folder of the data sets")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/choosing"))
    parser.add_argument("--collect", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.markdown:
        DOCUMENT.write_text(markdown(contract.read("choosing")), encoding="utf-8")
        return
    try:
        if not args.collect:
            ask(args)
        collect(args)
    except InputError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
