"""Show one method: its idea and paper, every setting with its default, its parts, what came of its claim."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from counterpoint.cli.console import Flag, Folder, parsed, printable
from counterpoint.cli.methods import plain
from counterpoint.core.config import Config, load
from counterpoint.evidence.catalogue import entry
from counterpoint.evidence.run import load_claim
from counterpoint.evidence.source import docstring, file_of, imports
from counterpoint.evidence.store import Evidence


@dataclass(frozen=True)
class Args:
    """Show one method: its idea and paper, its settings, its parts, its claim."""

    method: Annotated[str, tyro.conf.Positional]
    """Its name, as "counterpoint methods" lists it."""
    evidence: Folder = None
    """Folder of evidence, if not the package's own and that of your own folders."""
    json: Flag = False
    """Print one JSON object on standard output."""


def command(argv: list[str]) -> tuple[dict[str, Any], int]:
    """Run the command; returns the JSON answer and the exit code."""
    args = parsed(Args, argv, "show")
    found = entry(args.method, args.evidence)
    config = load(found.room, found.name).Config()
    about = docstring(_file(found.module))
    rows, made_of = settings(config), parts(found.module)
    claim = _claim(found.name, found.evidence) if found.claimed else None
    answer = {**plain(found), "about": about, "settings": rows, "parts": made_of, "claim": claim}
    if not args.json:
        print("\n".join(_said(answer)))  # noqa: T201
    return answer, 0


def settings(config: Config, prefix: str = "") -> list[dict[str, Any]]:
    """Every setting, those of parts after their part's, as "name", "type", "default" and "about"."""
    rows, words = [], field_docs(type(config))
    for field in dataclasses.fields(config):
        name, value = prefix + field.name, getattr(config, field.name)
        of_part = isinstance(value, Config)
        default = list(value) if isinstance(value, tuple) else value
        if of_part:
            default = value.kind if value.room else type(value).__name__
        about = words.get(field.name, "")
        kind = field.type.__name__ if isinstance(field.type, type) else str(field.type)
        rows.append({"name": name, "type": kind, "default": default, "about": about})
        rows += settings(value, f"{name}.") if of_part else []
    return rows


def field_docs(config: type[Config]) -> dict[str, str]:
    """Field → the sentence under it, as the source has it, also of inherited fields."""
    words: dict[str, str] = {}
    for kind in reversed(config.__mro__):
        if dataclasses.is_dataclass(kind):
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
            assert isinstance(tree, ast.ClassDef), "the source of a class is a class"
            for node, after in zip(tree.body, tree.body[1:], strict=False):
                if isinstance(node, ast.AnnAssign) and isinstance(after, ast.Expr):
                    text = after.value.value if isinstance(after.value, ast.Constant) else ""
                    words[ast.unparse(node.target)] = " ".join(str(text).split())
    return words


def parts(module: str) -> list[dict[str, Any]]:
    """What of ours a method imports, but for the words of the core: "module", "names" and "about"."""
    found = imports(_file(module)).items()
    return [
        {"module": name, "names": taken, "about": docstring(_file(name)).split("\n")[0]}
        for name, taken in found
        if not name.startswith("counterpoint.core.")
    ]


def _file(module: str) -> Path:
    file = file_of(module)
    assert file is not None, "a module that was imported has a file"
    return file


def _claim(name: str, evidence: Evidence | None) -> dict[str, Any]:
    claim = load_claim(name)
    findings = [dataclasses.asdict(finding) for finding in evidence.findings] if evidence else []
    return {
        "says": claim.says,
        "where": claim.paper.where,
        "expect": [str(expect) for expect in claim.expect],
        "differs": claim.differs,
        "seeds": claim.seeds,
        "findings": findings,
    }


def _said(answer: dict[str, Any]) -> Iterator[str]:
    """The answer line by line."""
    yield f"{answer['name']} ({answer['field']}): {answer['verdict']}"
    yield from ("", *answer["about"].splitlines(), "", "settings")
    for s in answer["settings"]:
        yield from _item(f"{s['name']}: {s['type']} = {s['default']}", s["about"])
    yield from ("", "parts")
    for part in answer["parts"]:
        yield from _item(part["module"].removeprefix("counterpoint."), part["about"])
    yield from ("", "claim")
    if (claim := answer["claim"]) is None:
        yield "  none yet"
        return
    yield from _item(claim["says"], claim["where"] and f"As in {claim['where']}.")
    yield from _item("; ".join(claim["expect"]), claim["differs"] and f"Unlike the paper: {claim['differs']}")
    for f in claim["findings"]:
        gain = f"{f['mean']:+.4g}, 95 % interval {f['low']:.4g} to {f['high']:.4g}"
        yield from _item(f"{f['verdict']}: {f['arm']} over {f['than']} in {f['metric']}: {gain}", "")
    if not claim["findings"]:
        yield f"  not run yet: counterpoint claim {answer['name']}"


def _item(head: str, about: str) -> Iterator[str]:
    """A line, and under it the words about it."""
    yield printable(f"  {head}")
    yield from textwrap.wrap(printable(about), 100, initial_indent="      ", subsequent_indent="      ")
