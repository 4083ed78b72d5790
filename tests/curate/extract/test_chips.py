"""Chips: which faces of a track are read for its identity."""

import numpy as np

from curate.extract.chips import WINDOW, Chips
from curate.types import Floats, Image

FRAMES = 60


class Counted:
    """An identity model whose vector is the chip's brightness; chips of other people differ in it."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def chip(self, image: Image, landmarks: Floats) -> Image:
        return image

    def identify(self, chip: Image) -> Floats:
        self.read.append(int(chip[0, 0, 1]))
        return np.full(128, float(chip[0, 0, 0]) / 255, np.float32)


def held(person: list[int]) -> Chips:
    """One face a frame; the chip's red is the person, its green the frame."""
    chips = Chips()
    for frame, who in enumerate(person):
        score = 0.5 + (frame % 7) / 20
        if chips.wants(score, frame):
            chips.add(score, frame, frame, np.full((8, 8, 3), (who, frame, 0), np.uint8))
    return chips


def test_few_faces_of_a_track_are_read_and_more_where_it_changes() -> None:
    steady, turning = Counted(), Counted()
    held([0] * FRAMES).read(steady, ())
    found = held([0] * 37 + [255] * 23).read(turning, ())
    assert len(steady.read) == 3 < len(turning.read)
    last = max(frame for frame, vector in found.items() if vector[0] == 0)
    first = min(frame for frame, vector in found.items() if vector[0] == 1)
    assert last < 37 <= first and first - last <= 2 * WINDOW


def test_blended_faces_are_not_read_however_few_are_left_between_them() -> None:
    blended = {*range(20, 31), *range(36, 50)}
    found = held([0] * FRAMES).read(Counted(), blended)
    assert not blended & found.keys()
    assert any(30 < frame < 36 for frame in found), "five clear frames"
    assert set(held([0] * 9).read(Counted(), range(9))) <= set(range(9)), "a track has nothing else"
    assert held([0] * 9).read(Counted(), range(9))
