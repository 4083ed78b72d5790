"""Encoded parts of one video, read packet by packet as if they were one file.

Every part was written by `render.output.encode.encoder` with the same coding, on its own: it begins with a key
frame, its groups of pictures are closed, and its reordering ends where it ends. So the packets of all parts, one
after the other, are a stream that decodes to the parts' frames, one after the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from curate.errors import WorkError


@dataclass(frozen=True)
class Joined:
    """Parts that fit, and the order of their frames."""

    parts: tuple[Path, ...]
    order: tuple[int, ...]
    """Of each packet as stored: the place of its frame in the order of presentation."""

    @property
    def delay(self) -> int:
        """By how many frames decoding runs ahead of presentation at most."""
        return max(place - rank for place, rank in enumerate(self.order))

    def packets(self) -> Iterator[Any]:
        """All packets as stored, with their part's own times."""
        for part in self.parts:
            with av.open(str(part)) as container:
                yield from (p for p in container.demux(container.streams.video[0]) if p.size)


def join(parts: Sequence[Path]) -> Joined:
    """Look through the parts. Raises WorkError where one cannot be read, is empty or does not fit the first."""
    if not parts:
        raise ValueError("no parts to join")
    order: list[int] = []
    first: dict[str, Any] = {}
    for part in parts:
        try:
            with av.open(str(part)) as container:
                stream = container.streams.video[0]
                header = _header(stream)
                packets = [(int(p.pts or 0), p.is_keyframe) for p in container.demux(stream) if p.size]
        except (av.error.FFmpegError, IndexError) as error:
            raise WorkError(
                f"{part}: a part of the video cannot be read ({error}); remove it and render again"
            ) from None
        if not packets or not packets[0][1]:
            raise WorkError(f"{part}: a part does not begin with a key frame; remove it and render again")
        first = first or header
        if differing := [name for name in header if header[name] != first[name]]:
            raise WorkError(
                f"{part}: was encoded in another way than {parts[0].name} ({', '.join(differing)} differ): an older "
                "render with other settings? remove it and render again"
            )
        ranks = {pts: rank for rank, pts in enumerate(sorted(pts for pts, _ in packets), start=len(order))}
        order += [ranks[pts] for pts, _ in packets]
    return Joined(tuple(parts), tuple(order))


def steps(times: Sequence[int]) -> list[int]:
    """Differences of successive times, sorted; [1] where there are none."""
    return sorted(b - a for a, b in itertools.pairwise(times)) or [1]


def _header(stream: Any) -> dict[str, Any]:
    """What a file says once for all its frames."""
    context = stream.codec_context
    return {
        "codec": (context.name, context.codec_tag, context.profile),
        "size": (context.width, context.height),
        "pixel format": context.pix_fmt,
        "pixel aspect": stream.sample_aspect_ratio,
        "colour tags": tuple(
            int(n) for n in (context.colorspace, context.color_primaries, context.color_trc, context.color_range)
        ),
        "codec header": bytes(context.extradata or b""),
    }
