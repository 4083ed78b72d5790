"""Timeline of a video: the presentation time of every frame, and the key frames from which it can be reached.

It is read from the packets; nothing is decoded. Three things that files do are undone here: timestamps that start
again (files joined by copying) continue; timestamps that follow the order of decoding (B-frames in AVI, raw streams)
belong to the frames in the order in which they leave the decoder; frames that only other frames use (VP8) do not count.
"""

from __future__ import annotations

import bisect
import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from curate.errors import FootageError
from curate.footage.opening import RAW_RATE, check_disk, opened, video_stream
from curate.safe_io import DAMAGED, unreadable
from curate.types import Access, Entry
from curate.words import are, many

log = logging.getLogger(__name__)

RUN_UP = 32
"""Packets before a segment at which decoding starts where frames are counted: more than any decoder reorders."""
FAR = 5.0
"""Seconds before a segment of the last key frame that is tried."""
TRANSMITTED = ("mpegts", "mpeg")
"""Containers whose packets may be lost on the way."""
CONSTANT = 0.8
"""Share of the frames that must have the same duration for a longer one to be a gap."""
LEAST = 8
"""Frames from which the rate is known."""
SHORT = (1.0, 0.2)
"""Seconds, and share of what is announced, by which a stream may be shorter without a word; the lesser one."""

DECODING_ORDER = ("avi", "mxf", "h264", "hevc", "m4v", "mpegvideo")
"""Containers without presentation times (MXF: of H.264 as ffmpeg writes it)."""


@dataclass(frozen=True)
class Packet:
    """What a packet says about its frame."""

    pts: int | None
    dts: int | None
    key: bool
    shown: bool
    """False for one that an edit list leaves out, or whose frame is never shown."""
    corrupt: bool
    """Whether the demuxer calls it damaged: cut short, or with lost pieces."""


@dataclass(frozen=True)
class Timeline:
    """Presentation times of a video in its time base."""

    base: Fraction
    times: tuple[int, ...]
    """Sorted, one per frame."""
    keys: tuple[int, ...]
    """Times of the key frames, sorted."""
    entries: tuple[Entry, ...]
    """Their packets, in the same order."""
    counted: bool
    epochs: tuple[tuple[int, int], ...]
    announced: int
    """Frames that the file announces."""
    notes: tuple[str, ...]
    damaged: bool
    """Whether a packet is damaged."""

    def between(self, start: float | None, end: float | None) -> range:
        """Numbers of the frames in [start, end), in seconds from the first frame; None: to the clip's own edge."""
        low, high = (None if s is None else self.times[0] + round(s / self.base) for s in (start, end))
        left = 0 if low is None else bisect.bisect_left(self.times, low)
        return range(left, len(self.times) if high is None else bisect.bisect_left(self.times, high))

    def access(self, first: int) -> Access:
        """Access to the frames from number `first` on."""
        if self.counted:
            near = [e for e in self.entries if e.number <= first - RUN_UP][-1:]
            return Access(tuple(near), True, self.epochs, self.damaged)
        place = bisect.bisect_right(self.keys, self.times[first]) - 1
        far = bisect.bisect_right(self.keys, self.times[first] - round(FAR / self.base)) - 1
        places = sorted({p for p in (place, place - 1, far) if p >= 0}, reverse=True)
        return Access(tuple(self.entries[p] for p in places), False, self.epochs, self.damaged)


def timeline(path: Path) -> Timeline:
    """Timeline of a video file. Raises FootageError."""
    try:
        with opened(path) as container:
            return _timeline(container, video_stream(container, path), path)
    except DAMAGED as error:
        raise unreadable(path, error) from None


def _timeline(container: Any, stream: Any, path: Path) -> Timeline:
    packets, stopped = _packets(container, stream, path)
    if not any(p.shown for p in packets):
        raise FootageError(f"{path}: has no frames")
    base = Fraction(stream.time_base)
    epochs = _epochs(packets)
    known = all(p.pts is not None for p in packets if p.shown)
    times = [_time(p, n, epochs) for n, p in enumerate(packets) if p.shown] if known else []
    counted = _counted(stream, packets, times)
    if counted:
        times = _in_order(packets, epochs, _step(stream, base))
        keyed = [(times[n], n) for n, p in enumerate(packets) if p.key and n < len(times)]
    else:
        keyed = sorted((_time(p, n, epochs), n) for n, p in enumerate(packets) if p.key and p.shown)
    times = sorted(times)
    announced, notes = _announced(container, stream, packets, times, base, stopped)
    notes += _restarts(packets, epochs, times, base)
    lost, where = _holes(stream, times, base)
    announced, notes = announced + lost, [*notes, *where]
    entries = tuple(Entry(n, packets[n].pts, packets[n].dts) for _, n in keyed)
    damaged = any(p.corrupt for p in packets)
    keys = tuple(k for k, _ in keyed)
    return Timeline(base, tuple(times), keys, entries, counted, epochs, announced, tuple(notes), damaged)


def _packets(container: Any, stream: Any, path: Path) -> tuple[list[Packet], str]:
    """All packets of the stream that contain something, and why reading stopped early, if it did."""
    found: list[Packet] = []
    vp8 = stream.codec_context.name == "vp8"
    try:
        for packet in container.demux(stream):
            if packet.size:
                shown = not packet.is_discard and not (vp8 and _hidden(packet))
                found.append(Packet(packet.pts, packet.dts, packet.is_keyframe, shown, packet.is_corrupt))
    except av.error.FFmpegError as error:
        check_disk(path, error)
        log.warning("%s: reading stops early (%s)", path, error.strerror)
        return found, str(error.strerror)
    return found, ""


def _hidden(packet: Any) -> bool:
    """Whether a VP8 frame is never shown (RFC 6386, 9.1: bit 4 of the frame tag)."""
    return not bytes(memoryview(packet)[:1])[0] >> 4 & 1


def _epochs(packets: Sequence[Packet]) -> tuple[tuple[int, int], ...]:
    """Stretches between restarts of the timestamps: number of the first packet, offset that makes them continue."""
    starts, last = [0], None
    for number, packet in enumerate(packets):
        stamp = packet.dts
        if stamp is not None and last is not None and stamp < last:
            starts.append(number)
        last = stamp if stamp is not None else last
    found: list[tuple[int, int]] = []
    end: int | None = None
    for start, stop in itertools.pairwise([*starts, len(packets)]):
        stamps = [s for p in packets[start:stop] if (s := p.pts if p.pts is not None else p.dts) is not None]
        if not stamps:
            continue
        offset = 0 if end is None else end - min(stamps)
        steps = sorted(b - a for a, b in itertools.pairwise(sorted(stamps)) if b > a) or [1]
        end = max(stamps) + offset + steps[len(steps) // 2]
        found.append((start, offset))
    return tuple(found) or ((0, 0),)


def offset(number: int, epochs: Sequence[tuple[int, int]]) -> int:
    """What must be added to the timestamps of packet `number`."""
    return next(shift for first, shift in reversed(epochs) if first <= number or first == epochs[0][0])


def _time(packet: Packet, number: int, epochs: Sequence[tuple[int, int]]) -> int:
    stamp = packet.pts if packet.pts is not None else packet.dts
    return (stamp or 0) + offset(number, epochs)


def _counted(stream: Any, packets: Sequence[Packet], times: Sequence[int]) -> bool:
    """Whether timestamps do not tell which frame they belong to."""
    if not times or len(set(times)) < len(times):
        return True
    return bool(stream.codec_context.has_b_frames) and _format(stream) in DECODING_ORDER and times == sorted(times)


def _format(stream: Any) -> str:
    return str(stream.container.format.name).split(",")[0]


def _step(stream: Any, base: Fraction) -> int:
    rate = stream.average_rate or stream.guessed_rate or RAW_RATE
    return max(round(1 / (rate * base)), 1)


def _in_order(packets: Sequence[Packet], epochs: Sequence[tuple[int, int]], step: int) -> list[int]:
    """Times in the order of the packets, strictly increasing; made up at the stream's rate where there are none."""
    found: list[int] = []
    for number, packet in enumerate(packets):
        if not packet.shown:
            continue
        stamp = packet.dts if packet.dts is not None else packet.pts
        following = found[-1] + step if found else 0
        time = following if stamp is None else stamp + offset(number, epochs)
        found.append(max(time, found[-1] + 1) if found else time)
    return found


def _announced(
    container: Any, stream: Any, packets: Sequence[Packet], times: Sequence[int], base: Fraction, stopped: str
) -> tuple[int, list[str]]:
    """Number of frames that the file announces, and sentences about those that are not in it."""
    shown = len(times)
    if _format(stream) == "mov" and stream.frames > len(packets):
        missing = stream.frames - len(packets)
        return shown + missing, [f"the file is cut short: its last {missing} of {shown + missing} frames are missing"]
    if stopped:
        return shown, [f"reading stops early ({stopped})"]
    rate = float(stream.average_rate or RAW_RATE)
    rest = _tagged(stream) - float((times[-1] - times[0]) * base) - 1 / rate
    if rest <= min(SHORT[0], SHORT[1] * _tagged(stream)):
        return shown, []
    missing = round(rest * rate)
    return shown + missing, [f"the file is cut short: its pictures end {rest:.1f} s before the announced end"]


def _holes(stream: Any, times: Sequence[int], base: Fraction) -> tuple[int, list[str]]:
    """Frames that a broadcast or tape transfer may have lost: their number, and a sentence about where.

    Only of containers for transmission, and only where the rate is constant otherwise: elsewhere a longer frame is what
    was meant.
    """
    steps = [b - a for a, b in itertools.pairwise(times)]
    if _format(stream) not in TRANSMITTED or len(steps) < LEAST:
        return 0, []
    step = sorted(steps)[len(steps) // 2]
    gaps = [(time, round(s / step) - 1) for time, s in zip(times, steps, strict=False) if s > 1.5 * step]
    if not gaps or sum(abs(s - step) <= 0.1 * step for s in steps) < CONSTANT * len(steps):
        return 0, []
    lost = sum(count for _, count in gaps)
    at = ", ".join(f"{float((time - times[0]) * base):.2f} s ({count})" for time, count in gaps[:3])
    more = f" and {len(gaps) - 3} more" if len(gaps) > 3 else ""
    frames = many(lost, "frame")
    return lost, [
        f"{frames} {are(lost)} missing, lost in transmission or never written: the times have gaps after {at}{more}"
    ]


def _tagged(stream: Any) -> float:
    """Seconds of Matroska's DURATION tag; 0 if there is none."""
    try:
        hours, minutes, seconds = str(stream.metadata.get("DURATION", "")).split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return 0.0


def _restarts(
    packets: Sequence[Packet], epochs: Sequence[tuple[int, int]], times: Sequence[int], base: Fraction
) -> list[str]:
    if len(epochs) < 2:
        return []
    at = ", ".join(f"{float((_time(packets[n], n, epochs) - times[0]) * base):.2f} s" for n, _ in epochs[1:4])
    more = f" and {len(epochs) - 4} more" if len(epochs) > 4 else ""
    return [f"timestamps start again at {at}{more}; the times of the frames continue instead"]
