"""Rooms: which files stand in them, in the package and in folders of the user's own beside it.

A folder of the user's own holds methods, at its top or in a folder of their field. Folders in it that are
called as one of ``ROOMS`` hold parts of that room. It joins the search path of the room: ``mine.py`` is then
the module ``counterpoint.methods.mine``, and whatever lists a room or loads from it knows the file.
"""

from __future__ import annotations

import ast
import importlib
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from counterpoint.core.errors import InputError

PACKAGE = "counterpoint"
KINDS = ("methods", "encoders", "tasks", "procedures")
"""Rooms in which a file counts if it holds a class with settings; their other files serve those."""
ROOMS = (*KINDS, "claims", "studies")
"""Rooms that a folder of the user's own can add to."""
GROUP = "counterpoint.methods"
"""Entry points of this group name packages that are such folders."""
_OURS = Path(__file__).resolve().parents[1]
_PARTS = {"Method", "Encoder", "Task", "Procedure"}


def files(room: str) -> dict[str, tuple[str, Path]]:
    """Name → (module path, file) of what stands in a room; imports nothing below the room.

    Raises:
        InputError: there is no such room, or two files of one name.
    """
    for folder in _installed(tuple(sys.path)):
        _join(folder)
    spec = find_spec(room)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"there is no room {room!r}")
    found: dict[str, tuple[str, Path]] = {}
    for place in map(Path, spec.submodule_search_locations):
        for file in filter(_counts if room.split(".")[1] in KINDS else None, _public(place)):
            module = ".".join((room, *file.relative_to(place).with_suffix("").parts))
            taken = found.setdefault(file.stem, (module, file))[1]
            if taken != file:
                raise InputError(f"{file}: expected a name of its own, found that of {taken}")
    fields = {module.rpartition(".")[0]: file.parent for module, file in found.values()}
    for module, file in found.values():
        if module in fields:  # Python would import one and never find the other
            raise InputError(f"{file}: expected a name of its own, found that of {fields[module]}")
    return found


def imported(module: str, file: Path) -> ModuleType:
    """A module of a room, imported; ``file`` is where it stands.

    Raises:
        InputError: it is a file of the user's own that cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:
        if not owner(file):
            raise
        where = culprit(error) or file
        words = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
        said = f"{type(error).__name__}: {words}"
        raise InputError(f"{where}: expected a file that can be imported, found {said}") from error


def culprit(error: BaseException) -> str:
    """File and line, in a folder of the user's own, from which an error came; empty if from nowhere there."""
    places = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((error.filename, error.lineno))
    return next((f"{file}, line {line}" for file, line in reversed(places) if owner(Path(file))), "")


def owner(file: Path) -> Path | None:
    """The folder of the user's own that a file stands in; None for all other files."""
    package = sys.modules.get(f"{PACKAGE}.methods")
    places = map(Path, package.__path__ if package else ())
    return next((place for place in places if _inside(file, place)), None)


def add(folder: Path | str) -> bool:
    """Let the rooms have a folder of the user's own, and import nothing of it; False if they had it before.

    Raises:
        InputError: it is not there, or holds no method and no other part.
    """
    place = Path(folder).resolve()
    if not place.is_dir():
        found = "a file" if place.exists() else "nothing there"
        raise InputError(f"{folder}: expected a folder with methods, found {found}")
    if place.is_relative_to(_OURS):
        raise InputError(f"{folder}: expected a folder outside of the package, found one of its own")
    if not any(_counts(file) for room, share in _shares(place) if room in KINDS for file in _public(share)):
        raise InputError(f"{folder}: expected a method (a file with a Method and its Config), found none")
    return _join(place)


def remove(folder: Path | str) -> None:
    """Undo ``add``: the rooms no longer have the folder, and what was imported from it is forgotten."""
    place = Path(folder).resolve()
    for name, module in [(n, m) for n, m in sys.modules.items() if n.startswith(f"{PACKAGE}.")]:
        file, path = getattr(module, "__file__", None), getattr(module, "__path__", ())
        if any(_inside(Path(p), place) for p in ([file] if file else path)):
            del sys.modules[name]
            parent, _, child = name.rpartition(".")
            vars(sys.modules.get(parent, module)).pop(child, None)
        elif file and path:
            path[:] = [p for p in path if not _inside(Path(p), place)]


@contextmanager
def opened(folders: Iterable[Path | str]) -> Iterator[None]:
    """Folders of the user's own, in the rooms while the block runs; raises ``InputError`` as ``add`` does."""
    with ExitStack() as undo:
        for folder in folders:
            if add(folder):
                undo.callback(remove, folder)
        yield


def own() -> tuple[Path, ...]:
    """The folders of the user's own that were added, without those of installed packages."""
    package = sys.modules.get(f"{PACKAGE}.methods")
    places = [Path(place) for place in (package.__path__ if package else ())]
    known = {*_installed(tuple(sys.path)), _OURS / "methods"}
    return tuple(place for place in places if place not in known)


def places() -> dict[str, list[str]]:
    """Each room that was imported (those of fields, too) → its folders, as another process must know them."""
    rooms = [name for name in sys.modules if name.startswith(f"{PACKAGE}.")]
    return {room: list(path) for room in rooms if (path := getattr(sys.modules[room], "__path__", None))}


def settle(folders: Mapping[str, list[str]]) -> None:
    """Let the rooms of this process have the folders that they have in another one, by its ``places``."""
    for room, path in folders.items():
        importlib.import_module(room).__path__[:] = path


def _public(place: Path) -> Iterator[Path]:
    """The files of a room's folder and of its fields', but for those with a leading "_" or "."."""
    for folder in (place, *sorted(place.glob("[!._]*/"))):
        if folder.name not in ROOMS or folder == place:
            found = (file for file in folder.glob("[!._]*.py") if "." not in file.stem and file.is_file())
            yield from sorted(found)


def _counts(file: Path) -> bool:
    stat = file.stat()
    return _holds_kind(file, stat.st_mtime_ns, stat.st_size)


@cache
def _holds_kind(file: Path, *_version: int) -> bool:
    """Whether a file holds a kind; one that cannot be read counts: whoever asks for it must be told."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return True
    return any(_is_kind(node) for node in tree.body if isinstance(node, ast.ClassDef))


def _is_kind(node: ast.ClassDef) -> bool:
    """Whether a class has a ``Config``, or is a method, an encoder, a task, and ought to have one."""
    assigned = (target for inner in node.body if isinstance(inner, ast.Assign) for target in inner.targets)
    named = {inner.name for inner in node.body if isinstance(inner, ast.ClassDef)} | set(
        map(ast.unparse, assigned)
    )
    return "Config" in named or not _PARTS.isdisjoint(ast.unparse(base).split(".")[-1] for base in node.bases)


def _shares(place: Path) -> Iterator[tuple[str, Path]]:
    """What of a folder of the user's own belongs to which room."""
    yield "methods", place
    yield from ((room, place / room) for room in ROOMS if (place / room).is_dir())


def _join(place: Path) -> bool:
    """Put a folder behind the rooms' own; whether it was not there before."""
    if str(place) in importlib.import_module(f"{PACKAGE}.methods").__path__:
        return False
    importlib.invalidate_caches()  # files may be younger than the last look at their folder
    for room, share in _shares(place):
        path = importlib.import_module(f"{PACKAGE}.{room}").__path__
        path.append(str(share))
        # A field that is a package hides folders of its name elsewhere, unless they are on its path.
        for field in (field for other in path for field in Path(other).glob("[!._]*/")):
            spec = find_spec(f"{PACKAGE}.{room}.{field.name}")
            if spec and spec.origin and str(field) not in (spec.submodule_search_locations or (str(field),)):
                importlib.import_module(spec.name).__path__.append(str(field))
    return True


@cache
def _installed(_path: tuple[str, ...]) -> tuple[Path, ...]:
    """Folders of the packages that entry points name; ``_path`` is where Python looks for packages."""
    found = []
    for point in entry_points(group=GROUP):
        try:
            spec = find_spec(point.module)
            places = (spec and spec.submodule_search_locations) or ()
            reason = "" if places else "no package"
        except Exception as error:  # whatever the import of the package above it raised
            places, reason = (), f"{type(error).__name__}: {error}"
        if reason:
            entry = f'entry point {point.name} = "{point.value}" of {GROUP}'
            raise InputError(f"{entry}: expected a package that can be imported, found: {reason}")
        found += [Path(place).resolve() for place in places]
    return tuple(found)


def _inside(file: Path, place: Path) -> bool:
    return file.is_relative_to(place) and not file.is_relative_to(_OURS)
