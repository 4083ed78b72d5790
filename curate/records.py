"""Frozen dataclasses from untrusted JSON and TOML: every value is checked against its field's type."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar

T = TypeVar("T")
MOST = 1 << 62
"""Largest whole number, either way."""


def record(kind: type[T], values: Any, strict: bool = True) -> T:
    """Instance of a dataclass from a mapping; sequences become tuples, nested mappings dataclasses.

    Not `strict`: names that the dataclass does not have are left out. Raises TypeError that names the field and the
    value, and what the dataclass itself raises.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"{_short(values)} is not a {kind.__name__}")
    hints = typing.get_type_hints(kind)
    known = {f.name: f for f in fields(typing.cast(Any, kind)) if f.init}
    unknown = [name for name in values if name not in known]
    if unknown and strict:
        raise TypeError(f"{kind.__name__} has no field {_short(unknown[0])}")
    missing = [n for n, f in known.items() if n not in values and f.default is f.default_factory is MISSING]
    if missing:
        raise TypeError(f"{missing[0]} is missing")
    return kind(**{name: checked(values[name], hints[name], name) for name in known if name in values})


def checked(value: Any, hint: Any, name: str) -> Any:
    """The value converted to the type; raises TypeError that names the field if it has another type."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _any_of(value, inner, name)
    if origin is Literal and isinstance(value, str | int) and value in inner:
        return value
    if origin is tuple and isinstance(value, list | tuple):
        kinds = [inner[0]] * len(value) if inner[-1] is ... else list(inner)
        if len(kinds) == len(value):
            return tuple(checked(v, kind, name) for v, kind in zip(value, kinds, strict=True))
    if origin in (dict, Mapping) and isinstance(value, Mapping):
        return {checked(k, inner[0], name): checked(v, inner[1], name) for k, v in value.items()}
    if isinstance(hint, type) and hint not in (int, float, str) and isinstance(value, hint):
        return value
    if is_dataclass(hint) and isinstance(value, Mapping):
        return record(typing.cast(type, hint), value)
    if _plain(value, hint):
        return value
    raise TypeError(f"{name} is {_short(value)}")


def _any_of(value: Any, hints: tuple[Any, ...], name: str) -> Any:
    for hint in hints:
        try:
            return checked(value, hint, name)
        except TypeError:
            continue
    raise TypeError(f"{name} is {_short(value)}")


def _plain(value: Any, hint: Any) -> bool:
    if hint in (None, type(None)):
        return value is None
    if isinstance(value, bool):
        return hint is bool
    if hint is int:
        return isinstance(value, int) and abs(value) < MOST
    if hint is float:
        return isinstance(value, float) or (isinstance(value, int) and abs(value) < MOST)
    return hint is str and isinstance(value, str) and "\0" not in value


def safe_name(name: str) -> bool:
    """Whether a name stays in the folder in which it is used: no separator, no control character, no dots alone."""
    return name.strip(". ") == name != "" and not any(c in "/\\" or ord(c) < 32 for c in name)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
