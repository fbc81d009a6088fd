"""Two real processes, each for two workers, and two under torch's DDP: a program of its own."""

from __future__ import annotations

import multiprocessing
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from counterpoint.train.compress import Compressed, PowerSGD, Sign, TopK
from counterpoint.train.team import Team

KINDS = {"sign": Sign(least=0), "topk": TopK(share=0.1, momentum=0.9, least=0), "powersgd": PowerSGD(rate=1)}
STEPS, WORKERS = 3, 4


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 5)).double()


def gradients(step: int, worker: int) -> dict[str, Tensor]:
    """What a worker finds; 32-bit, as they are sent."""
    rng = torch.Generator().manual_seed(100 * step + worker)
    return {n: torch.randn(p.shape, generator=rng) for n, p in network().named_parameters()}


def loss(net: nn.Module, step: int, rank: int) -> Tensor:
    x = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(10 * step + rank)).double()
    return net(x).square().mean()


def work(folder: Path, rank: int) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(str(folder / "store"), 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=timedelta(minutes=1))
    team, found = Team(rank, 2), {}
    for name, kind in KINDS.items():
        made = Compressed(kind, network(), team=team, workers=2)
        for step in range(STEPS):
            means = made([gradients(step, 2 * rank + worker) for worker in range(2)])
            found |= {f"{name}/mean {step} {n}": value for n, value in means.items()}
        found |= {f"{name}/state {key}": value for key, value in made.state_dict().items()}
        found[f"{name}/sent"] = torch.tensor(made.sent)

        net = network()
        ddp, made = DistributedDataParallel(net), Compressed(kind, net, team=team)
        ddp.register_comm_hook(made, Compressed.hook)
        for step in range(STEPS):
            net.zero_grad()
            loss(ddp, step, rank).backward()
            found |= {f"{name}/ddp {step} {n}": p.grad.clone() for n, p in net.named_parameters()}
    save_file({name: value.contiguous() for name, value in found.items()}, folder / f"{rank}.safetensors")
    dist.destroy_process_group()


if __name__ == "__main__":
    place = Path(sys.argv[1])
    other = multiprocessing.get_context("fork").Process(target=work, args=(place, 1))
    other.start()
    work(place, 0)
    other.join()
