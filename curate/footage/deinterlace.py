"""Deinterlacing on reading: both fields of a frame become one progressive picture (ffmpeg's bwdif).

Only frames that are flagged as interlaced are changed; there are as many pictures as frames, at the same times.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import av

FILTER = ("bwdif", "mode=send_frame:parity=auto:deint=interlaced")


def progressive(frames: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    """(time, av.VideoFrame) deinterlaced; frames pass through unchanged until the first interlaced one."""
    graph, size = None, (0, 0, "")
    times: deque[int] = deque()
    for time, frame in frames:
        here = (frame.width, frame.height, frame.format.name)
        if graph is not None and here != size:
            yield from _pulled(graph, times, end=True)
            graph = None
        if graph is None and not frame.interlaced_frame:
            yield time, frame
            continue
        if graph is None:
            graph, size = _graph(frame), here
        times.append(time)
        graph.vpush(frame)
        yield from _pulled(graph, times)
    if graph is not None:
        yield from _pulled(graph, times, end=True)


def _graph(frame: Any) -> Any:
    graph = av.filter.Graph()
    base = frame.time_base
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=base)
    graph.link_nodes(source, graph.add(*FILTER), graph.add("buffersink")).configure()
    return graph


def _pulled(graph: Any, times: deque[int], end: bool = False) -> Iterator[tuple[int, Any]]:
    """What the filter has ready, each with the time of the frame that went in."""
    if end:
        graph.vpush(None)
    while times:
        try:
            found = graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        yield times.popleft(), found
