"""Settings file of a render (`--settings FILE`): other settings for some stretches of the footage, as TOML.

[[stretch]]
start = 3.2      # seconds from the first frame of the footage
end = 4.8
feather = 0.2    # any of NAMES
keep = ["mouth"]
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from curate.errors import FacesetError, UsageError
from curate.records import MOST, checked
from render.compositing.schedule import Stretch
from render.compositing.settings import RenderSettings

MASK = {"mask": "mode", "erode": "erode", "feather": "feather", "keep": "keep"}
"""Name in the file to field of the mask's settings."""
OTHER = ("colour", "relight", "blend", "sharpen", "grain", "occlusion", "smooth", "opacity")
NAMES = (*MASK, *OTHER)
"""Settings that a stretch may have."""
_HINTS = {"mode": str, "erode": float, "feather": float, "keep": tuple[str, ...], "colour": str, "blend": str,
          "relight": float, "sharpen": float, "grain": bool, "occlusion": bool, "smooth": int,
          "opacity": float}  # fmt: skip


def changes(settings: RenderSettings, base: RenderSettings) -> dict[str, Any]:
    """What `settings` has other than `base`, by NAMES."""
    found = {name: getattr(settings.mask, field) for name, field in MASK.items()
             if getattr(settings.mask, field) != getattr(base.mask, field)}  # fmt: skip
    return found | {name: getattr(settings, name) for name in OTHER if getattr(settings, name) != getattr(base, name)}


def changed(base: RenderSettings, values: Mapping[str, Any]) -> RenderSettings:
    """The settings with some of NAMES changed. Raises UsageError that names the setting, or TypeError."""
    known = {name: checked(value, _HINTS[MASK.get(name, name)], name) for name, value in values.items()}
    mask = replace(base.mask, **{MASK[name]: value for name, value in known.items() if name in MASK})
    return replace(base, mask=mask, **{name: value for name, value in known.items() if name not in MASK})


def read(path: Path, base: RenderSettings, times: Sequence[float]) -> tuple[Stretch, ...]:
    """Stretches of a file, for footage whose frames are shown at `times` in seconds from its first frame.

    Raises UsageError, of one line, for a file or a value that cannot be used.
    """
    try:
        listed = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--settings {path}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"--settings {path}: is not TOML ({str(error).splitlines()[0]})") from None
    rows = listed.get("stretch")
    if set(listed) != {"stretch"} or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UsageError(f"--settings {path}: must contain [[stretch]] tables and nothing else")
    found = [_stretch(path, number, row, base, times) for number, row in enumerate(rows, 1)]
    found.sort(key=lambda stretch: stretch.first)
    for before, after in itertools.pairwise(found):
        if after.first < before.end:
            raise UsageError(
                f"--settings {path}: two stretches overlap at {times[after.first]:.2f} s; join or shorten them"
            )
    return tuple(found)


def _stretch(path: Path, number: int, row: Mapping[str, Any], base: RenderSettings, times: Sequence[float]) -> Stretch:
    where = f"--settings {path}: stretch {number}"
    unknown = sorted(set(row) - {"start", "end", *NAMES})
    if unknown:
        raise UsageError(f"{where}: unknown setting {unknown[0]}; use start, end, {', '.join(NAMES)}")
    start, end = (_seconds(row.get(name), f"{where}: {name}") for name in ("start", "end"))
    first, last = (next((i for i, t in enumerate(times) if t >= s - 1e-4), len(times)) for s in (start, end))
    if first >= last:
        raise UsageError(f"{where}: {start} to {end} s contains no frame; the last one is shown at {times[-1]:.2f} s")
    try:
        return Stretch(first, last, changed(base, {name: row[name] for name in NAMES if name in row}))
    except (FacesetError, TypeError) as error:
        raise UsageError(f"{where}: {error}") from None


def _seconds(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MOST:
        raise UsageError(f"{where} must be a time in seconds")
    return float(value)


def write(path: Path, stretches: Sequence[Stretch], base: RenderSettings, times: Sequence[float]) -> None:
    """Write a file that `read` gives back."""
    lines = ["# Settings of some stretches: edit them and render with --settings. Times are seconds of the footage."]
    for stretch in stretches:
        end = times[stretch.end] if stretch.end < len(times) else times[-1] + 1.0
        lines += ["", "[[stretch]]", f"start = {times[stretch.first]:.4f}", f"end = {end:.4f}"]
        lines += [f"{name} = {_toml(value)}" for name, value in changes(stretch.settings, base).items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(v) for v in value)}]"
    return f'"{value}"' if isinstance(value, str) else f"{value:g}"


def words(settings: RenderSettings, base: RenderSettings) -> str:
    """The changes as text, such as "--feather 0.2, --colour mkl"."""
    return ", ".join(f"{name} {_said(value)}" for name, value in changes(settings, base).items())


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(value) or "nothing"
    return value if isinstance(value, str) else f"{value:g}"
