"""How long a registration takes and how much memory, side by side with other registration packages.

    python benchmarks/speed.py                       # all methods that are installed, a table
    python benchmarks/speed.py --write               # the same, kept in results/speed.json

Every method gets the same pairs, one of two kinds at three sizes: "stains" (hematoxylin and DAB of a section,
its right half enlarged; the learned method trained on its left half) and "fundus" (green and inverted red of
an eye, no training). The moving image is turned by any angle and shifted; sought is a rigid transform. Each
method, kind, size and number of threads runs in a fresh process: one warm-up on a corner of 128², then three
draws. CPU-seconds count all threads; memory is the peak above what the process held when images, libraries
and model were loaded. Loading and training are not counted. Success is an error ≤ 2 % of the width; 3 draws
are few: for how well methods register see real.py.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import contract
import numpy as np

from counterpoint.core.errors import InputError, WorkError
from counterpoint.metrics.registration import corner_error
from counterpoint.registration.protocol import draw, make_pair

Method = Callable[[np.ndarray, np.ndarray], np.ndarray]
KINDS = ("stains", "fundus")
METHODS = ("counterpoint, trained", "counterpoint", "SimpleITK Mattes, 12 starts", "elastix", "ANTs")
STEPS = 100
TRAINED_ON = 224
"""Columns of the stained section that are trained on; those from 256 on are registered."""


def scene(kind: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Two aligned images (size, size) float32 in [0, 1]."""
    from skimage.data import retina
    from skimage.transform import resize

    from counterpoint.data.stains import stains

    if kind == "stains":
        images = [stain[128:384, 256:, 0] for stain in stains()]
    else:
        eye = retina()[193:1217, 193:1217].astype(np.float32) / 255
        images = [eye[..., 1], 1 - np.sqrt(eye[..., 0])]
    smaller = size < images[0].shape[0]
    fixed, moving = (resize(i, (size, size), 1 if smaller else 3, anti_aliasing=smaller) for i in images)
    return np.asarray(fixed, np.float32), np.asarray(moving, np.float32)


def draws(kind: str, size: int, seed: int, repeats: int) -> list[dict[str, np.ndarray]]:
    """Pairs whose moving image is turned by any angle, with the truth."""
    aligned = scene(kind, size)
    made = [make_pair(*aligned, draw("full", size, seed, kind, i)) for i in range(repeats)]
    return [{"fixed": f, "moving": m, "truth": t} for f, m, t in made]


def train(size: int, folder: Path) -> None:
    """A small CoMIR on the left half of the section, as large as ``scene`` shows the right half."""
    from skimage.transform import resize

    from counterpoint.data.aligned import AlignedPatches
    from counterpoint.data.stains import stains
    from counterpoint.methods.registration.comir import CoMIR
    from counterpoint.train.config import TrainConfig
    from counterpoint.train.loop import fit, fresh
    from counterpoint.train.optim import OptimConfig
    from counterpoint.views.patches import tile_side

    factor = size / 256
    shape = round(512 * factor), round(TRAINED_ON * factor)
    fixed, moving = (np.asarray(resize(s[:, :TRAINED_ON], shape, 3), np.float32) for s in stains())
    comir = CoMIR.Config(size=32 if size == 256 else 64, noise=0.1)
    data = AlignedPatches([(fixed, moving)], tile_side(comir.size), 1024)
    optim = OptimConfig(name="adam", lr=4e-3, weight_decay=0.0, schedule="onecycle", warmup=0.1)
    config = TrainConfig(steps=STEPS, batch=24, clip_each="role", optim=optim, save_every=STEPS)
    fit(fresh(comir, 0), data, config, folder, progress=False)


def method(name: str, threads: int, model: Path) -> Method:
    """A method by name, loaded; raises ``InputError`` if its package is not installed."""
    if name.startswith("counterpoint"):
        import sklearn.cluster  # noqa: F401 -- imported by register() when first needed: not its memory

        from counterpoint.core.networks import load_networks
        from counterpoint.registration.options import Options
        from counterpoint.registration.register import register

        if "trained" not in name:
            return lambda f, m: register(f, m).matrix
        networks = load_networks(model)
        return lambda f, m: register(f, m, networks, options=Options(only=True)).matrix
    from counterpoint.procedures.registration import ants, elastix, mattes

    if name.startswith("SimpleITK"):
        import SimpleITK  # noqa: F401

        return mattes.Mattes(mattes.Mattes.Config(starts=12, threads=threads or os.cpu_count() or 1))
    rivals = {"elastix": elastix.Elastix, "ANTs": ants.Ants}
    return rivals[name](rivals[name].Config())


def worker(folder: Path, name: str, kind: str, size: int, threads: int) -> dict[str, Any]:
    """One row: this process runs one method on the pairs of one kind and size."""
    if threads:
        import torch

        torch.set_num_threads(threads)
    with np.load(folder / f"{kind}-{size}.npz", allow_pickle=False) as file:
        pairs = [{k: file[f"{k}{i}"] for k in ("fixed", "moving", "truth")} for i in range(len(file) // 3)]
    run = method(name, threads, folder / f"model-{size}")
    before = contract.memory_from_here()
    with suppress(InputError, WorkError):  # a corner need not be found; what is loaded late now is
        run(*(pairs[0][k][:128, :128] for k in ("fixed", "moving")))
    found = contract.measure(lambda p: run(p["fixed"], p["moving"]), pairs, warmup=0)
    answers = zip(found["answers"], pairs, strict=True)
    errors = [corner_error(matrix, pair["truth"], size, size, "protocol") for matrix, pair in answers]
    return {
        "method": name, "kind": kind, "size": size, "threads": threads, "cpu": found["cpu"],
        "wall": found["wall"], "memory_mib": round(contract.peak_mib() - before, 1),
        "errors": [contract.significant(e) for e in errors],
        "success": sum(e <= 0.02 * size for e in errors),
    }  # fmt: skip


def started(folder: Path, name: str, kind: str, size: int, threads: int) -> dict[str, Any] | None:
    """``worker`` in a process of its own; None if its package is not installed."""
    limits = ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OPENBLAS_NUM_THREADS")
    environment = dict(os.environ) | dict.fromkeys(limits, str(threads)) if threads else dict(os.environ)
    words = [sys.executable, __file__, "--worker", str(folder), name, kind, str(size), str(threads)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip() or "no message").splitlines()[-1]
        print(f"{name}, {kind}, {size}: left out: {reason}")
        return None
    return json.loads(done.stdout.splitlines()[-1])


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown; the ratio is that of CPU-seconds to counterpoint's without a model."""
    ours = {
        (r["kind"], r["size"], r["threads"]): r["cpu"]["median"] for r in rows if r["method"] == METHODS[1]
    }
    lines = [
        "| kind | size | threads | method | CPU-s (quartiles) | ratio | wall s | extra MiB | success |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        cpu, wall, base = r["cpu"], r["wall"], ours.get((r["kind"], r["size"], r["threads"]))
        ratio = f"{cpu['median'] / base:.2f}" if base else ""
        lines.append(
            f"| {r['kind']} | {r['size']}² | {r['threads'] or 'default'} | {r['method']} "
            f"| {cpu['median']:.2f} ({cpu['q1']:.2f} – {cpu['q3']:.2f}) | {ratio} | {wall['median']:.2f} "
            f"| {r['memory_mib']:.0f} | {r['success']} of {cpu['runs']} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, metavar="METHOD")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--sizes", nargs="+", type=int, default=(256, 512, 1024))
    parser.add_argument("--threads", nargs="+", type=int, default=(1, 0), help="0: what libraries take")
    parser.add_argument("--repeats", type=int, default=3, help="draws a cell")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    parser.add_argument("--write", action="store_true", help="keep the result in results/speed.json")
    parser.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        folder, name, kind, size, threads = args.worker
        try:
            print(json.dumps(worker(Path(folder), name, kind, int(size), int(threads))))
        except InputError as error:
            sys.exit(str(error))
        return
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for size in args.sizes:
            if METHODS[0] in args.methods and "stains" in args.kinds:
                train(size, folder / f"model-{size}")
            for kind in args.kinds:
                made = draws(kind, size, args.seed, args.repeats)
                arrays = {f"{k}{i}": v for i, pair in enumerate(made) for k, v in pair.items()}
                np.savez(folder / f"{kind}-{size}.npz", **arrays)  # pyright: ignore[reportArgumentType]
                for threads in args.threads:
                    for name in args.methods:
                        if name == METHODS[0] and kind != "stains":
                            continue
                        row = started(folder, name, kind, size, threads)
                        if row is not None:
                            rows.append(row)
                            print(table([row]).splitlines()[-1], flush=True)
    print("\n" + table(rows))
    if args.write:
        settings = {k: v for k, v in vars(args).items() if k not in ("worker", "write")}
        about = "CPU-seconds, seconds and peak memory of one rigid registration from any angle."
        print(contract.write("speed", about, rows, settings | {"trained_steps": STEPS}, [args.seed], 1).name)


if __name__ == "__main__":
    main()
