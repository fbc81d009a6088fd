"""Settings: one typed, documented dataclass field each; flags, YAML and docs come from it.

A part (encoder, method, …) is a ``Configured`` class with a nested frozen dataclass ``Config``. The part
is found by the name of its file in its room: no registry, no hand-kept list.
"""

from __future__ import annotations

import dataclasses
import importlib
import types
import typing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from counterpoint.core.errors import InputError, unknown


@dataclass(frozen=True, kw_only=True)
class Config:
    """Values that describe one part and can build it."""

    room: ClassVar[str] = ""
    """Where the kinds of this part stand, e.g. "counterpoint.encoders"; empty for settings of a fixed class."""
    owner: ClassVar[type]

    @property
    def kind(self) -> str:
        """The file name of the part these settings belong to."""
        return self.owner.__module__.rsplit(".", 1)[-1]

    def build(self) -> Any:
        """The part itself, made from these settings."""
        return self.owner(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, nested, with ``kind`` where the part is one of several."""
        plain = {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}
        return {"kind": self.kind, **plain} if self.room else plain

    @classmethod
    def from_dict(cls, plain: dict[str, Any], where: str = "settings") -> Self:
        """Typed settings from plain values; raises ``InputError`` on unknown keys and wrong types."""
        if not isinstance(plain, dict):
            raise InputError(f"{where}: expected a table of settings, found {plain!r}")
        plain = dict(plain)
        kind = plain.pop("kind", None)
        if kind is not None and not cls.room:
            raise unknown(f"setting in {where}", "kind", [f.name for f in dataclasses.fields(cls)])
        target = load(cls.room, str(kind)).Config if kind is not None else cls
        if not issubclass(target, cls):
            raise InputError(f"{where}: {kind!r} is not a kind of {cls.__qualname__}")
        hints = typing.get_type_hints(target)
        known = {f.name for f in dataclasses.fields(target)}
        for key in plain:
            if key not in known:
                raise unknown(f"setting in {where}", str(key), known)
        return target(**{k: _typed(hints[k], v, f"{where}.{k}") for k, v in plain.items()})


class Configured:
    """A class with settings; a concrete one is final and names its ``Config``."""

    Config: ClassVar[type[Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "Config" in cls.__dict__:
            cls.Config.owner = cls


def _plain(value: Any) -> Any:
    if isinstance(value, Config):
        return value.to_dict()
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _typed(hint: Any, value: Any, where: str) -> Any:
    """``value`` as the type ``hint``, or an ``InputError`` that names ``where``."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        return _typed(next(a for a in args if a is not type(None)), value, where)
    if origin is Literal:
        if value not in args:
            raise unknown(f"value of {where}", str(value), [str(a) for a in args])
        return value
    if origin is tuple and isinstance(value, list | tuple):
        inner = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
        if len(inner) == len(value):
            return tuple(_typed(a, v, f"{where}[{i}]") for i, (a, v) in enumerate(zip(inner, value, strict=True)))
    elif isinstance(hint, type) and issubclass(hint, Config):
        return hint.from_dict(value, where)
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif isinstance(hint, type) and isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    name = getattr(hint, "__name__", str(hint))
    raise InputError(f"{where}: expected {name}, found {value!r}")


def names(room: str) -> dict[str, str]:
    """File name → module path of what stands in a room; imports nothing below the room."""
    spec = find_spec(room)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"there is no room {room!r}")
    found: dict[str, str] = {}
    for place in map(Path, spec.submodule_search_locations):
        for file in sorted(place.rglob("*.py")):
            if not file.name.startswith("_"):
                found[file.stem] = ".".join((room, *file.relative_to(place).with_suffix("").parts))
    return found


def load(room: str, kind: str) -> type[Configured]:
    """The class of one kind; imports one file. Raises ``InputError`` with the nearest names if there is none."""
    known = names(room)
    if kind not in known:
        raise unknown(room.rsplit(".", 1)[-1].rstrip("s"), kind, known)
    module = importlib.import_module(known[kind])
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Configured) and value.__module__ == module.__name__:
            return value
    raise InputError(f"{known[kind]} holds no class with settings")
