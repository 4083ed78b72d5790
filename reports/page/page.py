"""Templates to self-contained pages: styles, scripts and pictures are inlined, nothing is loaded from elsewhere."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from curate.runtime.files import atomic


@functools.cache
def environment() -> jinja2.Environment:
    """The Jinja2 environment: everything is escaped, a name that does not exist raises."""
    env = jinja2.Environment(
        loader=jinja2.PackageLoader("reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {"count": count, "figure": figure, "percent": percent, "clock": clock, "duration": duration}
    return env


def static(name: str) -> Markup:
    """One of our own style sheets or scripts, to be inlined as it is."""
    return Markup((resources.files("reports") / "static" / name).read_text(encoding="utf-8"))


def write_page(path: Path, template: str, values: Mapping[str, Any], data: Mapping[str, Any]) -> Path:
    """Path of the page, written with its figures as JSON next to it; each file is written whole or not at all."""
    html = (
        environment()
        .get_template(template)
        .render(**values, css=static("page.css"), js=static("page.js"), faceset_version=own_version())
    )
    for target, text in ((path.with_suffix(".json"), to_text(data)), (path, html)):
        with atomic(target) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return path


def to_text(data: Mapping[str, Any]) -> str:
    """JSON with NaN and infinity as null."""
    return json.dumps(_plain(data), indent=1, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def own_version() -> str:
    """Version of this program."""
    try:
        return version("faceset")
    except PackageNotFoundError:
        return "from source"


def count(value: int | None) -> str:
    """A whole number such as 12,345; a dash for None."""
    return "–" if value is None else f"{value:,}"


def figure(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits, without exponent; a dash for None and NaN."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    places = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    return f"{value:,.{places}f}"


def percent(value: float | None, digits: int = 0) -> str:
    """A share 0..1 in percent; a dash for None."""
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f} %"


def clock(seconds: float) -> str:
    """A time in seconds as 1:02.3 (minutes, seconds), and as 1:01:02.3 from an hour on."""
    tenths = round(max(seconds, 0.0) * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    tail = f"{rest // 10:02d}.{rest % 10}"
    return f"{hours}:{minutes:02d}:{tail}" if hours else f"{minutes}:{tail}"


def duration(minutes: float | None) -> str:
    """A length of time in minutes as `12.3 min`, below one minute as `34.5 s`; a dash for None."""
    if minutes is None or not math.isfinite(minutes):
        return "–"
    return f"{figure(minutes)} min" if minutes >= 1 else f"{figure(60 * minutes)} s"
