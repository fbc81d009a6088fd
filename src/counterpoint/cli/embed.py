"""Write what a trained network makes of every sample of a data set: features, ids and labels in one file."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from counterpoint.cli.console import Flag, Folder, parsed, say
from counterpoint.cli.model import given, one_role
from counterpoint.core.errors import InputError
from counterpoint.core.networks import load_networks
from counterpoint.data.open import open_data
from counterpoint.integrations.hub import fetched
from counterpoint.tasks.features import features, writer


@dataclass(frozen=True)
class Args:
    """Features of a data set by a trained run, as arrays (.npz) or a table (.parquet) of z, id and label."""

    run: Annotated[str, tyro.conf.Positional]
    """A run folder, its networks.safetensors, or hf://OWNER/NAME[@REVISION]."""
    data: Annotated[str, tyro.conf.Positional]
    """A folder of images, a .npz, .npy or .csv file, or the name of a set that comes with the package."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE", aliases=["-o"])] = Path("features.npz")
    """The file to write; ends in .npz or .parquet."""
    role: str = ""
    """The network, if the run has several."""
    tap: str = ""
    """The layer to read; empty for the network's output."""
    batch: int = 256
    """Samples at a time."""
    device: str = "cpu"
    """Where to compute: cpu or cuda."""
    cache: Folder = None
    """Folder in which features are kept and found again."""
    json: Flag = False
    """Print one JSON object on standard output."""


def command(argv: list[str]) -> tuple[dict[str, Any], int]:
    """Run the command; returns the JSON answer and the exit code."""
    import torch

    args = parsed(Args, argv, "embed")
    if args.batch < 1:
        raise InputError(f"--batch: expected at least 1, found {args.batch}")
    if args.device not in ("cpu", "cuda") or (args.device == "cuda" and not torch.cuda.is_available()):
        raise InputError(f"--device: expected cpu, or cuda on a machine that has it, found {args.device}")
    write = writer(args.out)
    run = given(args.run)
    networks = load_networks(fetched(run))
    role = one_role(networks, args.role)
    data = open_data(args.data)
    key = role if role in data.provides else "image"
    start = time.perf_counter()
    found = features(
        networks[role].to(args.device), data, args.batch, key=key, tap=args.tap, cache=args.cache
    )
    write(found)
    count, dim = found.z.shape
    seconds = time.perf_counter() - start
    say(f"{count} samples, {dim} features each: {args.out} ({seconds:.1f} s)")
    labelled = found.label is not None
    answer = {"run": run, "out": str(args.out), "samples": count, "dim": dim, "labels": labelled}
    return answer | {"seconds": seconds}, 0
