"""Words of messages: numbers with their nouns, and paths that a shell takes as they are."""

from __future__ import annotations

import shlex
import unicodedata
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


def same_text(one: str, other: str) -> bool:
    """Whether two texts look the same: macOS writes an accent as a character of its own (NFD), others do not (NFC)."""
    return one == other or unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)


def is_text(text: str) -> bool:
    """Whether an argument or a file's name is UTF-8; other bytes are surrogates in Python, and cannot be written."""
    return not any(0xD800 <= ord(c) <= 0xDFFF for c in text)


def quoted(path: Path | str) -> str:
    """A path as part of a command that can be copied: quoted where a shell would not take it as one word."""
    text = str(path)
    if visible(text) == text:
        return shlex.quote(text)
    safe = visible(text.replace("\\", "\\\\").replace("'", "\\'"))
    return f"$'{safe}'"  # as bash and zsh write it


def visible(text: str) -> str:
    """Text in one line that moves no cursor: control characters, line breaks and bytes that are no text as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or unicodedata.category(c) == "Zs" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    """`\\n`, `\\x1b`, `\\u2028`; a byte that is no UTF-8, which Python keeps as a surrogate, is `\\xff`."""
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:
        return f"\\x{number - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
