"""How long exact neighbor search takes, side by side with other libraries.

    python benchmarks/knn.py                     # 10,000 × 512 against 50,000, one thread and all, a table
    python benchmarks/knn.py --write             # the same, kept in results/knn.json

Sought are the 20 nearest of unit vectors by inner product. Every library gets the same arrays, each pass one
draw of queries; passes of the libraries take turns, so that what else the machine does meets all of them.
Each number of threads runs in a fresh process. Memory is the peak above what was held when data and
libraries were loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import contract
import numpy as np

LIBRARIES = ("counterpoint", "faiss", "scikit-learn")
K = 20
LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def draw(count: int, dim: int, seed: int) -> np.ndarray:
    """(count, dim) float32 unit vectors."""
    rows = np.random.default_rng(seed).standard_normal((count, dim), np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def library(name: str, bank: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """What gives the (Q, K) nearest rows of the bank; ``ImportError`` without the library."""
    if name == "faiss":
        import faiss  # pyright: ignore[reportMissingImports]

        index = faiss.IndexFlatIP(bank.shape[1])
        index.add(bank)
        return lambda queries: index.search(queries, K)[1]
    if name == "scikit-learn":
        from sklearn.neighbors import NearestNeighbors

        fitted = NearestNeighbors(n_neighbors=K, algorithm="brute").fit(bank)
        return lambda queries: fitted.kneighbors(queries, return_distance=False)
    import torch

    from counterpoint.pairs.search import search

    rows = torch.from_numpy(bank)
    return lambda queries: search(torch.from_numpy(queries), rows, K)[1].numpy()


def worker(threads: int, queries: int, bank: int, dim: int, repeats: int) -> list[dict[str, Any]]:
    """A row for each library that is installed; run in a process of its own."""
    rows = draw(bank, dim, 0)
    asked = [draw(queries, dim, seed) for seed in range(1, repeats + 1)]
    found: dict[str, list[dict[str, Any]]] = {}
    runs = {}
    for name in LIBRARIES:
        try:
            runs[name] = library(name, rows)
        except ImportError:
            print(f"{name}: left out, not installed", file=sys.stderr)
    memory = {}
    for name, run in runs.items():
        run(asked[0][: queries // 20])
        before = contract.memory_from_here()
        run(asked[0])
        memory[name] = round(contract.peak_mib() - before, 1)
    for each in asked:
        for name, run in runs.items():
            found.setdefault(name, []).append(contract.measure(run, [each], warmup=0))
    reference = [m["answers"][0] for m in found["counterpoint"]]
    return [
        {
            "library": name, "threads": threads, "queries": queries, "bank": bank, "dim": dim,
            "cpu": contract.spread([m["cpu"]["median"] for m in passes]),
            "wall": contract.spread([m["wall"]["median"] for m in passes]),
            "memory_mib": memory[name],
            # equal but for neighbors whose products differ in the last place
            "agreement": contract.significant(
                np.mean([(m["answers"][0] == r).mean() for m, r in zip(passes, reference, strict=True)]), 6
            ),
        }
        for name, passes in found.items()
    ]  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown; the ratio is our CPU-seconds to those of the library."""
    ours = {r["threads"]: r["cpu"]["median"] for r in rows if r["library"] == LIBRARIES[0]}
    lines = [
        "| threads | library | CPU-s (quartiles) | wall s | extra MiB | agreement | ours / theirs |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        cpu = r["cpu"]
        lines.append(
            f"| {r['threads'] or 'default'} | {r['library']} | {cpu['median']:.2f} ({cpu['q1']:.2f} – "
            f"{cpu['q3']:.2f}) | {r['wall']['median']:.2f} | {r['memory_mib']:.0f} | {r['agreement']:.4f} "
            f"| {ours[r['threads']] / cpu['median']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--bank", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--threads", nargs="+", type=int, default=(1, 0), help="0: what libraries take")
    parser.add_argument("--repeats", type=int, default=3, help="draws of queries")
    parser.add_argument("--write", action="store_true", help="keep the result in results/knn.json")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker is not None:
        print(json.dumps(worker(args.worker, args.queries, args.bank, args.dim, args.repeats)))
        return
    rows = []
    sizes = {k: getattr(args, k) for k in ("queries", "bank", "dim", "repeats")}
    for threads in args.threads:
        environment = dict(os.environ) | dict.fromkeys(LIMITS, str(threads))
        if not threads:
            environment = {k: v for k, v in os.environ.items() if k not in LIMITS}
        words = [sys.executable, __file__, "--worker", str(threads)]
        words += [w for k, v in sizes.items() for w in (f"--{k}", str(v))]
        done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        rows += json.loads(done.stdout.splitlines()[-1])
    print(table(rows))
    if args.write:
        about = f"The {K} nearest of unit vectors by inner product, exactly, by library."
        print(contract.write("knn", about, rows, {**sizes, "k": K}, list(range(args.repeats + 1)), 1))


if __name__ == "__main__":
    main()
