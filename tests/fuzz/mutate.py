"""Damage done to files: bytes, boxes of MP4, and values of JSON and TOML. All of it follows from a seed."""

from __future__ import annotations

import copy
import json
import random
import tomllib
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomli_w

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
BOXES = [n.encode() for n in "ftyp moov mdat mvhd trak tkhd mdia mdhd stbl stsd stsz stts stss stsc stco uuid".split()]
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 10**9, 10**30, 10**400, 1e308, float("nan"), float("-inf"), "", "x" * 5000, "../../etc/passwd",
    "/etc/passwd", "a\0b", "<script>alert(1)</script>", "\ud7ff\U0010ffff", [], {}, [[]], [None], {"a": {}}, [1] * 300,
)  # fmt: skip


def mutate(data: bytes, kind: str, rng: random.Random) -> bytes:
    """A damaged copy of a file's bytes; `kind` is its suffix, which says what structure may be broken too."""
    structured = {
        ".json": _json, ".toml": _toml, ".jsonl": _json, ".mp4": _boxes, ".mov": _boxes, ".safetensors": _st,
        ".png": _text, ".fsa": _packed,
    }  # fmt: skip
    if kind in structured and rng.random() < 0.6:
        return structured[kind](data, rng)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        data = rng.choice(BYTES)(data, rng)
    return data


def _flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data or b"\0")
    for _ in range(rng.choice((1, 1, 3, 10, len(changed) // 50 + 1))):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _head(data: bytes, rng: random.Random) -> bytes:
    """One number near the start or the end, where most formats keep their structure."""
    changed = bytearray(data or b"\0")
    near = rng.randrange(min(len(changed), 400))
    place = near if rng.random() < 0.5 else len(changed) - 1 - near
    return bytes(changed[:place]) + _number(rng) + bytes(changed[place + 4 :])


def _number(rng: random.Random) -> bytes:
    return rng.choice(NUMBERS).to_bytes(4, rng.choice(("big", "little")))


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _drop(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.choice((1, 4, 100, 5000)) :]


def _double(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    piece = data[start : start + rng.choice((4, 100, 5000))]
    return data[:start] + piece * rng.choice((2, 50)) + data[start + len(piece) :]


def _move(data: bytes, rng: random.Random) -> bytes:
    a, b = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[b:] + data[a:b] + data[:a]


def _fill(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    size = min(rng.choice((16, 1000)), len(data) - start)
    return data[:start] + bytes([rng.choice((0, 255))]) * size + data[start + size :]


BYTES: tuple[Callable[[bytes, random.Random], bytes], ...] = (_flip, _flip, _head, _cut, _drop, _double, _move, _fill)


def _boxes(data: bytes, rng: random.Random) -> bytes:
    """Sizes, names and contents of boxes at any depth."""
    places = [p for name in BOXES if (p := data.find(name)) >= 4]
    if not places:
        return _flip(data, rng)
    place = rng.choice(places)
    size = int.from_bytes(data[place - 4 : place], "big")
    what = rng.randrange(5)
    if what == 0:  # a size
        return data[: place - 4] + rng.choice((_number(rng), (size * 2).to_bytes(8, "big")[4:])) + data[place:]
    if what == 1:  # a name
        return data[:place] + rng.choice(BOXES) + data[place + 4 :]
    if what == 2:  # many of it
        return data[: place - 4] + data[place - 4 : place - 4 + size] * rng.choice((2, 300)) + data[place - 4 :]
    if what == 3:  # none of it
        return data[: place - 4] + data[place - 4 + size :]
    inside = place + 4 + 4 * rng.randrange(max(min(size - 8, 120) // 4, 1))  # a count, a rate, a length in it
    return data[:inside] + _number(rng) + data[inside + 4 :]


def _json(data: bytes, rng: random.Random) -> bytes:
    """A value replaced, removed, put where another was, or nested deeper than any stack."""
    if rng.random() < 0.03:
        return _deep(data, b":", rng)
    return json.dumps(_value(json.loads(data.splitlines()[0] if data.count(b"}\n{") else data), rng)).encode() + b"\n"


def _deep(data: bytes, before: bytes, rng: random.Random) -> bytes:
    start = data.find(before, rng.randrange(len(data) + 1)) + 1
    return data[:start] + rng.choice((b"[", b'{"a":')) * rng.choice((300, 5000, 100_000)) + data[start:]


def _toml(data: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.03:
        return _deep(data, b"=", rng)
    for _ in range(20):
        try:
            return tomli_w.dumps(_value(tomllib.loads(data.decode()), rng)).encode()
        except (TypeError, ValueError, AttributeError):  # TOML has no null, and is a table
            continue
    return _flip(data, rng)


def _st(data: bytes, rng: random.Random) -> bytes:
    """The header of a safetensors file: 8 bytes of its length, then JSON."""
    size = int.from_bytes(data[:8], "little")
    head = _json(data[8 : 8 + size], rng)
    told = len(head) if rng.random() < 0.8 else rng.choice((0, 1 << 40, 1 << 63, len(data)))
    return told.to_bytes(8, "little") + head + data[8 + size :]


def _text(data: bytes, rng: random.Random) -> bytes:
    """The text of a PNG, with a sum that is right again."""
    place = data.find(b"iTXt")
    if place < 4:
        return _flip(data, rng)
    end = place + 4 + int.from_bytes(data[place - 4 : place], "big")
    body = b"iTXt" + rng.choice(BYTES)(data[place + 4 : end], rng)
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return data[: place - 4] + chunk + data[end + 4 :]


def _packed(data: bytes, rng: random.Random) -> bytes:
    """What zlib packed, packed again."""
    return zlib.compress(rng.choice(BYTES)(zlib.decompress(data), rng))


def _value(root: Any, rng: random.Random) -> Any:
    for _ in range(rng.choice((1, 1, 2, 5))):
        places = list(_places(root))
        if not places or rng.random() < 0.02:
            return copy.deepcopy(rng.choice(VALUES))
        holder, key = rng.choice(places)
        what = rng.random()
        if what < 0.15:
            del holder[key]
        elif what < 0.3:
            other, name = rng.choice(places)
            holder[key] = json.loads(json.dumps(other[name]))
        elif isinstance(holder[key], int | float) and what < 0.6:
            holder[key] = rng.choice((0, -1, 1, 10**6, 10**18, 0.5, -1e300)) * rng.choice(
                (1, min(holder[key], 10**30) or 1)
            )
        else:
            holder[key] = copy.deepcopy(rng.choice(VALUES))
    return root


def _places(value: Any) -> list[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(min(len(value), 8)) if isinstance(value, list) else ()
    return [(value, k) for k in keys] + [p for k in keys for p in _places(value[k])]


def damaged(source: Path, target: Path, rng: random.Random) -> None:
    """Write a damaged copy of a file."""
    target.write_bytes(mutate(source.read_bytes(), source.suffix.lower(), rng))
