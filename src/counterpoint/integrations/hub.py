"""Hub: networks from and to the Hugging Face hub, by its own client (extra "hub").

A reference is ``hf://OWNER/NAME`` or ``hf://OWNER/NAME@REVISION``: a repository with a networks.safetensors,
of which nothing else is ever downloaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from counterpoint.core.encoder import Encoder
from counterpoint.core.errors import InputError, WorkError, unknown
from counterpoint.core.networks import FILE, FORMAT, about, load_networks, save_networks
from counterpoint.core.tensors import read_header
from counterpoint.core.untrusted import parse_json
from counterpoint.integrations.card import card, told

PREFIX = "hf://"
REFERENCE = re.compile(r"hf:/{1,2}([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
"""One slash is what pathlib leaves of two."""
OURS = {"library_name": "counterpoint", "library_version": version("counterpoint")}


def is_reference(model: Path | str) -> bool:
    """Whether this names something on the hub, and not a file or a folder."""
    return str(model).startswith("hf:/")


def pinned(model: Path | str) -> str:
    """A reference with the commit it means now, ``hf://OWNER/NAME@COMMIT``; its file is then in the cache.

    A path is returned as it is. Without a network the last known commit is taken.

    Raises:
        InputError: no such repository, revision or file, no right to read it, or a file that is not ours.
        WorkError: the hub cannot be reached and the file is not in the cache.
    """
    if not is_reference(model):
        return str(model)
    repository, _ = _parts(str(model))
    return f"{PREFIX}{repository}@{_downloaded(model).parent.name}"  # the cache has a folder for each commit


def fetched(model: Path | str) -> Path:
    """The file of a reference, downloaded unless it is in the cache; a path is returned as it is.

    Raises:
        InputError: as ``pinned``.
        WorkError: as ``pinned``.
    """
    return _downloaded(model) if is_reference(model) else Path(model)


def load_model(model: Path | str) -> dict[str, Encoder]:
    """Encoders by role, in evaluation mode, from a run folder, a ``.safetensors`` file or the hub.

    Args:
        model: A path, or ``hf://OWNER/NAME[@REVISION]``.

    Raises:
        InputError: nothing there, a damaged file, or one not written by ``save_networks``.
        WorkError: the hub cannot be reached.
    """
    return load_networks(fetched(model))


def published(
    model: Path | str,
    reference: str,
    *,
    role: str = "",
    scores: Sequence[Mapping[str, Any]] = (),
    license: str | None = None,
    public: bool = False,
) -> str:
    """Upload networks and a model card in one commit; returns the reference to it.

    The repository is made if it is not there; a card that stands there is replaced. Paths and names of the
    files a run was trained on are left out.

    Args:
        model: A run folder or a ``.safetensors`` file of networks.
        reference: ``hf://OWNER/NAME``, or with ``@BRANCH``.
        role: The network to upload; all where empty.
        scores: Answers of "counterpoint score", for the card.
        license: Identifier for the card, e.g. "cc-by-4.0".
        public: Make a new repository readable by everyone; one that is there keeps its visibility.

    Raises:
        InputError: the model, the reference, no right to write there, or networks that ``fetched`` refuses.
        WorkError: the hub cannot be reached or refuses the upload.
    """
    repository, branch = _parts(reference)
    networks, known = load_networks(model), told(about(model))
    if role and role not in networks:
        raise unknown("role", role, networks)
    networks = {role: networks[role]} if role else networks
    text = card(repository, networks, known, scores, license)
    with TemporaryDirectory() as folder:
        file = Path(folder) / FILE
        save_networks(file, networks, known)
        _check(file, str(model))
        with _client(reference) as hub:
            api = hub.HfApi(**OURS)
            api.create_repo(repository, private=not public, exist_ok=True)
            if branch:
                api.create_branch(repository, branch=branch, exist_ok=True)
            files = {FILE: str(file), "README.md": text.encode()}
            commit = api.create_commit(
                repository,
                [hub.CommitOperationAdd(name, content) for name, content in files.items()],
                commit_message=f"Networks of counterpoint {OURS['library_version']}",
                revision=branch,
            )
    return f"{PREFIX}{repository}@{commit.oid}"


def _parts(reference: str) -> tuple[str, str | None]:
    """("OWNER/NAME", revision) of a reference."""
    found = REFERENCE.fullmatch(reference)
    if found is None or ".." in reference:
        raise InputError(f"{reference}: expected hf://OWNER/NAME or hf://OWNER/NAME@REVISION")
    return found[1], found[2]


def _downloaded(model: Path | str) -> Path:
    repository, revision = _parts(str(model))
    reference = f"{PREFIX}{repository}" + (f"@{revision}" if revision else "")
    with _client(reference) as hub:
        file = Path(hub.hf_hub_download(repository, FILE, revision=revision, **OURS))
    _check(file, reference)
    return file


def _check(file: Path, name: str) -> None:
    """Refuse what is not ours, and networks of other libraries: their settings can fetch and run code."""
    try:
        header = read_header(file, FORMAT)
    except InputError as error:
        raise InputError(str(error).replace(str(file), name)) from None
    networks = header.get("networks")
    if not isinstance(networks, dict) or not isinstance(header.get("about"), dict):
        raise InputError(
            f"{name}: expected the networks of a counterpoint run, found a header of another form"
        )
    if any(isinstance(network, dict) and network.get("kind") == "foreign" for network in networks.values()):
        raise InputError(
            f"{name}: expected networks of counterpoint alone, found one of another library, whose settings "
            "can fetch and run code; such a file can be passed on by hand and opened by its path"
        )


FOUND = {
    "GatedRepoError": "a gated repository: ask for access on its page and log in (hf auth login)",
    "RepositoryNotFoundError": "none, or a private one (log in with hf auth login)",
    "RevisionNotFoundError": "no such revision",
    "RemoteEntryNotFoundError": f"no {FILE} in it",
    "EntryNotFoundError": f"no {FILE} in it",
    "LocalTokenNotFoundError": "no login (hf auth login)",
    "HFValidationError": "a name that the hub does not allow",
}
"""What the client's errors, which go by these names in all its versions, mean to a user."""


@contextmanager
def _client(reference: str) -> Iterator[Any]:
    """The hub's client; whatever it raises becomes one sentence."""
    try:
        import huggingface_hub
    except ImportError:
        raise InputError(
            f"{reference}: the hub expects huggingface_hub to be installed, found none; "
            "pip install 'counterpoint[hub]'"
        ) from None
    try:
        yield huggingface_hub
    except (InputError, WorkError):
        raise
    except Exception as error:
        name = type(error).__name__
        status = getattr(getattr(error, "response", None), "status_code", None)
        if name in FOUND:
            raise InputError(
                f"{reference}: expected a repository of networks, found {FOUND[name]}"
            ) from error
        if status in (401, 403):
            raise InputError(
                f"{reference}: expected the right to write there, found none (HTTP {status}); "
                "log in with hf auth login"
            ) from error
        reason = (str(error).strip().splitlines() or [name])[0]
        raise WorkError(f"{reference}: the hub could not be used: {reason}") from error


def read_scores(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Answers that "counterpoint score RUN TASK" wrote; raises ``InputError`` for any other file."""
    answers = []
    for file in files:
        try:
            answer = parse_json(file.read_text(encoding="utf-8"))
            numbers = {str(name): float(value) for name, value in answer["scores"].items()}
            answers.append({"task": str(answer["task"]), "scores": numbers, "test": int(answer["test"])})
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            raise InputError(
                f"{file}: expected the TASK.json of counterpoint score, found something else"
            ) from None
    return answers
