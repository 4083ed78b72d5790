"""Faces that are upside down are found by the networks and misread: they are counted, and the clip has a note."""

from __future__ import annotations

import numpy as np
import pytest

from curate.extract.account import INVERTED, of_clip
from curate.face.backends import DETECTORS, LANDMARKERS
from curate.face.track import LOOKS, Tracker
from curate.footage.reader import Account, packed, unpacked
from curate.turntable import View, hopper, painted, render
from curate.types import Clip


@pytest.mark.parametrize("turned", [False, True])
def test_a_tracker_knows_heads_that_are_upside_down(turned) -> None:
    tracker = Tracker(DETECTORS["litert"](), LANDMARKERS["litert"](), 1)
    for head in (hopper(), painted(0)):
        for yaw in (-20, 0, 10):
            image = render(head, View(yaw=yaw), (240, 240))
            tracker.cut()
            tracker.step(np.ascontiguousarray(image[::-1, ::-1]) if turned else image)
    assert 3 <= tracker.looks <= LOOKS
    assert (tracker.inverted >= max(INVERTED[0], INVERTED[1] * tracker.looks)) == turned
    assert tracker.inverted == 0 or turned


@pytest.mark.parametrize(("inverted", "noted"), [(0, False), (1, False), (2, True)])
def test_several_such_faces_are_noted(monkeypatch, tmp_path, inverted, noted) -> None:
    stored = unpacked(packed(Account(9, looks=5, inverted=inverted)))
    assert stored is not None
    assert (stored.looks, stored.inverted) == (5, inverted)
    info = type("Info", (), {"account": packed(stored), "frames": 9, "planned": 9, "skipped": 0})
    monkeypatch.setattr("curate.extract.account.part_info", lambda path: info)
    clip = Clip("a", str(tmp_path / "a.mp4"), "0" * 64, "video", 2, 2, 9, 25.0, 1.0)
    notes = of_clip(clip, [tmp_path]).notes
    assert any("2 of 5 faces" in n and "-display_rotation 180" in n for n in notes) == noted
    assert bool(notes) == noted
