"""What several processes cost beside torch's DistributedDataParallel: time of a SimCLR update on a processor.

    python benchmarks/processes.py                   # ResNet-18, batches of 256 of 32², a table
    python benchmarks/processes.py --write           # the same, kept in results/processes.json

Four arms, one thread a process, the same network, data, crops and optimizer: "one", counterpoint in one
process; "ours", in ``--processes``; "apart", the same but for batch normalization, which sees each process's
own rows alone, as DDP's does: what lies between them is the price of synchronized statistics; "DDP", plain
DistributedDataParallel in as many. DDP does less: it renders and compares each process's own part of the
batch alone, so that its loss has fewer negatives, batch normalization sees a part, and heads run on a part.
Ours gives what one process gives. Arms take turns, each in fresh processes; the first update of a turn is not
counted. CPU-seconds are those of the first process, of which there are as many as processes; on a busy
machine they say more. Ratios are of medians, to DDP.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from contextlib import nullcontext
from typing import Any

import contract
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from counterpoint.core.rng import generator
from counterpoint.core.types import Progress
from counterpoint.encoders.resnet import ResNet
from counterpoint.methods.image.simclr import SimCLR
from counterpoint.train import rows
from counterpoint.train.config import TrainConfig
from counterpoint.train.loop import _fabric, fresh
from counterpoint.train.optim import optimizer
from counterpoint.train.step import Update
from counterpoint.train.team import ALONE, Team

ARMS = ("one", "ours", "apart", "DDP")


def seconds(arm: str, team: Team, args: argparse.Namespace) -> list[tuple[float, float]]:
    """Of each update after the first, by the clock and of the processor; in a process of its own."""
    if arm == "apart":
        rows.Together = lambda *_: nullcontext()
    torch.set_num_threads(1)
    method = fresh(SimCLR.Config(encoder=ResNet.Config(width=args.width)), args.seed)
    method.train()
    config = TrainConfig(device="cpu", clip=0.0)
    images = torch.rand(args.batch, 3, 32, 32, generator=generator(args.seed, "images"))
    batch = {"image": images, "id": torch.arange(args.batch)}
    if arm == "DDP":
        own = team.own(team.shares(args.batch))
        batch = {name: entry[own] for name, entry in batch.items()}
        ddp, steps = DistributedDataParallel(method), optimizer(method, config.optim)
    else:
        update = Update(_fabric(config), method, config, team)
    found = []
    for step in range(args.steps + 1):
        at, start = Progress(step, args.steps + 1, 0, 1), (time.perf_counter(), time.process_time())
        if arm == "DDP":
            steps.zero_grad()
            ddp(method.views(batch, generator(args.seed, "views", step)), at).total.backward()
            steps.step()
        else:
            update([batch], at)
        found.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return found[1:]


def joined(rank: int, port: int, arm: str, args: argparse.Namespace) -> list[tuple[float, float]]:
    """``seconds`` in one of several processes."""
    store = dist.TCPStore("127.0.0.1", port, args.processes, is_master=False)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=args.processes)
    found = seconds(arm, Team(rank, args.processes), args)
    dist.destroy_process_group()
    return found


def turn(arm: str, args: argparse.Namespace) -> list[tuple[float, float]]:
    """What the first process measured, in fresh processes."""
    context = multiprocessing.get_context("spawn")
    if arm == "one":
        with context.Pool(1) as pool:
            return pool.apply(seconds, (arm, ALONE, args))
    store = dist.TCPStore("127.0.0.1", 0, args.processes, is_master=True, wait_for_workers=False)
    with context.Pool(args.processes) as pool:
        asked = [(rank, store.port, arm, args) for rank in range(args.processes)]
        return pool.starmap(joined, asked, chunksize=1)[0]


def table(arms: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| arm | processes | s an update (quartiles) | to DDP | CPU-s a process (quartiles) | to DDP |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in arms:
        cells = [row["arm"], str(row["processes"])]
        for key in ("wall", "cpu"):
            found = row[key]
            cells.append(f"{found['median']:.3g} ({found['q1']:.3g} – {found['q3']:.3g})")
            cells.append(f"{row[f'{key}_ratio']:.3f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--width", type=int, default=64, help="of the ResNet-18's first stage")
    parser.add_argument("--steps", type=int, default=4, help="updates of a turn that count")
    parser.add_argument("--turns", type=int, default=3, help="of each arm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="keep the result in results/processes.json")
    args = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {arm: [] for arm in ARMS}
    for _ in range(args.turns):
        for arm in ARMS:
            found[arm] += turn(arm, args)
    rows: list[dict[str, Any]] = []
    for arm, times in found.items():
        row: dict[str, Any] = {"arm": arm, "processes": 1 if arm == "one" else args.processes}
        for index, key in enumerate(("wall", "cpu")):
            peer = contract.spread([time[index] for time in found["DDP"]])["median"]
            row[key] = contract.spread([time[index] for time in times])
            row[f"{key}_ratio"] = contract.significant(row[key]["median"] / peer)
        rows.append(row)
    print(table(rows))
    if args.write:
        settings = {k: v for k, v in vars(args).items() if k != "write"}
        about = "Seconds of a SimCLR update with ResNet-18 on 32², by several processes of one thread."
        print(contract.write("processes", about, rows, settings, [args.seed], 1).name)


if __name__ == "__main__":
    main()
