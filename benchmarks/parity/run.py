"""Our methods beside lightly's and solo-learn's own training of the same methods: same task, same judges.

    python benchmarks/parity/run.py --from DIR --peer-python .venv-parity/bin/python -o runs/parity
    python benchmarks/parity/run.py --collect -o runs/parity     # results/*.json from what is there
    python benchmarks/parity/run.py --markdown                   # docs/results-parity.md from results/*.json

Every cell (library, method, data set, seed) is written as it is finished: the same command again goes on.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import contract
import numpy as np
import torch
import verdicts
from cells import Cells, Key
from recipe import LIBRARIES, METHODS, OURS, SETS, UNTRAINED, Budget, fingerprint, has

from counterpoint.core.errors import InputError
from counterpoint.core.files import aside, output_folder
from counterpoint.data.open import open_data

HERE = Path(__file__).parent
SOURCES, DOCUMENT = HERE.parents[1] / "src", HERE.parents[1] / "docs" / "results-parity.md"


def prepared(name: str, folder: Path | None, out: Path) -> Path:
    """The images of a set as all libraries get them: (N, C, size, size) uint8 with labels, in one npz."""
    path = out / "arrays" / f"{name}.npz"
    if path.is_file():
        return path
    data = SETS[name]
    if "/" in data.file and folder is None:
        raise InputError(f"--from: expected the folder that holds {data.file}, found none given")
    source = folder / data.file if folder is not None and "/" in data.file else data.file
    entries: dict[str, np.ndarray] = {}
    for part in ("train", "test"):
        read: Any = open_data(source, part, size=data.size, channels=data.channels)
        image = read.image if read.image.dtype == torch.uint8 else (read.image * 255).round().to(torch.uint8)
        most = data.most if part == "train" else len(image)
        entries |= {f"image_{part}": image[:most].numpy(), f"label_{part}": read.label[:most].numpy()}
        entries["classes"] = np.array(read.classes)
    output_folder(path.parent)
    with aside(path) as file:
        np.savez_compressed(file, **entries)  # pyright: ignore[reportArgumentType]
    return path


def keys(name: str, methods: list[str], seeds: int, budget: Budget) -> list[tuple[Key, str]]:
    """All cells of a data set, with what they are asked."""
    return [
        (Key(name, library, method, seed), fingerprint(method, SETS[name], budget))
        for library in LIBRARIES
        for seed in range(seeds)
        for method in methods
        if has(library, method, SETS[name].channels)
    ]


def ask(name: str, args: argparse.Namespace, budget: Budget) -> None:
    """Have every library make the cells that are missing."""
    arrays = prepared(name, args.folder, args.out)
    wanted = keys(name, args.methods, args.seeds, budget)
    missing = Cells(args.out / "cells").missing(wanted)
    print(f"{name}: {len(missing)} of {len(wanted)} cells to make", flush=True)
    for library in args.libraries:
        mine = [key for key in missing if key.library == library]
        if not mine:
            continue
        own = library in (OURS, UNTRAINED)
        if not own and args.peer_python is None:
            print(f"{name}: {library} left out: no --peer-python")
            continue
        command = [
            sys.executable if own else str(args.peer_python), "-W", "ignore", str(HERE / "worker.py"),
            "--library", library, "--data", name, "--arrays", str(arrays), "--cells", str(args.out / "cells"),
            "--commit", contract.commit()[0], "--methods", *dict.fromkeys(key.method for key in mine),
            "--seeds", *map(str, sorted({key.seed for key in mine})),
        ]  # fmt: skip
        for field in fields(Budget):
            command += [f"--{field.name}", str(getattr(budget, field.name))]
        environment = os.environ | {"PYTHONPATH": str(SOURCES), "OMP_NUM_THREADS": "1"}
        if subprocess.run(command, env=environment, check=False).returncode:
            print(f"{name}: {library}: not all cells could be made")


def collect(name: str, args: argparse.Namespace, budget: Budget) -> None:
    """Write the result of a data set from the cells there are."""
    cells = Cells(args.out / "cells")
    found = {}
    for key, asked in keys(name, args.methods, args.seeds, budget):
        if (cell := cells.read(key, asked)) is not None:
            found[key.library, key.method, key.seed] = cell
    rows = verdicts.rows(found, args.methods)
    if not rows:
        return
    versions = {k: v for cell in found.values() for k, v in cell["versions"].items()}
    arrays = np.load(args.out / "arrays" / f"{name}.npz")
    settings = {
        **asdict(budget),
        **{f"of_{k}" if k in ("size",) else k: v for k, v in asdict(SETS[name]).items() if k != "file"},
        **{part: len(arrays[f"label_{part}"]) for part in ("train", "test")},
        "commits": sorted({cell["commit"] for cell in found.values()}),
        "peers": versions,
    }
    about = "Accuracy of frozen features: our training beside lightly's and solo-learn's, on the same task."
    seeds = sorted({seed for _, _, seed in found})
    contract.write(name, about, rows, settings, seeds, 0, HERE / "results")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="METHOD")
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0")
    parser.add_argument("--from", dest="folder", type=Path, help="folder of the data sets")
    parser.add_argument("--peer-python", type=Path, help="Python of the environment of the peers")
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("runs/parity"), help="cells; a run goes on there"
    )
    parser.add_argument("--collect", action="store_true", help="train nothing, write results from the cells")
    parser.add_argument("--markdown", action="store_true", help="write the page from the results")
    for field in fields(Budget):
        parser.add_argument(f"--{field.name}", type=type(field.default), default=field.default)
    args = parser.parse_args()
    budget = Budget(**{f.name: getattr(args, f.name) for f in fields(Budget)})
    if args.markdown:
        made = {name: contract.read(name, HERE / "results") for name in SETS if _there(name)}
        formulas = contract.read("formulas", HERE / "results")["rows"] if _there("formulas") else []
        page = verdicts.markdown(made, {n: s.title for n, s in SETS.items()}, formulas)
        DOCUMENT.write_text(page, encoding="utf-8")
        return
    try:
        for name in args.data:
            if not args.collect:
                ask(name, args, budget)
            collect(name, args, budget)
    except InputError as error:
        sys.exit(str(error))


def _there(name: str) -> bool:
    return (HERE / "results" / f"{name}.json").is_file()


if __name__ == "__main__":
    main()
