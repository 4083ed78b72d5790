"""Words of messages: numbers with their nouns, and paths that a shell takes as they are."""

from __future__ import annotations

import shlex
from pathlib import Path


def many(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: `1 face`, `2 faces`, `1,234 faces`; `plural` where it is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def are(number: int) -> str:
    """`is` or `are`, after so many things."""
    return "is" if number == 1 else "are"


def have(number: int) -> str:
    """`has` or `have`, after so many things."""
    return "has" if number == 1 else "have"


def quoted(path: Path | str) -> str:
    """A path as part of a command that can be copied: quoted where a shell would not take it as one word."""
    return shlex.quote(str(path))
