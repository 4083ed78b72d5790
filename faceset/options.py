"""Options of verbs: flags made from the dataclasses that declare them, and the few that many verbs share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from curate.errors import UsageError
from curate.options import Option, check_needs, literal_names, options_of
from faceset.completion import completer

Given = Mapping[type, dict[str, Any]]
"""Dataclass to the fields that were given on the command line."""
LAST = ("engine", "workers", "force", "as_json", "quiet")
"""Options that `--help` shows after all others."""
METAVARS = {int: "N", float: "X", str: "TEXT", Path: "PATH"}


def one_of(help: str, values: tuple[object, ...], *flags: str) -> Any:
    """An option with a fixed set of values, which the shell completes."""
    metavar = "|".join(map(str, values))
    return typer.Option(*flags, help=help, metavar=metavar, autocompletion=completer(values))


def faceset_at(context: typer.Context, value: Any) -> Any:
    """Facesets at URLs as folders on this machine, which are uploaded when the verb ends."""
    if isinstance(value, list):
        return [faceset_at(context, one) for one in value]
    value = on_disk(value)
    if ":/" not in str(value) or context.resilient_parsing:
        return value
    from curate.dataset.mirror import mirrored

    return context.with_resource(mirrored(value))


def on_disk(value: Path) -> Path:
    """`file:///data/set` as the folder /data/set; anything else as it is."""
    text = value.as_posix() if isinstance(value, Path) else str(value)
    return Path("/" + text.removeprefix("file:").lstrip("/")) if text.startswith("file:/") else value


def local_only(value: Path) -> Path:
    """Output that must be on this machine; raises UsageError for a URL."""
    value = on_disk(value)
    if ":/" in str(value):
        from curate.dataset.mirror import url_of

        if url_of(value):
            raise UsageError(f"--out {url_of(value)}: must be on this machine; only facesets can be at URLs")
    return value


def check_engine(engine: str) -> None:
    """Raise UsageError for an engine that does not exist."""
    if engine not in ENGINES:
        raise UsageError(f"--engine {engine}: must be one of {', '.join(ENGINES)}")


def needs_ray(flag: str, engine: str) -> None:
    """Raise UsageError for a flag that has no effect, unless the engine is ray."""
    if engine == "local":
        raise UsageError(f"{flag}: has no effect without --engine ray; add it, or leave {flag} out")


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only warnings and the result.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Workers = Annotated[int, typer.Option(metavar="N", help="Number of processes; 0: one per core.")]
AllowRemote = Annotated[
    bool, typer.Option("--allow-remote", help="Also open addresses that a faceset names, not only those given here.")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing output.")]
ENGINES = literal_names("curate.runtime.jobs:ENGINES")
Engine = Annotated[str, one_of("local processes, or ray (RAY_ADDRESS, or a cluster on this machine).", ENGINES)]
Persons = Annotated[
    str | None,
    typer.Option(metavar="N[,N...]", help="Person from `faceset people` who is the subject; several are its looks."),
]
Defaults = Annotated[bool, typer.Option("--defaults", help="Forget the options and the target of the last selection.")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Faceset: a folder or a URL.", callback=faceset_at)]
Folders = Annotated[
    list[Path], typer.Argument(metavar="DIR...", help="Facesets: folders or URLs.", callback=faceset_at)
]
For = Annotated[
    Path | None,
    typer.Option(
        "--for", metavar="TARGETSET", help="Target faceset, whose performance is to be covered.", callback=faceset_at
    ),
]


def persons_of(text: str | None) -> tuple[int, ...]:
    """Numbers of `--person 0,3`; none where it is not given. Raises UsageError."""
    if text is None:
        return ()
    numbers = text.split(",")
    if not all(n.strip().isdecimal() for n in numbers):
        raise UsageError(f"--person {text}: must be a number, or numbers separated by commas, such as 0,3")
    return tuple(sorted({int(n) for n in numbers}))


def takes(*kinds: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a verb the flags of these dataclasses; they reach it as its argument `given`, without those not given."""

    def add(verb: Callable[..., None]) -> Callable[..., None]:
        """The verb with these flags."""
        signature = inspect.signature(verb, eval_str=True)
        parameters = [p for p in signature.parameters.values() if p.name != "given"]
        made = [(kind, one) for kind in kinds for one in options_of(kind)]
        place = next(i for i, p in enumerate(parameters) if p.name in LAST)
        parameters[place:place] = [_parameter(one) for _, one in made]

        @functools.wraps(verb)
        def run(**values: Any) -> None:
            """Call the verb with the given flags apart."""
            given: dict[type, dict[str, Any]] = {kind: {} for kind in kinds}
            for kind, one in made:
                value = values.pop(one.parameter)
                if value is not None and not (one.bare and value is False):
                    given[kind][one.name] = one.parse(value) if one.parse else value
            for kind in kinds:
                check_needs(kind, given[kind])
            verb(**values, given=given)

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
        run.__annotations__ = {}
        return run

    return add


def _parameter(one: Option) -> inspect.Parameter:
    """One option as an argument of a verb."""
    text = one.help
    if one.default not in (None, (), "") and one.default is not False:
        text += f" [default: {_shown(one)}]"
    values = one.choices or one.suggestions
    details: dict[str, Any] = {"help": text, "autocompletion": completer(values) if values else None}
    kind: Any = str if one.parse else one.kind
    flags = one.flag
    if one.kind is bool and not one.bare:
        flags = f"{one.flag}/--no-{one.flag.removeprefix('--')}"
    elif one.kind is not bool:
        choices = "|".join(map(str, one.choices))
        details["metavar"] = one.metavar or choices or METAVARS[kind]
    default = False if one.bare else None
    annotation: Any = Annotated[kind if one.bare else kind | None, typer.Option(flags, show_default=False, **details)]
    return inspect.Parameter(
        one.parameter, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation
    )


def _shown(one: Option) -> str:
    if one.default is True:
        return "on"
    if isinstance(one.default, float):
        return f"{one.default:g}"
    return "auto" if one.parse and one.default == 0 else str(one.default)
