"""Settings: one typed, documented dataclass field each; flags, YAML and docs come from it.

A part (encoder, method, …) is a ``Configured`` class with a nested frozen dataclass ``Config``. The part
is found by the name of its file in its room: no registry, no hand-kept list.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from dataclasses import dataclass
from inspect import get_annotations
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from counterpoint.core.errors import InputError, unknown
from counterpoint.core.rooms import files, imported


@dataclass(frozen=True, kw_only=True)
class Config:
    """Values that describe one part and can build it."""

    room: ClassVar[str] = ""
    """Where the kinds of this part stand, e.g. "counterpoint.encoders"; empty if there is but one."""
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

    def completed(self, plain: dict[str, Any]) -> dict[str, Any]:
        """Plain values of settings like these, with the defaults of names that they lack.

        A setting that is new begins with a default that does what was done before there was one, so settings
        that an older version wrote keep their meaning. What is unknown or of another kind stays as it is.
        """
        if self.room and plain.get("kind") != self.kind:
            return plain
        whole = dict(plain)
        for field in dataclasses.fields(self):
            own, theirs = getattr(self, field.name), plain.get(field.name)
            if isinstance(own, Config) and isinstance(theirs, dict):
                whole[field.name] = own.completed(theirs)
            elif field.name not in plain and (default := _default(field)) is not dataclasses.MISSING:
                whole[field.name] = _plain(default)
        return whole

    @classmethod
    def from_dict(cls, plain: dict[str, Any], where: str = "settings") -> Self:
        """Typed settings from plain values; raises ``InputError`` on unknown keys and wrong types."""
        if not isinstance(plain, dict):
            raise InputError(f"{where}: expected a table of settings, found {plain!r:.200}")
        plain = dict(plain)
        kind = plain.pop("kind", None)
        if kind is not None and not cls.room:
            raise unknown(f"setting in {where}", "kind", [f.name for f in dataclasses.fields(cls)])
        if kind is None and cls.room and not hasattr(cls, "owner"):
            raise InputError(
                f"{where}: expected its kind, one of {', '.join(sorted(names(cls.room)))}, found none"
            )
        target = load(cls.room, str(kind), where).Config if kind is not None else cls
        if not issubclass(target, cls):
            raise InputError(f"{where}: {kind!r} is not a kind of {cls.__qualname__}")
        hints = typing.get_type_hints(target)
        known = {f.name: f for f in dataclasses.fields(target)}
        for key in plain:
            if key not in known:
                raise unknown(f"setting in {where}", str(key), known)
        for key, field in known.items():
            if key not in plain and field.default is field.default_factory is dataclasses.MISSING:
                raise InputError(f"{where}.{key}: expected a value, found none")
        return target(**{k: _typed(hints[k], v, f"{where}.{k}") for k, v in plain.items()})


class Configured:
    """A class with settings; a concrete one is final and names its ``Config``."""

    Config: ClassVar[type[Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "Config" in cls.__dict__:
            cls.Config.owner = cls


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _plain(value: Any) -> Any:
    if isinstance(value, Config):
        return value.to_dict()
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _typed(hint: Any, value: Any, where: str) -> Any:
    """``value`` as the type ``hint``, or an ``InputError`` that names ``where``."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _one_of(args, value, where)
    if isinstance(hint, type) and issubclass(hint, Config):
        return hint.from_dict(value, where)
    if origin is tuple and isinstance(value, list | tuple):
        inner = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
        if len(inner) == len(value):
            each = enumerate(zip(inner, value, strict=True))
            return tuple(_typed(a, v, f"{where}[{i}]") for i, (a, v) in each)
    if origin is Literal:
        if not any(value == a and type(value) is type(a) for a in args):
            raise unknown(f"value of {where}", str(value), [str(a) for a in args])
        return value
    if hint is float and (type(value) is int or (type(value) is str and _EXPONENT.fullmatch(value))):
        return float(value)
    if type(value) is hint:
        return value
    raise InputError(f"{where}: expected {_name(hint)}, found {value!r:.200}")


_EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")
"""A number as in 1e-3, which YAML 1.1 takes for text because it has no point."""


def _one_of(hints: tuple[Any, ...], value: Any, where: str) -> Any:
    """``value`` as the first of several types it fits."""
    if value is None and type(None) in hints:
        return None
    others = [hint for hint in hints if hint is not type(None)]
    if len(others) == 1:  # its own message, which names the place inside, says more
        return _typed(others[0], value, where)
    for hint in others:
        try:
            return _typed(hint, value, where)
        except InputError:
            continue
    raise InputError(f"{where}: expected {' or '.join(map(_name, hints))}, found {value!r:.200}")


def _name(hint: Any) -> str:
    return "None" if hint is type(None) else hint.__name__ if isinstance(hint, type) else str(hint)


def names(room: str) -> dict[str, str]:
    """File name → module path of what stands in a room; imports nothing below the room.

    In a room of kinds (methods, encoders, tasks, procedures) that is every file whose class has settings.

    Raises:
        InputError: there is no such room, or two files of one name.
    """
    return {name: module for name, (module, _) in files(room).items()}


def load(room: str, kind: str, where: str = "") -> type[Configured]:
    """The class of one kind; imports one file.

    Raises:
        InputError: there is none, with the nearest names; or a file of the user's own cannot be imported.
    """
    known = files(room)
    if kind not in known:
        raise unknown(room.rsplit(".", 1)[-1].rstrip("s") + (f" in {where}" if where else ""), kind, known)
    path, file = known[kind]
    module = imported(path, file)
    for value in vars(module).values():
        own = isinstance(value, type) and value.__module__ == module.__name__
        if own and issubclass(value, Configured) and "Config" in vars(value):
            return _whole(value, file)
    raise InputError(
        f"{file}: expected a class with settings, a Method or the like with a class Config in it, found none"
    )


def _whole(kind: type[Configured], file: Path) -> type[Configured]:
    """``kind``, with all that its base class asks for; an ``InputError`` that names what is missing."""
    stated = {name: hint for base in kind.__mro__ for name, hint in get_annotations(base).items()}
    lacks = {name for name, hint in stated.items() if "ClassVar" in str(hint) and not hasattr(kind, name)}
    if lacks := sorted(lacks | set(getattr(kind, "__abstractmethods__", ()))):
        raise InputError(f"{file}: expected {kind.__name__} to have {', '.join(lacks)}, found none")
    if "__dataclass_fields__" not in vars(kind.Config):
        raise InputError(f"{file}: expected @dataclass(frozen=True, kw_only=True) on Config, found none")
    return kind
