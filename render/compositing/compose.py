"""Compositing of the frames in order: light, colour transfer, sharpness, occlusion, fades, blending.

Measures of a frame are smoothed over its neighbours in the shot, RADIUS frames to either side, so that nothing
flickers. The result depends on these neighbours alone: a part of the video that is decoded with them gives the same
pixels as the whole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.types import Floats, Frame
from render.compositing import blend, colour, detail, occlusion, relight
from render.compositing.schedule import Schedule
from render.compositing.settings import RenderSettings
from render.compositing.swap import Swapped

SIGMA = 6.0
"""Standard deviation of the Gaussian over the shot, frames."""
RADIUS = 12
"""Frames to either side over which measures are smoothed."""
FADE = 5
"""Frames over which a face that is lost in the middle of a shot fades out, and in."""


@dataclass(frozen=True)
class Change:
    """Changes to the swapped face of one frame, not yet smoothed."""

    light: Floats
    """See `relight.shading`."""
    colour: colour.Correction | None
    octaves: float
    """Change of detail, see `detail.octaves`."""
    grain: float
    """See `detail.grain`."""
    membrane: Floats | None
    """See `blend.membrane`."""


@dataclass(frozen=True)
class Composed:
    """One composited frame."""

    frame: Frame
    image: NDArray[Any]
    """(H, W, 3) uint8, or uint16 where `deep`; the frame's own if there is no face."""
    face: Swapped | None
    mask: Floats | None
    """(H, W) in 0..1, the opacity in the frame of all swapped faces."""
    more: int = 0
    """Swapped faces besides `face`."""
    opacity: float = 0.0
    """Of the whole face in this frame: less than 1 where it fades."""
    people: tuple[Composed, ...] = ()
    """Each person's faces alone, where several people are swapped."""


@dataclass(frozen=True)
class _Item:
    frame: Frame
    face: Swapped | None
    mask: Floats | None
    """(S, S) in the crop, without what occludes the face."""
    change: Change | None
    cut: bool
    """Whether a new shot starts with this frame."""
    settings: RenderSettings


def compose(
    faces: Iterable[tuple[Frame, Swapped | None]],
    settings: RenderSettings | Schedule,
    typical: occlusion.Typical | None = None,
    deep: bool = False,
    wanted: range | None = None,
    cuts: Collection[int] = (),
) -> Iterator[Composed]:
    """Every frame in order, composited, or those whose index is in `wanted`; `deep` reads and gives 16 bits.

    `cuts`: indexes of the frames at which shots begin, as `curate.extract.follow` found them.
    Keeps 2 * RADIUS + 1 frames in memory.
    """
    schedule = settings if isinstance(settings, Schedule) else Schedule(settings)
    for window, centre in _windows(_items(faces, schedule, typical, cuts)):
        item = window[centre]
        if wanted is not None and item.frame.index not in wanted:
            continue
        image = item.frame.deep if deep else item.frame.image
        change, opacity = _smoothed(window, centre), _opacity(window, centre)
        if item.face is None or item.mask is None or opacity == 0:
            yield Composed(item.frame, image, None, None)
            continue
        rgb = item.face.rgb
        if change is not None:
            rgb = relight.relit(rgb, item.settings.relight * change.light, item.mask)
            rgb = blend.spread(colour.apply(rgb, change.colour), change.membrane)
            rgb = detail.matched(rgb, item.settings.sharpen * change.octaves)
        grain = change.grain if change is not None and item.settings.grain else 0.0
        shown, mode = item.mask * np.float32(opacity), item.settings.blend
        output, mask = blend.paste(image, rgb, shown, item.face.matrix, mode, grain, item.frame.index)
        yield Composed(item.frame, output, item.face, mask, opacity=opacity)


def _items(
    faces: Iterable[tuple[Frame, Swapped | None]],
    schedule: Schedule,
    typical: occlusion.Typical | None,
    cuts: Collection[int],
) -> Iterator[_Item]:
    for frame, face in faces:
        settings = schedule.at(frame.index)
        mask = None if face is None else face.mask
        if face is not None and mask is not None and face.error is not None and typical and settings.occlusion:
            mask = mask * occlusion.visible(face.error, typical, mask)
        change = None if face is None or mask is None else _change(face, mask, settings)
        yield _Item(frame, face, mask, change, frame.index in cuts, settings)


def _change(face: Swapped, mask: Floats, settings: RenderSettings) -> Change:
    light = relight.shading(face.rgb, face.footage, mask)
    lit = relight.relit(face.rgb, settings.relight * light, mask)
    found = colour.correction(lit, face.footage, mask, settings.colour)
    coloured = colour.apply(lit, found)
    octaves = detail.octaves(coloured, face.footage, mask)
    grain = detail.grain(detail.matched(coloured, settings.sharpen * octaves), face.footage, mask)
    added = blend.membrane(face.footage - coloured, mask, settings.blend)
    return Change(light, found, octaves, grain if settings.grain else 0.0, added)


def _windows(items: Iterable[_Item]) -> Iterator[tuple[deque[_Item], int]]:
    """Each item's window of neighbours, and its position in it."""
    window: deque[_Item] = deque()
    centre = 0
    for item in items:
        window.append(item)
        if len(window) - centre > RADIUS:
            yield window, centre
            centre += 1
        if centre > RADIUS:
            window.popleft()
            centre -= 1
    for place in range(centre, len(window)):
        yield window, place


def _shot(window: deque[_Item], centre: int, radius: int) -> range:
    """Positions in the window of the frames around the centre that belong to its shot."""
    first = last = centre
    while first > max(centre - radius, 0) and not window[first].cut:
        first -= 1
    while last < min(centre + radius, len(window) - 1) and not window[last + 1].cut:
        last += 1
    return range(first, last + 1)


def _smoothed(window: deque[_Item], centre: int) -> Change | None:
    own = window[centre].change
    if own is None:
        return None
    alike = (p for p in _shot(window, centre, RADIUS) if _methods(window[p]) == _methods(window[centre]))
    others = [(place, window[place].change) for place in alike]
    near = [(c, float(np.exp(-0.5 * ((place - centre) / SIGMA) ** 2))) for place, c in others if c is not None]
    weights = [w for _, w in near]
    light = np.asarray(np.average([c.light for c, _ in near], axis=0, weights=weights), np.float32)
    octaves = float(np.average([c.octaves for c, _ in near], weights=weights))
    grain = float(np.average([c.grain for c, _ in near], weights=weights))
    added = [c.membrane for c, _ in near if c.membrane is not None]
    membrane = blend.averaged(added, weights) if added else None
    coloured = [(c.colour, w) for c, w in near if c.colour is not None]
    if own.colour is None:
        return Change(light, None, octaves, grain, membrane)
    mean = colour.averaged(own.colour, [c for c, _ in coloured], [w for _, w in coloured])
    return Change(light, mean, octaves, grain, membrane)


def _methods(item: _Item) -> tuple[str, str]:
    """Methods whose changes can be averaged."""
    return item.settings.colour, item.settings.blend


def _opacity(window: deque[_Item], centre: int) -> float:
    """Opacity of the face; less than 1 near frames of the same shot without a face, so that it fades."""
    face = window[centre].face
    if face is None:
        return 0.0
    lost = [abs(p - centre) for p in _shot(window, centre, FADE) if window[p].face is None]
    nearest = min(lost, default=FADE + 1)
    return window[centre].settings.opacity * face.place.opacity * nearest / (FADE + 1)
