"""One library on one data set, in the environment of that library: makes the cells that ``run.py`` asks for.

python worker.py --library lightly --data digits --arrays data/digits.npz --cells cells --methods simclr ...
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import traceback
from dataclasses import fields
from importlib import metadata
from pathlib import Path

import torch
from cells import Cells, Key
from recipe import LIGHTLY, OURS, SETS, SOLO, UNTRAINED, Budget, fingerprint, recipe
from sides import judged, torchvision_without_operators

from counterpoint.data.arrays import read_arrays

PACKAGES = ("torch", "torchvision", "lightly", "solo-learn", "lightning", "timm", "pillow")


def versions() -> dict[str, str]:
    """Of those that are installed here."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def answer(library: str, key: Key, budget: Budget, arrays: Path) -> dict[str, object]:
    """Train and judge."""
    config = recipe(key.method, SETS[key.data], budget)
    train, test = (read_arrays(arrays, part) for part in ("train", "test"))
    if library == UNTRAINED:
        made = importlib.import_module("ours_side").untrained(config, key.seed)
    else:
        side = {OURS: "ours_side", LIGHTLY: "lightly_side", SOLO: "solo_side"}[library]
        made = importlib.import_module(side).train(key.method, config, train, budget, key.seed)
    accuracy = judged(made.encoder, train, test)
    rest = made.total - made.views
    return {**accuracy, "views": round(made.views, 2), "rest": round(rest, 2), "versions": versions()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--library", required=True)
    parser.add_argument("--data", required=True, choices=SETS)
    parser.add_argument("--arrays", required=True, type=Path, help="npz of the prepared data")
    parser.add_argument("--cells", required=True, type=Path)
    parser.add_argument("--methods", nargs="+", required=True)
    parser.add_argument("--seeds", nargs="+", type=int, required=True)
    parser.add_argument("--commit", default="", help="kept in each cell")
    for field in fields(Budget):
        parser.add_argument(f"--{field.name}", type=type(field.default), default=field.default)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.library in (LIGHTLY, SOLO):
        torchvision_without_operators()
    budget = Budget(**{f.name: getattr(args, f.name) for f in fields(Budget)})
    cells = Cells(args.cells)
    failed = 0
    for seed in args.seeds:
        for method in args.methods:
            key = Key(args.data, args.library, method, seed)
            asked = fingerprint(method, SETS[args.data], budget)
            if cells.read(key, asked) is not None:
                continue
            try:
                found = answer(args.library, key, budget.of(method), args.arrays)
            except Exception:  # one method that a peer cannot train must not stop the rest
                traceback.print_exc()
                failed += 1
                continue
            cells.write(key, asked, {**found, "commit": args.commit})
            shown = {k: found[k] for k in ("knn", "linear", "views", "rest")}
            print(f"{args.data} {args.library} {method} {seed}: {json.dumps(shown)}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
