"""NT-Xent over 2N vectors, forward and backward on one thread: time and memory by the number of pairs.

    python benchmarks/loss.py [--peer-python .venv-parity/bin/python] [--write]
    python benchmarks/loss.py --markdown       # docs/results-loss.md from results/loss.json

Every measurement is a process of its own: what one form leaves in the allocator must not count for another.
The forms are measured by turns, so that a busy minute of the machine falls on all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import contract
import torch
from torch import Tensor

HERE = Path(__file__).parent
SOURCES, DOCUMENT = HERE.parent / "src", HERE.parent / "docs" / "results-loss.md"
DIM, TEMPERATURE = 128, 0.1
SIZES = (256, 1024, 4096, 8192, 65536)
MOST = {"lightly": 8192, "plain PyTorch": 8192, "with its table": 4096}
"""Pairs up to which a form is asked: beyond, its table does not fit a common machine."""
PEERS = ("lightly",)
FORMS = ("counterpoint", "with its table", "plain PyTorch", *PEERS)
TITLES = {
    "counterpoint": "counterpoint, what the methods use (`contrast_within`)",
    "with its table": "counterpoint, `info_nce` with masks",
    "plain PyTorch": "cosines, masked diagonal, `cross_entropy`",
    "lightly": "lightly 1.6 `NTXentLoss`",
}


def form(name: str, pairs: int) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of two views (N, D)."""
    if name == "lightly":
        sys.path.insert(0, str(HERE / "parity"))
        from sides import torchvision_without_operators

        torchvision_without_operators()
        from lightly.loss import NTXentLoss

        return NTXentLoss(temperature=TEMPERATURE)
    ids = torch.arange(pairs).repeat(2)
    if name == "counterpoint":
        from counterpoint.objectives.tableless import contrast_within

        return lambda a, b: contrast_within(torch.cat([a, b]), ids, TEMPERATURE)
    if name == "with its table":
        from counterpoint.objectives.contrastive import cosine_logits, info_nce
        from counterpoint.pairs.ids import same_sample

        def tabled(a: Tensor, b: Tensor) -> Tensor:
            z = torch.cat([a, b])
            return info_nce(cosine_logits(z, z, TEMPERATURE), same_sample(ids))

        return tabled

    def plain(a: Tensor, b: Tensor) -> Tensor:
        z = torch.nn.functional.normalize(torch.cat([a, b]), dim=1)
        logits = (z @ z.T / TEMPERATURE).fill_diagonal_(-torch.inf)
        target = torch.cat([torch.arange(pairs) + pairs, torch.arange(pairs)])
        return torch.nn.functional.cross_entropy(logits, target)

    return plain


def once(name: str, pairs: int) -> dict[str, Any]:
    """CPU-seconds, peak memory beyond the vectors, loss and norm of the gradient, in this process."""
    torch.set_num_threads(1)
    rng = torch.Generator().manual_seed(0)
    a, b = (torch.randn(pairs, DIM, generator=rng).requires_grad_() for _ in range(2))
    loss = form(name, pairs)
    small = [x[:64].detach().requires_grad_() for x in (a, b)]
    form(name, 64)(*small).backward()  # loads the libraries of products
    for x in (a, b):
        x.grad = torch.zeros_like(x)
    before = contract.memory_from_here()
    start = time.process_time(), time.perf_counter()
    value = loss(a, b)
    value.backward()
    cpu, wall = time.process_time() - start[0], time.perf_counter() - start[1]
    assert a.grad is not None
    return {
        "cpu": cpu, "wall": wall, "mib": contract.peak_mib() - before,
        "loss": float(value), "gradient": float(a.grad.norm()),
    }  # fmt: skip


def asked(name: str, pairs: int, python: str) -> dict[str, Any]:
    """``once`` in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(SOURCES)}
    command = [python, "-W", "ignore", __file__, "--one", name, "--pairs", str(pairs)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name}, {pairs} pairs: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def rows(peer: str | None, runs: int, sizes: list[int]) -> list[dict[str, Any]]:
    """All forms at all sizes, by turns."""
    made = []
    for pairs in sizes:
        forms = [f for f in FORMS if pairs <= MOST.get(f, pairs) and (peer or f not in PEERS)]
        several = runs if pairs <= 8192 else 1
        found: dict[str, list[dict[str, Any]]] = {f: [] for f in forms}
        for _ in range(several):
            for f in forms:
                found[f].append(asked(f, pairs, peer if f in PEERS and peer else sys.executable))
        for f, each in found.items():
            row = {
                "form": f, "pairs": pairs,
                **{k: contract.spread([one[k] for one in each]) for k in ("cpu", "wall")},
                "mib": contract.significant(max(one["mib"] for one in each)),
                "loss": contract.significant(each[0]["loss"], 6),
                "gradient": contract.significant(each[0]["gradient"], 5),
            }  # fmt: skip
            made.append(row)
            print(f"{pairs:6} {f:16} {row['cpu']['median']:9.4f} CPU-s {row['mib']:9.1f} MiB {row['loss']}")
    return made


def markdown(result: dict[str, Any]) -> str:
    """The page of the results."""
    machine = result["machine"]
    lines = [
        "# The loss by itself", "",
        "NT-Xent over the 2N views of N pairs, forward and backward, dimension 128, float32, one thread; "
        "median CPU-seconds and peak memory beyond the vectors. Made by `benchmarks/loss.py` on "
        f"{machine['cpu']}, commit {result['commit'][:8]}, {result['date']}.", "",
        "| pairs | form | CPU-s | × lightly | MiB | × lightly |",
        "| ---: | --- | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    peers = {r["pairs"]: r for r in result["rows"] if r["form"] == "lightly"}
    for row in result["rows"]:
        peer = peers.get(row["pairs"])
        times = f"{row['cpu']['median'] / peer['cpu']['median']:.2f}" if peer else "–"
        memory = f"{row['mib'] / peer['mib']:.3f}" if peer and peer["mib"] else "–"
        lines.append(
            f"| {row['pairs']:,} | {TITLES[row['form']]} | {row['cpu']['median']:.4g} | {times} "
            f"| {row['mib']:.3g} | {memory} |"
        )
    return "\n".join([*lines, "", "Losses and gradients of the forms agree to five digits.", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--peer-python", help="Python of an environment with lightly; see parity/README.md")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--one", choices=FORMS, help=argparse.SUPPRESS)
    parser.add_argument("--pairs", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(once(args.one, args.pairs)))
    elif args.markdown:
        DOCUMENT.write_text(markdown(contract.read("loss")), encoding="utf-8")
    else:
        made = rows(args.peer_python, args.runs, args.sizes)
        for pairs in args.sizes:
            losses = [row["loss"] for row in made if row["pairs"] == pairs]
            assert max(losses) - min(losses) < 1e-4, losses
        if args.write:
            about = "NT-Xent, forward and backward on one thread: time and memory by the number of pairs."
            contract.write("loss", about, made, {"dim": DIM, "temperature": TEMPERATURE}, [0], 1)


if __name__ == "__main__":
    main()
