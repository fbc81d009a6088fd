"""Export what a run has learned: ONNX, a torch.export program, safetensors, or to the Hugging Face hub."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from counterpoint.cli.console import Flag, Word, parsed, plain, say
from counterpoint.cli.model import given, one_role
from counterpoint.core.errors import InputError
from counterpoint.core.networks import about, load_networks

HUB_ONLY = ("public", "license", "scores")


@dataclass(frozen=True)
class Args:
    """Write what a run has learned for programs that do not know this package.

    The file is compared with the network on random images before it gets its name: one that computes
    something else is never left behind. Paths and names of the files a run was trained on are left out.
    """

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run folder, its networks.safetensors, or hf://OWNER/NAME[@REVISION]."""
    out: Annotated[Word, tyro.conf.arg(metavar="FILE", aliases=["-o"], help_behavior_hint="")] = None
    """The file to write, which ends in .onnx, .pt2 or .safetensors; or hf://OWNER/NAME[@BRANCH]: networks
    and a model card go there."""
    role: str = ""
    """The network, if the run has several; .safetensors and the hub take all of them."""
    size: Annotated[tuple[int, int] | None, tyro.conf.arg(metavar="HEIGHT WIDTH", help_behavior_hint="")] = (
        None
    )
    """Make an .onnx or .pt2 file for images of this one size; without it any size goes in, if possible."""
    public: Flag = False
    """Make a new repository on the hub readable by everyone."""
    license: Word = None
    """License for the model card, e.g. cc-by-4.0."""
    scores: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE ...")] = ()
    """For the model card: files that "counterpoint score RUN TASK" wrote."""
    json: Flag = False
    """Print one JSON object on standard output."""


def command(argv: list[str]) -> tuple[dict[str, Any], int]:
    """Run the command; returns the JSON answer and the exit code."""
    from counterpoint.integrations.hub import fetched, is_reference

    args = parsed(Args, argv, "export")
    if args.out is None:
        raise InputError("export: expected -o FILE or -o hf://OWNER/NAME, found none")
    on_hub = is_reference(args.out)
    foreign = [n for n in (["size"] if on_hub else HUB_ONLY) if getattr(args, n)]
    if foreign:
        where = "the hub" if on_hub else "a file"
        raise InputError(f"--{foreign[0]}: expected no such setting for {where}, found one")
    run = given(args.run)
    file = fetched(run)
    return _pushed(args, run, file) if on_hub else _written(args, run, file)


def _written(args: Args, run: str, file: Path) -> tuple[dict[str, Any], int]:
    """Into a file."""
    from counterpoint.integrations.exported import TRACED, exported

    out, networks, start = Path(str(args.out)), load_networks(file), time.perf_counter()
    if args.role or out.suffix.lower() in TRACED:
        role = one_role(networks, args.role)
        networks = {role: networks[role]}
    done = exported(networks, out, about(file), args.size)
    images = f", for images of {done.sizes}" if done.sizes else ""
    say(f"{out}: {', '.join(networks)}{images}")
    say(
        f"largest difference to the network on {len(done.checked)} random batches: {done.difference:.2g} "
        f"({done.relative:.1g} of the largest feature)"
    )
    answer = asdict(done) | {
        "out": out,
        "run": run,
        "roles": list(networks),
        "seconds": time.perf_counter() - start,
    }
    return plain({k: v for k, v in answer.items() if k != "file"}), 0


def _pushed(args: Args, run: str, file: Path) -> tuple[dict[str, Any], int]:
    """To the hub."""
    from counterpoint.integrations.hub import published, read_scores

    reference = published(
        file, str(args.out), role=args.role, scores=read_scores(args.scores), license=args.license,
        public=args.public,
    )  # fmt: skip
    say(f"published as {reference}")
    return {"out": reference, "run": run}, 0
