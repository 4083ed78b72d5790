"""A project file for the clips in a folder: what is found there, what has to be asked, and the commented text."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from curate.errors import UsageError
from curate.footage.paths import PHOTO_SUFFIXES, VIDEO_SUFFIXES
from curate.options import option_of
from curate.select.options import SelectionOptions
from curate.settings import BASES, Settings
from render.compositing.settings import RenderSettings
from train.config import TrainConfig

Ask = Callable[[str, str], str]
"""Question and default to the answer; the default may be empty."""
RESULTS = ("faceset.toml", "run.json", ".project", ".faceset-demo")
"""A folder with one of these holds results, not footage."""


@dataclass(frozen=True)
class Side:
    """What is known of the source or the target; empty where it has to be found or asked."""

    footage: tuple[str, ...] = ()
    name: str = ""
    basis: str = ""
    evidence: str = ""


@dataclass(frozen=True)
class Options:
    """What the call of `faceset init` gives."""

    source: Side = field(default_factory=Side)
    target: Side = field(default_factory=Side)
    budget: str = "auto"
    preset: str = "tiny"
    steps: int | None = None
    price: float = 0.0


def begin(folder: Path, options: Options, ask: Ask | None = None) -> str:
    """Text of the project file of a folder. `ask` is None where nobody can be asked.

    Raises UsageError for a folder without clips, a file that does not exist, or what nobody can be asked.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; name the folder with the clips")
    source, target = _sides(folder, options.source, options.target, ask)
    source, target = _known(source, "source", ask), _known(target, "target", ask)
    keys = _keys(source.name, target.name)
    if source.name == target.name:
        raise UsageError(f"source and target are both called {source.name}: give --source-name and --target-name")
    return _text(options, (source, target), keys)


def clips_in(folder: Path) -> list[str]:
    """Videos and folders of photos below a folder, relative to it; hidden folders and results are left out."""
    found = []
    for place, folders, names in os.walk(folder):
        if set(RESULTS) & {*folders, *names} and Path(place) != folder:
            folders.clear()
            continue
        folders[:] = sorted(f for f in folders if not f.startswith(".") and not _is_result(Path(place), f, folder))
        here = Path(place).relative_to(folder)
        found += [(here / n).as_posix() for n in sorted(names) if Path(n).suffix.lower() in VIDEO_SUFFIXES]
        if here.parts and any(Path(n).suffix.lower() in PHOTO_SUFFIXES for n in names):
            found.append(here.as_posix())
    return found


def _is_result(place: Path, name: str, folder: Path) -> bool:
    return place == folder and name in ("facesets", "runs", "renders", "reports", "earlier")


def _sides(folder: Path, source: Side, target: Side, ask: Ask | None) -> tuple[Side, Side]:
    """Both sides with their footage."""
    given = [tuple(_relative(folder, text) for text in side.footage) for side in (source, target)]
    if not (given[0] and given[1]):
        left = [clip for clip in clips_in(folder) if clip not in (*given[0], *given[1])]
        given = _divided(folder, left, given, ask)
    both = set(given[0]) & set(given[1])
    if both:
        raise UsageError(f"{min(both)} is given as both source and target: give each its own footage")
    sides = (source, target)
    made = [
        Side(f, s.name, s.basis, s.evidence and _relative(folder, s.evidence))
        for f, s in zip(given, sides, strict=True)
    ]
    return made[0], made[1]


def _relative(folder: Path, text: str) -> str:
    """A path as the file has it: relative to the folder if it lies in it. Raises UsageError where there is none."""
    if "://" in text:
        return text
    match = re.match(r"^(.+?)(@[\d:.]*-[\d:.]*)?$", text)
    assert match is not None
    bare, span = (text, "") if Path(text).exists() or (folder / text).exists() else (match[1], match[2] or "")
    path = next((p for p in (Path(bare), folder / bare) if p.exists()), None)
    if path is None:
        raise UsageError(f"{text}: no such file or folder, neither here nor in {folder}")
    whole = path.resolve()
    inside = whole.is_relative_to(folder.resolve())
    return (whole.relative_to(folder.resolve()).as_posix() if inside else str(whole)) + span


def _divided(
    folder: Path, clips: Sequence[str], given: Sequence[tuple[str, ...]], ask: Ask | None
) -> list[tuple[str, ...]]:
    """Footage of both sides, where the call does not give it: from the names, else from the answers."""
    if not clips:
        raise UsageError(f"{folder}: contains no video for each side; give --source FILE and --target FILE")
    source, target = given
    named = {side: tuple(c for c in clips if Path(c).stem.lower().startswith(side)) for side in ("source", "target")}
    if not source and not target and named["source"] and named["target"]:
        return [named["source"], named["target"]]
    if source or target:
        return [source or tuple(clips), target or tuple(clips)]
    if ask is None:
        raise UsageError(
            f"{folder}: which of {_listed(clips)} shows the face to insert? Give --source FILE (and --target FILE, "
            "whose performance is kept)"
        )
    if len(clips) < 2:
        raise UsageError(f"{folder}: contains one clip only, {clips[0]}; a swap needs a source and a target")
    lines = "\n".join(f"  {number}  {clip}" for number, clip in enumerate(clips, 1))
    answer = ask(f"{lines}\nWhich of these show the face to insert (source)? Numbers", "1")
    chosen = _chosen(answer, clips, 1)
    rest = [clip for clip in clips if clip not in chosen]
    if len(rest) > 1:
        lines = "\n".join(f"  {number}  {clip}" for number, clip in enumerate(rest, 1))
        rest = list(_chosen(ask(f"{lines}\nWhich show the performance to keep (target)? Numbers", "1"), rest))
    return [chosen, tuple(rest)]


def _chosen(answer: str, clips: Sequence[str], spare: int = 0) -> tuple[str, ...]:
    """The clips with these numbers; `spare` of them have to be left. Raises UsageError for other answers."""
    numbers = list(dict.fromkeys(int(n) for n in re.findall(r"\d+", answer)))
    if not numbers or not all(1 <= n <= len(clips) for n in numbers):
        raise UsageError(f"{answer!r}: give numbers from 1 to {len(clips)}, such as 1 or 1,2")
    if len(numbers) > len(clips) - spare:
        raise UsageError(f"{answer!r}: leave at least one clip for the target")
    return tuple(clips[n - 1] for n in numbers)


def _listed(clips: Sequence[str]) -> str:
    shown = ", ".join(clips[:4])
    return shown if len(clips) <= 4 else f"{shown} and {len(clips) - 4} more"


def _known(side: Side, word: str, ask: Ask | None) -> Side:
    """A side with name and basis, asked for or taken from the file's name."""
    guess = re.sub(r"[_\-\s]+", " ", Path(side.footage[0].partition("@")[0]).stem).strip().title() or word.title()
    name = side.name or (ask(f"Name of the person in {_listed(side.footage)}", guess) if ask else guess)
    basis, evidence = side.basis, side.evidence
    if not basis and ask is not None:
        basis = ask(f"Basis on which the face of {name} may be used ({', '.join(BASES)})", "")
    if basis not in BASES:
        flag = "--basis" if word == "source" else "--target-basis (or --basis for both)"
        raise UsageError(
            f"{flag} {basis or 'is missing'}: state why the face of {name} may be used, one of {', '.join(BASES)}"
        )
    if basis == "release" and not evidence:
        evidence = ask(f"Document of the release of {name} (file)", "") if ask else ""
        if not evidence:
            flag = "--evidence" if word == "source" else "--target-evidence"
            raise UsageError(f"{flag} is missing: a release needs its document")
    return Side(side.footage, name, basis, evidence)


def _keys(*names: str) -> list[str]:
    """Short unique names for folders."""
    found: list[str] = []
    for name in names:
        base = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "subject"
        found.append(base if base not in found else f"{base}-2")
    return found


def _line(name: str, value: Any, comment: str = "") -> str:
    text = tomli_w.dumps({name: value}).strip()
    text = re.sub(r"\[\n\s+(.*),\n\]", r"[\1]", text) if text.count("\n") == 2 else text
    return _commented(text, comment)


def _off(name: str, value: Any, comment: str) -> str:
    """A line that is a comment itself: an option with a value that is not the default."""
    return _commented(f"# {_line(name, value)}", comment)


def _commented(text: str, comment: str) -> str:
    return f"{text:<32}# {comment}" if comment and "\n" not in text else text


def _text(options: Options, sides: tuple[Side, Side], keys: Sequence[str]) -> str:
    """The commented file."""
    steps = options.steps
    train = [_line("preset", options.preset, _help(TrainConfig, "preset"))]
    train.append(_line("steps", steps, _help(TrainConfig, "steps")) if steps else
                 _off("steps", 1500, _help(TrainConfig, "steps")))  # fmt: skip
    lines = [
        "# A faceset project. Run it with: faceset run project.toml   (--dry-run shows what would be done)",
        "# Paths are relative to this file. Run it again after any change: only what is missing or changed is done.",
        "",
        "format = 1",
        _line("price", float(options.price), "Price of this machine per hour, for the cost in the plan."),
        _line("workers", 0, "Number of processes; 0: one per core."),
        "",
        *_subject(sides[0], keys[0], options.budget, "gives the face (source)"),
        "",
        *_subject(sides[1], keys[1], "auto", "gives the performance (target)"),
        "",
        "# One table per swap; add more for other pairs.",
        "[[pairs]]",
        _line("source", keys[0]),
        _line("target", keys[1]),
        _off("render", ["other.mp4"], "Videos to render; by default the footage of the target."),
        "",
        _commented("[training]", "Options of faceset train, by the names of their flags."),
        *train,
        _off("stop", "auto", _help(TrainConfig, "stop")),
        "",
        _commented("[selection]", "Options of faceset select."),
        _off("cover", "footage", _help(SelectionOptions, "cover")),
        "",
        _commented("[extraction]", "Options of faceset curate."),
        _off("every", "auto", _help(Settings, "every")),
        "",
        _commented("[rendering]", "Options of faceset render."),
        _off("colour", "reinhard", _help(RenderSettings, "colour")),
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _subject(side: Side, key: str, budget: str, does: str) -> list[str]:
    lines = [
        _commented(f"[subjects.{key}]", does.capitalize() + "."),
        _line("name", side.name),
        _line("basis", side.basis, f"Why the face may be used: {', '.join(BASES)}."),
    ]
    if side.evidence:
        lines.append(_line("evidence", side.evidence, "Document that shows the basis."))
    lines += [_line("footage", list(side.footage), "Videos, folders, or clip.mp4@00:10-01:20.")]
    return [*lines, _line("budget", budget, "Faces to select: a number, minutes (9min) or auto.")]


def _help(kind: Any, name: str) -> str:
    return option_of(kind, name).help
