"""Reading of a segment's frames: seeks that are checked, and frames that are accounted for.

A demuxer may seek by decoding times, to any packet, or not at all. So what comes after a seek is compared with the key
frame's packet that was wanted; if that has gone by, the seek goes further back, and at last the file is read from its
start. The decoder is given the first packet of the file before a seek: some streams say only there which encoder made
them, and are decoded differently for it (H.264 4:4:4 and MPEG-4 of older encoders).
"""

from __future__ import annotations

import bisect
import itertools
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from curate.footage.opening import check_disk, opened, video_stream
from curate.footage.timeline import offset
from curate.safe_io import DAMAGED
from curate.types import Entry, Segment

log = logging.getLogger(__name__)

BACK = (0.0, 1.0, 10.0)
"""Seconds before the key frame to which the attempts of a seek go."""
REORDERED = 16
"""Frames by which decoding runs ahead of presentation at most (H.264)."""


@dataclass(frozen=True)
class Gap:
    """Frames one after the other that did not come."""

    first: float
    last: float
    """Seconds from the clip's first frame."""
    frames: int
    damaged: bool
    """Whether the decoder calls one of them damaged."""


@dataclass(frozen=True)
class Size:
    """Size of the pictures from some time on, as stored."""

    seconds: float
    """From the clip's first frame."""
    width: int
    height: int


@dataclass
class Account:
    """What became of the frames of a segment."""

    decoded: int = 0
    damaged: list[int] = field(default_factory=list)
    """Times of packets and frames that the decoder calls damaged."""
    gaps: list[Gap] = field(default_factory=list)
    sizes: list[Size] = field(default_factory=list)
    """Of the first picture, and where it changes."""
    looks: int = 0
    """Faces that were also read upside down."""
    inverted: int = 0
    """Of these, faces that are read better so."""

    def close(self, segment: Segment, seen: set[int], base: Fraction) -> None:
        """Find out which frames did not come."""
        lost = [place for place, time in enumerate(segment.pts) if time not in seen]
        for _, run in itertools.groupby(enumerate(lost), lambda pair: pair[1] - pair[0]):
            times = [segment.pts[place] for _, place in run]
            damaged = any(times[0] <= time <= times[-1] for time in self.damaged)
            first, last = (float((time - segment.origin) * base) for time in (times[0], times[-1]))
            self.gaps.append(Gap(first, last, len(times), damaged))


def packed(account: Account) -> str:
    """The account of a segment as JSON, for its part."""
    gaps = [[g.first, g.last, g.frames, g.damaged] for g in account.gaps]
    sizes = [[s.seconds, s.width, s.height] for s in account.sizes]
    faces = [account.looks, account.inverted]
    return json.dumps({"decoded": account.decoded, "gaps": gaps, "sizes": sizes, "upside_down": faces})


def unpacked(text: str) -> Account | None:
    """The account from a part; None if it has none."""
    try:
        values: dict[str, Any] = json.loads(text)
        gaps = [Gap(float(a), float(b), int(n), bool(d)) for a, b, n, d in values["gaps"]]
        sizes = [Size(float(t), int(w), int(h)) for t, w, h in values["sizes"]]
        looks, inverted = map(int, values.get("upside_down", (0, 0)))
        return Account(int(values["decoded"]), gaps=gaps, sizes=sizes, looks=looks, inverted=inverted)
    except DAMAGED:
        return None


@dataclass
class Reader:
    """Reader of one segment of a file."""

    path: Path
    segment: Segment
    account: Account
    stream: Any = None
    """The stream that the last frame came from; its container is closed once all frames are read."""
    base: Fraction = Fraction(1)
    """Time base of the stream."""

    def frames(self) -> Iterator[tuple[int, Any]]:
        """(time, av.VideoFrame) in order of presentation, from before the segment's start to the first after its end.

        Times are those of the timeline. Frames that the decoder calls damaged are left out. Raises FootageError.
        """
        start, given = self.segment.pts[0], self.segment.access.entries
        entries: list[Entry | None] = [e for e in given if e.number > 0]
        if len(entries) < max(len(given), 1):
            entries.append(None)
        for place, entry in enumerate(entries):
            with opened(self.path) as container:
                self.stream = video_stream(container, self.path)
                if self.segment.access.damaged:
                    self.stream.thread_type = "SLICE"
                self.base = Fraction(self.stream.time_base)
                passed = _Pass(container, self.stream, self.path, self.segment, self.account)
                ready = False
                for time, frame in passed.run(entry):
                    if not ready and time > start and place + 1 < len(entries):
                        break  # decoding did not begin in time for the first frame
                    ready = ready or time >= start
                    yield time, frame
                    if time >= self.segment.end:
                        return
                else:
                    return


@dataclass
class _Pass:
    """One pass over the packets of a file."""

    container: Any
    stream: Any
    path: Path
    segment: Segment
    account: Account

    def run(self, entry: Entry | None) -> Iterator[tuple[int, Any]]:
        """Frames from the key frame at `entry` on; None: from the start of the file."""
        counted, epochs = self.segment.access.counted, self.segment.access.epochs
        order = _Order(self.segment, 0 if entry is None else entry.number)
        for number, packet in self._from(entry):
            if not packet.size:
                pass  # the flush at the end
            elif counted:
                packet.pts = packet.dts = number
            elif packet.pts is not None:
                packet.pts += offset(number, epochs)
            elif packet.dts is not None:
                packet.pts = packet.dts + offset(number, epochs)
            for frame in self._decoded(packet):
                time = order.time(frame.pts) if counted else frame.pts
                if time is None:
                    continue
                if frame.is_corrupt:
                    self.account.damaged.append(time)
                else:
                    yield time, frame

    def _decoded(self, packet: Any) -> list[Any]:
        try:
            found: list[Any] = packet.decode()
            return found
        except av.error.FFmpegError as error:
            if packet.pts is not None:
                self.account.damaged.append(packet.pts)
            log.info("%s: the packet at timestamp %s cannot be decoded (%s)", self.path, packet.pts, error.strerror)
            return []

    def _from(self, entry: Entry | None) -> Iterator[tuple[int, Any]]:
        """(number, packet) from the entry on, and the flush at the end."""
        if entry is None:
            yield from enumerate(self._packets())
            return
        self._prime()
        if len(self.segment.access.epochs) == 1:
            for back in BACK:
                packets = self._sought(entry, back)
                first = next(packets, None)
                if first is not None:
                    yield entry.number, first
                    yield from enumerate(packets, entry.number + 1)
                    return
        with opened(self.path) as again:
            stream = video_stream(again, self.path)
            stream.thread_type = self.stream.thread_type
            whole = _Pass(again, stream, self.path, self.segment, self.account)
            yield from ((n, p) for n, p in enumerate(whole._packets()) if n >= entry.number)

    def _prime(self) -> None:
        """Show the decoder the first packet of the file."""
        first = next(self._packets(), None)
        if first is not None:
            try:
                first.decode()
            except av.error.FFmpegError:
                log.debug("%s: the first packet cannot be decoded", self.path)

    def _sought(self, entry: Entry, back: float) -> Iterator[Any]:
        """Packets from the entry's on after a seek; none if it has gone by."""
        stamp = entry.dts if entry.dts is not None else entry.pts
        if stamp is None:
            return
        self.container.seek(stamp - round(back / self.stream.time_base), stream=self.stream, backward=True)
        self.stream.codec_context.flush_buffers()
        found = False
        for packet in self._packets():
            found = found or self._is(packet, entry)
            if found:
                yield packet
            elif packet.size and _past(packet, entry):
                return

    def _is(self, packet: Any, entry: Entry) -> bool:
        if self.segment.access.counted or entry.pts is None:
            return bool(packet.dts is not None and packet.dts == entry.dts)
        return bool(packet.pts == entry.pts and packet.is_keyframe)

    def _packets(self) -> Iterator[Any]:
        """Packets of the stream that contain something, and the flush at the end."""
        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets)
            except (StopIteration, av.error.EOFError):
                return
            except av.error.FFmpegError as error:
                check_disk(self.path, error)
                log.warning("%s: reading stops early (%s)", self.path, error.strerror)
                return
            if packet.size or packet.dts is None:
                yield packet


def _past(packet: Any, entry: Entry) -> bool:
    if packet.dts is not None and entry.dts is not None:
        return bool(packet.dts > entry.dts)
    return bool(packet.pts is not None and entry.pts is not None and packet.is_keyframe and packet.pts > entry.pts)


@dataclass
class _Order:
    """Times of frames by the order in which they leave the decoder; `frame.pts` are numbers of packets."""

    segment: Segment
    rank: int
    """Rank in presentation of the next frame."""
    seen: list[int] = field(default_factory=list)
    """Numbers that came, of those that may still be waited for, sorted."""
    settled: int = -1
    """Every number up to this one has come, or is lost."""

    def __post_init__(self) -> None:
        self.settled = self.rank - 1

    def time(self, number: int | None) -> int | None:
        """Time of the next frame; None if it is not one of the segment's, after them its end."""
        if number is None:
            return None
        rank = self.rank
        self.rank += 1
        bisect.insort(self.seen, number)
        while self.seen and (self.seen[0] <= self.settled + 1 or self.seen[-1] > self.settled + REORDERED):
            if self.seen[0] <= self.settled + 1:
                self.settled = max(self.settled, self.seen.pop(0))
            else:  # it never came: frames after it have a later place
                self.settled += 1
                self.rank += 1
        place = rank - self.segment.first_frame
        if place >= len(self.segment.pts):
            return self.segment.end
        return self.segment.pts[place] if place >= 0 else self.segment.start - 1
