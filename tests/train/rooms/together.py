"""Two updates of any method, in double precision, alone or by processes that this file starts.

    python together.py FOLDER [KIND ...]

Each of four processes writes into FOLDER what it has after the updates of every method (or of those named),
made by two of them and by all four.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import cache
from itertools import islice
from pathlib import Path
from types import ModuleType

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from safetensors.torch import save_file
from torch import Tensor

from counterpoint.core.config import load, names
from counterpoint.core.errors import InputError
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.types import Progress
from counterpoint.methods.registration.comir import CoMIR
from counterpoint.objectives.supervision import Supervision
from counterpoint.train.config import TrainConfig
from counterpoint.train.loop import _fabric, fresh
from counterpoint.train.optim import OptimConfig
from counterpoint.train.step import Update
from counterpoint.train.team import ALONE, Team

ROOM = "counterpoint.methods"
KINDS = (*sorted(names(ROOM)), "comir with taps")
COUNT = 4


@cache
def fabric() -> Fabric:
    """A processor."""
    return _fabric(TrainConfig(device="cpu"))


@cache
def contract() -> ModuleType:
    """The contract's tests: small settings and data for any method."""
    file = Path(__file__).parents[2] / "contract" / "conftest.py"
    spec = importlib.util.spec_from_file_location("contract_conftest", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def settings(kind: str) -> MethodConfig:
    """Small ones; the entry that is no method has terms at layers inside of its networks."""
    if kind in names(ROOM):
        return contract().shrunk(load(ROOM, kind).Config())
    taps = (Supervision(tap="bottleneck"), Supervision(tap="up.0", critic="cosine", projector=3))
    return replace(contract().shrunk(CoMIR.Config()), intermediate=taps)


def outcome(
    kind: str,
    team: Team = ALONE,
    change: Callable[[Method], object] = lambda _: None,
    steps: int = 2,
    look: Callable[[Update], object] = lambda _: None,
    **options: object,
) -> dict[str, Tensor]:
    """State, gradients and logged numbers after one update of 6 samples, and after another one of 2.

    By plain gradient descent: other optimizers forgive a gradient that is too large by a factor. ``look``
    sees the end.
    """
    method = fresh(settings(kind), 0)
    change(method)
    method.double().train()
    data, drawn = contract().Samples(method), method.views

    def views(batch: Mapping[str, Tensor], rng: torch.Generator) -> tuple:
        rendered = drawn(batch, rng)
        return tuple(replace(v, x=v.x.double()) if v.x.is_floating_point() else v for v in rendered)

    method.views = views
    plain = {"optim": OptimConfig(name="sgd", lr=0.05), "clip": 0.0, "device": "cpu"}
    config = TrainConfig(**(plain | options))  # pyright: ignore[reportArgumentType]
    update = Update(fabric(), method, config, team)
    found: dict[str, Tensor] = {}
    for step, batch in enumerate(islice(data.epoch(6, torch.Generator().manual_seed(0)), steps)):
        line = update([batch], Progress(step, 2, step, 2))
        for name, value in [*line.items(), *line.get("terms", {}).items()]:
            if isinstance(value, float):
                found[f"line {step} {name}"] = torch.tensor(value, dtype=torch.float64)
        for name, weight in method.named_parameters():
            if weight.grad is not None:
                found[f"gradient {step} {name}"] = weight.grad.clone()
        found |= {f"state {step} {name}": value.clone() for name, value in method.state_dict().items()}
        found[f"state {step} draws"] = torch.rand(3)  # what a process draws, all must draw
    look(update)
    return found


def check_same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    """Raise ``AssertionError`` unless all is equal to 9 digits, of the largest gradient where it is one.

    Weights before a normalization have none but for rounding.
    """
    largest = max(float(value.abs().max()) for name, value in one.items() if name.startswith("gradient"))
    for name, value in one.items():
        scale = largest if "gradient" in name else 1.0
        torch.testing.assert_close(other[name], value, rtol=1e-9, atol=1e-9 * scale, msg=name)


def work(folder: Path, kinds: Sequence[str], rank: int) -> None:
    """What one process does; a method that cannot be trained at all is left out."""
    store = dist.FileStore(str(folder / "store"), COUNT)
    patience = timedelta(minutes=5)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=COUNT, timeout=patience)
    pairs = [dist.new_group(ranks, timeout=patience) for ranks in ([0, 1], [2, 3])]
    found: dict[str, Tensor] = {}
    for number, kind in enumerate(kinds):
        with suppress(InputError, ValueError):
            whole = outcome(kind, Team(rank, COUNT), steps=1)
            found |= {f"4/{kind}/{name}": value for name, value in whole.items()}
            if rank // 2 == number % 2:  # each pair has every second method; and blocks computed again
                half = outcome(kind, Team(rank % 2, 2, pairs[rank // 2]), checkpoint=True)
                found |= {f"2/{kind}/{name}": value for name, value in half.items()}
    save_file({name: value.contiguous() for name, value in found.items()}, folder / f"{rank}.safetensors")
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    place, wanted = Path(sys.argv[1]), sys.argv[2:] or KINDS
    for each in wanted:
        fresh(settings(each), 0)  # imports it, once for all
    fabric()
    context = multiprocessing.get_context("fork")
    others = [context.Process(target=work, args=(place, wanted, rank)) for rank in range(1, COUNT)]
    for other in others:
        other.start()
    work(place, wanted, 0)
    for other in others:
        other.join()
