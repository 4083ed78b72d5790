"""Packets of the encoded parts of one video, read as if they were one file.

Every part was written by `render.output.encode.encoder` with the same coding: it starts with a key frame, its groups of
pictures are closed, and no frame is reordered across its end. So the concatenated packets of all parts decode to the
concatenated frames.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from curate.errors import WorkError
from curate.footage.opening import opened


@dataclass(frozen=True)
class Joined:
    """Parts with the same coding, and the order of their frames."""

    parts: tuple[Path, ...]
    order: tuple[int, ...]
    """Position in presentation order of every packet as stored."""

    @property
    def delay(self) -> int:
        """Frames by which decoding runs ahead of presentation at most."""
        return max(place - rank for place, rank in enumerate(self.order))

    def packets(self) -> Iterator[Any]:
        """All packets as stored, with their part's own timestamps."""
        for part in self.parts:
            with opened(part) as container:
                yield from (p for p in container.demux(container.streams.video[0]) if p.size)


def join(parts: Sequence[Path]) -> Joined:
    """The parts, checked. Raises WorkError if one cannot be read, is empty or is coded differently from the first."""
    if not parts:
        raise ValueError("no parts to join")
    order: list[int] = []
    first: dict[str, Any] = {}
    for part in parts:
        try:
            with opened(part) as container:
                stream = container.streams.video[0]
                header = _header(stream)
                packets = [(int(p.pts or 0), p.is_keyframe) for p in container.demux(stream) if p.size]
        except (av.error.FFmpegError, IndexError) as error:
            raise WorkError(f"{part}: the rendered part cannot be read ({error}); delete it and render again") from None
        if not packets or not packets[0][1]:
            raise WorkError(f"{part}: the rendered part does not start with a key frame; delete it and render again")
        first = first or header
        if differing := [name for name in header if header[name] != first[name]]:
            raise WorkError(
                f"{part}: the rendered part was encoded differently from {parts[0].name} ({', '.join(differing)}); "
                "delete it and render again"
            )
        ranks = {pts: rank for rank, pts in enumerate(sorted(pts for pts, _ in packets), start=len(order))}
        order += [ranks[pts] for pts, _ in packets]
    return Joined(tuple(parts), tuple(order))


def intervals(times: Sequence[int]) -> list[int]:
    """Differences of successive timestamps, sorted; [1] if there are none."""
    return sorted(b - a for a, b in itertools.pairwise(times)) or [1]


def _header(stream: Any) -> dict[str, Any]:
    """Stream properties that all parts must share."""
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
