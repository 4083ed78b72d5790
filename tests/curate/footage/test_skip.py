"""--every auto: what may be left out, and what stands for it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from curate.dataset.faceset import open_faceset
from curate.errors import UsageError
from curate.extract.pipeline import Request, curate
from curate.extract.segment import part_info
from curate.footage.skip import LONGEST, Limits, Parts, Watch
from curate.footage.video import decode, probe
from curate.settings import AUTO, Settings
from curate.turntable import View, hopper, render

BOX = np.array([60.0, 40.0, 80.0, 100.0])
EYE = np.array([72.0, 70.0, 20.0, 12.0])


@pytest.fixture(scope="module")
def luma() -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 1, (180, 240)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 6)
    return np.clip(120 + 40 * soft / soft.std(), 0, 255).astype(np.uint8)


@pytest.fixture
def watch(luma: np.ndarray) -> Watch:
    watch = Watch()
    assert not watch.still(luma), "the first frame is read"
    watch.remember(luma, [Parts(BOX)])
    return watch


def in_the_face(luma: np.ndarray, by: float) -> np.ndarray:
    changed = luma.astype(float)
    changed[90:130, 70:130] += by
    return np.clip(changed, 0, 255).astype(np.uint8)


def test_nothing_new_is_still_and_a_flicker_too(watch: Watch, luma: np.ndarray) -> None:
    assert watch.still(luma) and watch.still(np.clip(luma.astype(int) + 2, 0, 255).astype(np.uint8))


def test_a_change_in_the_face_is_seen_however_small_the_face(watch: Watch, luma: np.ndarray) -> None:
    assert not watch.still(in_the_face(luma, 30))
    assert watch.still(in_the_face(luma, 1))


def test_a_dimmer_on_the_face_alone_is_seen_and_one_on_everything_is_not(watch: Watch, luma: np.ndarray) -> None:
    dimmed, x, y = luma.astype(int), slice(55, 145), slice(35, 145)
    dimmed[y, x] -= 12
    assert not watch.still(np.clip(dimmed, 0, 255).astype(np.uint8))
    assert watch.still(np.clip(luma.astype(int) - 3, 0, 255).astype(np.uint8))


def test_a_blink_is_seen_where_it_changes_little_of_the_face(luma: np.ndarray) -> None:
    shut = luma.astype(int)
    shut[72:80, 74:90] += 25
    answers = []
    for details in ((), (EYE,)):
        watch = Watch()
        watch.remember(luma, [Parts(BOX, details)])
        answers.append(watch.still(np.clip(shut, 0, 255).astype(np.uint8)))
    assert answers == [True, False]
    watch.remember(luma, [Parts(BOX, (EYE,))])
    assert watch.still(np.clip(luma.astype(int) + 2, 0, 255).astype(np.uint8)), "a flicker is no blink"


def test_boxes_that_leave_the_picture_and_other_limits(luma: np.ndarray) -> None:
    watch = Watch(Limits(face=200, part=200, light=200))
    watch.remember(luma, [Parts(np.array([-50.0, -40, 80, 100]), (np.array([-50.0, -40, 9, 9]), EYE))])
    assert watch.still(in_the_face(luma, 30))


def test_slow_changes_add_up(watch: Watch, luma: np.ndarray) -> None:
    still = [watch.still(in_the_face(luma, 2.0 * i)) for i in range(1, 12)]
    assert still[0] and not still[-1]


def test_a_change_elsewhere_counts_when_it_is_large(watch: Watch, luma: np.ndarray) -> None:
    assert watch.still(np.where(np.arange(240) > 236, 255, luma).astype(np.uint8))
    assert not watch.still(np.where(np.arange(240) > 180, 255, luma).astype(np.uint8))


def test_a_frame_is_read_after_a_while_in_any_case(watch: Watch, luma: np.ndarray) -> None:
    assert [watch.still(luma) for _ in range(LONGEST)] == [True] * (LONGEST - 1) + [False]


def test_a_dim_face_changes_as_a_bright_one_does(luma: np.ndarray) -> None:
    answers = []
    for gain in (1.0, 0.4):
        watch = Watch()
        watch.remember((luma * gain).astype(np.uint8), [Parts(BOX)])
        answers.append([watch.still((in_the_face(luma, by) * gain).astype(np.uint8)) for by in (1, 4, 16, 40)])
    assert answers[0] == answers[1] and True in answers[0] and False in answers[0]


def test_a_held_pose_is_read_once_and_stands_for_its_frames(write_video, tmp_path: Path) -> None:
    head = hopper()
    poses = [render(head, View(yaw=yaw, mouth=mouth), (240, 240)) for yaw, mouth in ((0, 0), (25, 0), (25, 0.6))]
    clip = write_video(tmp_path / "clip.mp4", [image for image in poses for _ in range(10)])
    settings = (("every", AUTO), ("crop_size", 64))
    done = curate(Request((str(clip),), tmp_path / "set", "A", "research", settings=settings))
    faceset = open_faceset(tmp_path / "set")
    assert done.table["frame"].tolist() == [0, 10, 20] and done.table["stands_for"].tolist() == [10, 10, 10]
    assert (done.summary()["frames"], done.summary()["skipped"]) == (30, 27)
    info = part_info(faceset.parts()[faceset.clips[0].name][0])
    assert info is not None and (info.frames, info.skipped) == (30, 27)
    again = curate(Request((str(tmp_path / "set"),), settings=(("every", 4),)))
    assert again.table["frame"].tolist() == list(range(0, 30, 4)) and set(again.table["stands_for"]) == {4}


def test_brightness_comes_without_the_conversion_and_agrees_with_it(head_clips) -> None:
    frame = next(iter(decode(probe(head_clips["source"]))))
    plain = frame.luma.astype(float)
    assert "image" not in vars(frame)
    grey = cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY).astype(float)
    assert plain.shape == grey.shape and np.corrcoef(plain.ravel(), grey.ravel())[0, 1] > 0.998


def test_settings_refuse_less_than_auto() -> None:
    with pytest.raises(UsageError, match=r"--every -1: must be at least 1, or auto"):
        Settings(every=-1)
