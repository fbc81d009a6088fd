"""What there is: methods, each with its idea, its paper and what came of its claim. Imports none of ours.

Procedures are among them if they have a claim; the others are rivals, and no system of their own. A claim in
the folder of a room (``claims/train``) that is none of a method is about parts of that room, and speaks for
itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from counterpoint.core.config import load, names
from counterpoint.core.errors import InputError, unknown
from counterpoint.core.rooms import owner
from counterpoint.evidence.run import ROOM as CLAIMS
from counterpoint.evidence.run import claims, load_claim, module_of
from counterpoint.evidence.source import PACKAGE, changed, docstring, file_of, fingerprints
from counterpoint.evidence.store import Evidence, folder, read

ROOM = f"{PACKAGE}.methods"
PROCEDURES = f"{PACKAGE}.procedures"


@dataclass(frozen=True, slots=True)
class Entry:
    """One method, or procedure with a claim, or claim about parts of a room."""

    name: str
    """Of its file, e.g. "barlow_twins"."""
    module: str
    """Its file as a module, e.g. "counterpoint.methods.image.barlow_twins"."""
    field: str
    """Of the folder it stands in, e.g. "image"; "own" at the top of a folder of the user's own."""
    idea: str
    """The first paragraph of its file."""
    paper: str
    """The second one."""
    claimed: bool
    """Whether there is a claim."""
    evidence: Evidence | None
    stale: tuple[str, ...]
    """Modules that changed since the evidence was made; empty if there is none."""
    problem: str
    """Why the user's own file cannot be used, a sentence; empty for all others."""

    @property
    def room(self) -> str:
        """The room its kind is loaded from, e.g. "counterpoint.methods"."""
        return ".".join(self.module.split(".")[:2])

    @property
    def verdict(self) -> str:
        """Holds, fails, open, or none where nothing was shown yet."""
        return self.evidence.verdict if self.evidence else "none"


def entries(evidence: Path | None, *, parts: bool = False) -> list[Entry]:
    """All methods, by field and name, with what a folder of evidence says of them; without it, their own.

    With ``parts``, claims about parts of rooms are among them.
    """
    listed = _listed() | (_parts() if parts else {})
    found = [_entry(name, module, evidence) for name, module in listed.items()]
    return sorted(found, key=lambda entry: (entry.field, entry.name))


def entry(name: str, evidence: Path | None) -> Entry:
    """One method by its name; an ``InputError`` with the nearest names if there is none."""
    known = _listed()
    if name not in known:
        raise unknown("method", name, known)
    return _entry(name, known[name], evidence)


def needed(evidence: Path | None) -> list[str]:
    """Claims without evidence, or with evidence of other code than there is now, as "field/method"."""
    return sorted(
        claim for name, claim in claims().items() if _stale(name, read(claim, evidence or home(name))) != ()
    )


def home(claim: str) -> Path:
    """Where a claim's evidence stands unless told: ``evidence/`` of the user's own folder, or ours."""
    file = file_of(module_of(claim))
    own = owner(file) if file else None
    return own / "evidence" if own else folder()


def _listed() -> dict[str, str]:
    """Name → module path of all that are listed."""
    claimed = claims()
    return names(ROOM) | {name: path for name, path in names(PROCEDURES).items() if name in claimed}


def _parts() -> dict[str, str]:
    """Name → module path of the claims about parts of a room, whose name their folder has."""
    others = {name: claim for name, claim in claims().items() if name not in _listed()}
    return {name: module_of(name) for name, claim in others.items() if _is_room(claim.rpartition("/")[0])}


def _is_room(field: str) -> bool:
    return field.isidentifier() and find_spec(f"{PACKAGE}.{field}") is not None


def _entry(name: str, module: str, where: Path | None) -> Entry:
    file = file_of(module)
    assert file is not None, "names() found it"
    claimed = claims().get(name)
    evidence = read(claimed, where or home(name)) if claimed else None
    paragraphs, stale, problem = [], None, ""
    try:
        paragraphs = [" ".join(part.split()) for part in docstring(file).split("\n\n")]
        stale = _stale(name, evidence)
        if owner(file):
            # ours are asked by the tests; of this one nobody else will say
            if module.startswith(f"{CLAIMS}."):
                load_claim(name)
            else:
                load(".".join(module.split(".")[:2]), name)
    except InputError as error:
        problem = str(error)
    idea, paper = [*paragraphs, "", ""][:2]
    return Entry(
        name=name,
        module=module,
        field="/".join(module.split(".")[2:-1]) or "own",
        idea=idea,
        paper=paper,
        claimed=claimed is not None,
        evidence=evidence,
        stale=stale or (),
        problem=problem,
    )


def _stale(name: str, evidence: Evidence | None) -> tuple[str, ...] | None:
    """What changed since the evidence was made; None if there is none."""
    if evidence is None:
        return None
    return tuple(changed(evidence.code, fingerprints(module_of(name))))
