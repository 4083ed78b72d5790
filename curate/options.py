"""Options: dataclass fields that carry their flag, help, range and choices.

A field made by `option` is declared once. The command line's flags and `--help`, shell completion, the checks of
`check`, the App's forms and the pages of `docs/cli` all come from it. Nothing here imports more than the standard
library, so that `--help` stays quick.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import sys
import types
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from curate.errors import UsageError

OPTION = "option"


@dataclass(frozen=True)
class Option:
    """One option, as its dataclass declares it."""

    name: str
    """Name of the field."""
    flag: str
    """`--min-sharpness`."""
    kind: type
    """int, float, str, bool or Path."""
    default: Any
    help: str
    """What it does, with its unit; at most 80 characters."""
    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] = ()
    metavar: str | None = None
    suggestions: tuple[str, ...] = ()
    """Values that a shell offers where anything may be given."""
    parse: Callable[[str], Any] | None = None
    """From the text of the command line to the field's value; None: `kind` does it. Raises UsageError."""
    bare: bool = False
    """A switch that can only be turned on: no `--no-` form."""
    columns: tuple[str, ...] = ()
    """Columns of the table that it applies to."""
    needs: str = ""
    """Field of the option without which it does nothing."""

    @property
    def parameter(self) -> str:
        """The flag as a Python name: `min_sharpness`."""
        return self.flag.lstrip("-").replace("-", "_")


def option(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[Any, ...] | str = (),
    flag: str | None = None,
    metavar: str | None = None,
    suggestions: tuple[str, ...] = (),
    parse: Callable[[str], Any] | None = None,
    bare: bool = False,
    columns: tuple[str, ...] = (),
    needs: str = "",
) -> Any:
    """A dataclass field that is an option; `flag` where it is not the field's name with dashes.

    `choices` may be `package.module:NAME`, a dict or tuple literal there; it is read without importing the module.
    """
    declared = {
        "help": help, "low": low, "high": high, "choices": choices, "flag": flag, "metavar": metavar,
        "suggestions": suggestions, "parse": parse, "bare": bare, "columns": columns,
        "needs": needs,
    }  # fmt: skip
    return field(default=default, metadata={OPTION: declared})


@functools.cache
def options_of(kind: type[Any]) -> tuple[Option, ...]:
    """Options of a dataclass, in the order of its fields; fields made otherwise are none."""
    hints = typing.get_type_hints(kind)
    return tuple(_option(f, hints[f.name]) for f in fields(kind) if OPTION in f.metadata)


def check(settings: Any) -> None:
    """Check every option of a dataclass instance; raises UsageError with the flag, the value and what is allowed."""
    kind: Any = type(settings)
    for one in options_of(kind):
        value = getattr(settings, one.name)
        if value is None or one.kind is bool:
            continue
        if one.choices:
            for part in value if isinstance(value, tuple) else (value,):
                if part not in one.choices:
                    raise UsageError(f"{one.flag} {part}: must be one of {', '.join(map(str, one.choices))}")
        elif one.kind in (int, float) and not _within(value, one):
            raise UsageError(f"{one.flag} {value}: must be {_range(one)}")
    check_needs(kind, [one.name for one in options_of(kind) if getattr(settings, one.name) != one.default])


def check_needs(kind: Any, given: Collection[str]) -> None:
    """Raise UsageError for a given field that does nothing, since another one that it needs is not given."""
    for one in options_of(kind):
        if one.name in given and one.needs and one.needs not in given:
            raise UsageError(f"{one.flag}: has no effect without {option_of(kind, one.needs).flag}; add it too")


def option_of(kind: Any, name: str) -> Option:
    """The option of a field: of `save_every` of TrainConfig the flag is `--save-every`."""
    return next(one for one in options_of(kind) if one.name == name)


def literal_names(place: str) -> tuple[str, ...]:
    """Names in a dict's or tuple's literal: `package.module:NAME`; the module is read, not imported."""
    module, name = place.split(":")
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None, place
    for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(isinstance(t, ast.Name) and t.id == name for t in targets):
            found = node.value.keys if isinstance(node.value, ast.Dict) else getattr(node.value, "elts", [])
            return tuple(ast.literal_eval(key) for key in found if key is not None)
    raise LookupError(f"{place}: there is no such literal")


def _option(declared: Field[Any], hint: Any) -> Option:
    known: Mapping[str, Any] = declared.metadata[OPTION]
    choices = known["choices"]
    return Option(
        declared.name,
        known["flag"] or "--" + declared.name.replace("_", "-"),
        _plain(hint),
        declared.default,
        known["help"],
        known["low"],
        known["high"],
        literal_names(choices) if isinstance(choices, str) else choices,
        known["metavar"],
        known["suggestions"],
        known["parse"],
        known["bare"],
        known["columns"],
        known["needs"],
    )


def _plain(hint: Any) -> type:
    """The type of one value: float of `float | None`, str of `tuple[str, ...]` and of a Literal of texts."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _plain(next(h for h in inner if h is not type(None)))
    if origin is tuple:
        return _plain(inner[0])
    if origin is typing.Literal:
        return type(inner[0])
    return typing.cast(type, hint)


def _within(value: float, one: Option) -> bool:
    # math.isfinite cannot read an int that no float can hold.
    finite = abs(value) <= sys.float_info.max
    return finite and (one.low is None or value >= one.low) and (one.high is None or value <= one.high)


def _range(one: Option) -> str:
    unit = f" {one.metavar}" if one.metavar and one.metavar.islower() else ""
    if one.low is None or one.high is None:
        return "a finite number" if one.low is None else f"at least {_number(one.low)}{unit}"
    return f"{_number(one.low)} to {_number(one.high)}{unit}"


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:g}"
