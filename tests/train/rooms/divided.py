"""What is divided among processes: what each of two and of four has, written by the processes themselves.

    python divided.py FOLDER

Contrast: in a ring each process has some of the rows; where all have the same tensors, each computes a part.
And the state of optimizers.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from counterpoint.core.sharing import Sharing, shared_by
from counterpoint.objectives import streamed, tableless
from counterpoint.objectives.contrastive import info_nce_streamed
from counterpoint.objectives.ring import contrast_ring, info_nce_ring
from counterpoint.objectives.tableless import by_rows, contrast_past, contrast_within
from counterpoint.train.optim import OptimConfig
from counterpoint.train.step import Update
from counterpoint.train.team import Team

COUNT, TAU = 4, 0.2
SHARES = {2: (7, 4), 4: (4, 0, 5, 2)}
"""Rows of each process."""
OPTIMIZERS = {2: "sgd", 4: "lamb"}
METHODS = ("simclr", "moco", "moco_v3")
GROUPS = torch.tensor([0, 0, 1, 2, 1, 1, 3, 4, 4, 5, 2])


def vectors(seed: int, rows: int = 11) -> Tensor:
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Vectors, others, a temperature, all of which get gradients; the first and third vector are nothing."""
    z = vectors(0)
    z[[0, 2]] = 0
    return z.requires_grad_(), vectors(1).requires_grad_(), torch.tensor(TAU).double().requires_grad_()


Case = Callable[[Tensor, Tensor, Tensor, slice, Sharing | None], Tensor]


def _within(cold: float = 1.0, **options: object) -> Case:
    def case(z: Tensor, _: Tensor, tau: Tensor, own: slice, ring: Sharing | None) -> Tensor:
        pull = {"pull": torch.arange(1.0, 12)[own] / 6} if options.get("decoupled") else {}
        every = (z[own], GROUPS[own], tau * cold)
        if ring is None:
            return contrast_within(*every, **options, **pull)  # pyright: ignore[reportArgumentType]
        return contrast_ring(*every, ring, **options, **pull)  # pyright: ignore[reportArgumentType]

    return case


def _between(both: bool) -> Case:
    def case(z: Tensor, k: Tensor, tau: Tensor, own: slice, ring: Sharing | None) -> Tensor:
        if ring is None:
            return info_nce_streamed(z[own], k[own], tau, both=both)
        return info_nce_ring(z[own], k[own], tau, ring, both=both)

    return case


RING: dict[str, Case] = {
    "groups": _within(),
    "groups, cold": _within(0.01),
    "groups, decoupled": _within(decoupled=True),
    "one direction": _between(False),
    "both directions": _between(True),
}


def _past(z: Tensor, k: Tensor, tau: Tensor) -> Tensor:
    return contrast_past(z, k, vectors(2, 20), tau, (GROUPS, torch.arange(20) % 9))


def _sigmoid(z: Tensor, k: Tensor, tau: Tensor) -> Tensor:
    return tableless.pairwise_sigmoid_streamed(z, k, tau, -tau)


def _product(z: Tensor, k: Tensor, tau: Tensor) -> Tensor:
    return by_rows(lambda rows, q, k: ((q @ k.T).exp() * tau.detach()).sum(), z, k)


SHARED: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    **{name: lambda *x, case=case: case(*x, slice(None), None) for name, case in RING.items()},
    "past": _past,
    "sigmoid": _sigmoid,
    "any": _product,
}


def gradients(loss: Tensor, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
    found = torch.autograd.grad(3 * loss, tensors, allow_unused=True)
    named = {name: g for name, g in zip(("z", "k", "tau"), found, strict=True) if g is not None}
    return {"loss": loss.detach().clone(), **named}


def in_ring(name: str, team: Team) -> dict[str, Tensor]:
    """Loss and gradients, each process's parts of them brought together."""
    own = team.own(SHARES[team.size])
    tensors = inputs()
    found = gradients(RING[name](*tensors, own, team), tensors)
    for key in found.keys() - {"loss"}:
        (found[key],) = team.summed([found[key]])
    return found


def shared(name: str, team: Team) -> dict[str, Tensor]:
    tensors = inputs()
    with shared_by(team):
        loss = SHARED[name](*tensors)
    return gradients(loss, tensors)


def network() -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(5, 3, bias=False).double()


def by_ddp(team: Team) -> Tensor:
    """The gradient of a network that each process has its own rows of."""
    ours = DistributedDataParallel(network())
    features = ours(vectors(0)[team.own(SHARES[team.size])])
    (info_nce_ring(features, features.flip(1), 1.0, team, both=True) * team.size).backward()
    gradient = ours.module.weight.grad
    assert gradient is not None
    return gradient


def small_blocks() -> None:
    """Blocks of a few rows, so that there are several."""
    streamed.ROWS, streamed.BLOCK, streamed.TILE, streamed.SHARED = 2, 4, 3, 0
    tableless.ROWS, tableless.BLOCK = 2, 4


def optim(size: int) -> OptimConfig:
    return OptimConfig(name=OPTIMIZERS[size], lr=0.01, sam=0.05)  # pyright: ignore[reportArgumentType]


def updated(team: Team, shard: bool) -> dict[str, Tensor]:
    """What two updates leave, the optimizer's whole state, where it is, and how much is kept here."""
    outcome = sys.modules["together"].outcome
    kept: dict[str, Tensor] = {}

    def look(update: Update) -> None:
        for turn, optimizer in update.optimizers.items():
            count = [sum(x.numel() for x in values.values()) for values in optimizer.state.values()]
            kept[f"kept {turn}"] = torch.tensor(sum(count))
            with update.whole():
                for index, values in optimizer.state_dict()["state"].items():
                    kept.update({f"{turn} {index} {key}": x.clone() for key, x in values.items()})
            assert [sum(x.numel() for x in values.values()) for values in optimizer.state.values()] == count

    found = outcome("byol", team, optim=optim(team.size), look=look, shard=shard)
    return found | {f"optim {key}": x for key, x in kept.items()}


def together() -> object:
    file = Path(__file__).parent / "together.py"
    spec = importlib.util.spec_from_file_location("together", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["together"] = module
    spec.loader.exec_module(module)
    return module


def work(folder: Path, rank: int) -> None:
    """What one process does."""
    store = dist.FileStore(str(folder / "store"), COUNT)  # pyright: ignore[reportPrivateImportUsage]
    patience = timedelta(minutes=5)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=COUNT, timeout=patience)
    pairs = [dist.new_group(ranks, timeout=patience) for ranks in ([0, 1], [2, 3])]
    small_blocks()
    found: dict[str, Tensor] = {"4/ddp": by_ddp(Team(rank, COUNT))}
    for team in (Team(rank, COUNT), Team(rank % 2, 2, pairs[rank // 2])):
        for way, cases, run in (("ring", RING, in_ring), ("shared", SHARED, shared)):
            for name in cases:
                found |= {f"{team.size}/{way}/{name}/{key}": x for key, x in run(name, team).items()}
    for team in (Team(rank, COUNT), Team(rank % 2, 2, pairs[rank // 2])):
        for shard in (False, True):
            whole = updated(team, shard)
            found |= {f"{team.size}/shard {shard}/{key}": x for key, x in whole.items()}
    for kind in METHODS:
        outcome = sys.modules["together"].outcome(kind, Team(rank, COUNT), steps=1)
        found |= {f"4/method/{kind}/{key}": x for key, x in outcome.items()}
    save_file({name: x.contiguous() for name, x in found.items()}, folder / f"{rank}.safetensors")
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    loaded = together()
    for method in (*METHODS, "byol"):
        loaded.fresh(loaded.settings(method), 0)  # pyright: ignore[reportAttributeAccessIssue]
    loaded.fabric()  # pyright: ignore[reportAttributeAccessIssue]
    context = multiprocessing.get_context("fork")
    others = [context.Process(target=work, args=(Path(sys.argv[1]), rank)) for rank in range(1, COUNT)]
    for other in others:
        other.start()
    work(Path(sys.argv[1]), 0)
    for other in others:
        other.join()
