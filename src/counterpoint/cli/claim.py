"""Run the experiment that checks what a method's paper says, and keep what came of it as evidence."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from counterpoint.cli.console import Flag, parsed, say, show
from counterpoint.core.errors import InputError, WorkError
from counterpoint.core.files import output_folder
from counterpoint.evidence.catalogue import home, needed
from counterpoint.evidence.repeat import repeated
from counterpoint.evidence.run import claims, module_of, run
from counterpoint.evidence.store import Evidence, read, write


@dataclass(frozen=True)
class Args:
    """Check what papers say by experiments of minutes, over several seeds.

    A claim holds if the 95 % bootstrap interval of the mean gain lies above its margin, fails if it lies
    below, and is open otherwise. One that fails is a result like any other: the exit code is 0.
    """

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Methods, as "counterpoint methods" lists them, and parts of the training, such as "lars"."""
    stale: Flag = False
    """Those without evidence, or whose code has changed since."""
    all: Flag = False
    """All there are."""
    repeat: Flag = False
    """Run one seed only, of claims with evidence: if it gives the same numbers, the evidence is that of
    today's code as well; if not, it stays as it is, and the claim must be run."""
    dry: Flag = False
    """Only list what would be run."""
    jobs: int = 0
    """Processes at a time; 0 for as many as there are cores. The numbers do not depend on it."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR", aliases=["-o"], help_behavior_hint="")] = None
    """Folder of evidence; by default the package's own, or evidence/ in the folder of your own claim."""
    json: Flag = False
    """Print one JSON object on standard output."""


def command(argv: list[str]) -> tuple[dict[str, Any], int]:
    """Run the command; returns the JSON answer and the exit code."""
    args = parsed(Args, argv, "claim")
    chosen = {claim: args.out or home(claim) for claim in _chosen(args)}
    if args.dry:
        show(f"{len(chosen)} claims", ("claim",), [(claim,) for claim in chosen], args.json)
        return {"claims": [{"claim": claim} for claim in chosen]}, 0
    for where in dict.fromkeys(chosen.values()):
        output_folder(where)
    if args.repeat:
        return _repeated(args, chosen)
    done: list[Evidence] = []
    failed: list[dict[str, str]] = []
    for claim, where in chosen.items():
        say(claim)
        try:
            evidence = run(claim, args.jobs, say)
        except WorkError as error:  # the others can still be run
            say(f"  {error}")
            failed.append({"claim": claim, "error": str(error)})
            continue
        done.append(evidence)
        say(f"  {evidence.verdict} ({evidence.seconds:.0f} s): {write(evidence, where)}")
    rows = [row for evidence in done for row in cells(evidence)]
    show(f"{len(done)} of {len(chosen)} claims run", COLUMNS, rows, args.json)
    answer = [{k: v for k, v in asdict(evidence).items() if k != "code"} for evidence in done]
    return {"claims": answer, "failed": failed}, 1 if failed else 0


def _repeated(args: Args, chosen: dict[str, Path]) -> tuple[dict[str, Any], int]:
    """One seed of each, and what came of it."""
    known = {claim: found for claim, where in chosen.items() if (found := read(claim, where))}
    rows = [(claim, "no evidence to compare with") for claim in chosen if claim not in known]
    for claim, evidence, differs in repeated(known, args.jobs):
        if evidence:
            write(evidence, chosen[claim])
        rows.append((claim, differs or "the same numbers"))
        say(f"{claim}: {rows[-1][1]}")
    same = sum(outcome == "the same numbers" for _, outcome in rows)
    show(f"{same} of {len(rows)} claims give the same numbers", ("claim", "seed 0"), rows, args.json)
    return {"claims": [{"claim": claim, "outcome": outcome} for claim, outcome in rows]}, 0


COLUMNS = ("claim", "expected", "gain", "95 % interval", "margin", "verdict")


def cells(evidence: Evidence) -> list[tuple[object, ...]]:
    """One row for each expectation."""
    return [
        (
            evidence.claim,
            f"{f.arm} over {f.than} in {f.metric}",
            f"{f.mean:+.4g}",
            f"{f.low:.4g} to {f.high:.4g}",
            f"{f.margin:g}",
            f.verdict,
        )
        for f in evidence.findings
    ]


def _chosen(args: Args) -> list[str]:
    """The claims to run, as "field/method"."""
    if sum((bool(args.names), args.stale, args.all)) != 1:
        raise InputError("claim: expected either names of methods, or --stale, or --all")
    if args.stale:
        return needed(args.out)
    known = claims()
    if args.all:
        return sorted(known.values())
    return [known[module_of(name).rpartition(".")[2]] for name in dict.fromkeys(args.names)]
