"""Write what a trained network makes of every sample of a data set: features, ids and labels."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from counterpoint.cli.console import Address, Flag, Folder, outputs, parsed, say
from counterpoint.cli.model import given, one_role
from counterpoint.core.cluster import DIED, Cluster, connected
from counterpoint.core.errors import InputError, WorkError
from counterpoint.core.networks import FILE, load_networks
from counterpoint.data.open import open_data
from counterpoint.evidence.workers import each
from counterpoint.integrations.hub import fetched
from counterpoint.tasks.features import features, writer
from counterpoint.tasks.parts import Kind, Part, Plan, Source, make, planned, tidied


@dataclass(frozen=True)
class Args:
    """Features of a data set by a trained run: z, id and label, in one file or in parts.

    Parts are for data that outgrow memory: a folder of memory-mapped arrays or Parquet files, written as
    they are done. Started again after it was stopped, the command makes only those that are missing; all
    bits are the same whatever the number of jobs.
    """

    run: Annotated[str, tyro.conf.Positional]
    """A run folder, its networks.safetensors, or hf://OWNER/NAME[@REVISION]."""
    data: Annotated[str, tyro.conf.Positional]
    """A folder of images, a .npz, .npy or .csv file, archives (.tar, .parquet, a folder of such, or several
    as in "shards-{0000..0009}.tar"), or the name of a set that comes with the package."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE|DIR", aliases=["-o"])] = Path("features.npz")
    """The file to write, which ends in .npz or .parquet; or, without such an ending, a folder for parts."""
    kind: Kind = "npy"
    """Files of parts: "npy", or "parquet"."""
    part: int = 16384
    """Samples of a part."""
    jobs: int = 1
    """Processes that make parts, each with one thread; 0: as many as there are cores."""
    cluster: Address = None
    """Make parts on the workers of a dask scheduler: tcp://HOST:PORT, or the file it wrote."""
    side: int | None = None
    """Pixels of a side that images are resized to."""
    on_error: Literal["stop", "skip"] = "stop"
    """What to do at an image that cannot be read; those skipped are named."""
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
    for flag in ("batch", "part", "jobs"):
        if getattr(args, flag) < (flag != "jobs"):
            least = "no negative number" if flag == "jobs" else "at least 1"
            raise InputError(f"--{flag}: expected {least}, found {getattr(args, flag)}")
    if args.device not in ("cpu", "cuda") or (args.device == "cuda" and not torch.cuda.is_available()):
        raise InputError(f"--device: expected cpu, or cuda on a machine that has it, found {args.device}")
    in_parts = not args.out.suffix
    _check(args, in_parts)
    write = None if in_parts else writer(args.out)
    run = given(args.run)
    file = fetched(run)
    networks = load_networks(file)
    role = one_role(networks, args.role)
    data = open_data(args.data, size=args.side, on_error=args.on_error)
    key = role if role in data.provides else "image"
    start = time.perf_counter()
    if write is None:
        weights = file / FILE if file.is_dir() else file
        plan = Plan(
            networks=weights, role=role, tap=args.tap, key=key, batch=args.batch, size=args.part,
            kind=args.kind, device=args.device, folder=args.out,
        )  # fmt: skip
        answer = _in_parts(args, plan, data)
    else:
        network = networks[role].to(args.device)
        found = features(network, data, args.batch, key=key, tap=args.tap, cache=args.cache)
        write(found)
        count, dim = found.z.shape
        answer = {"samples": count, "dim": dim, "labels": found.label is not None}
    seconds = time.perf_counter() - start
    say(f"{answer['samples']} samples: {args.out} ({seconds:.1f} s)")
    return {"run": run, "out": str(args.out), **answer, "seconds": seconds}, 0


def _check(args: Args, in_parts: bool) -> None:
    """Raise ``InputError`` on flags that do not go together."""
    if in_parts and args.cache is not None:
        raise InputError("--cache: expected a file to write, found a folder of parts, which is kept as it is")
    if args.cluster is not None and not in_parts:
        raise InputError(f"--cluster: expected a folder of parts to write, found the file {args.out}")
    if args.cluster is not None and args.jobs != 1:
        raise InputError(f"--jobs: expected none beside --cluster, which has its workers, found {args.jobs}")


def _in_parts(args: Args, plan: Plan, data: Source) -> dict[str, Any]:
    """Make the parts that are missing."""
    jobs = 1 if args.device == "cuda" else args.jobs
    with connected(args.cluster, say) as cluster, outputs(args.out):
        missing, parts = planned(plan, data, {"data": args.data, "side": args.side})
        if len(missing) < parts:
            say(f"{args.out}: {parts - len(missing)} of {parts} parts were made before")
        made = each(make, missing, jobs, "embed") if cluster is None else _at_once(missing, cluster, args.out)
        for i, count in enumerate(made):
            say(f"[{parts - len(missing) + i + 1}/{parts}] {count} samples")
        tidied(args.out)
    return {"samples": len(data), "parts": parts, "made": len(missing), "labels": data.label is not None}


def _at_once(parts: Sequence[Part], cluster: Cluster, folder: Path) -> Iterator[int]:
    """How many samples each part has that a cluster made."""
    for which, count in cluster.each(make, parts, folder):
        if count is None:
            raise WorkError(f"{parts[which].file}: {DIED}")
        yield count
