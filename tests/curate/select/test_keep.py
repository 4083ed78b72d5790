"""Distinct faces and minutes worth keeping: what an editor would keep on the timeline."""

import itertools

import numpy as np
import pandas as pd
import pytest

from curate.select.keep import SHORT, Window, amounts_of, windows, worth
from curate.types import Clip

KEYS = 40


def film(
    seconds: float, seed: int, fps: float = 25.0, name: str = "a", every: int = 1, still: float = 0.0, yaw: float = 0.0
) -> pd.DataFrame:
    """A head that wanders to ever new poses, expressions and light; the last `still` seconds it rests."""
    rng = np.random.default_rng(seed)
    length = seconds - still
    time = np.arange(round(seconds * fps)) / fps
    at = np.minimum(time, length)
    keys = np.arange(0, length + 2)

    def path(size: int, spread: float) -> np.ndarray:
        return np.stack([np.interp(at, keys, rng.normal(0, spread, len(keys))) for _ in range(size)], axis=1)

    angles, noise = path(2, 14), rng.normal(0, 1, (len(time), 2))
    table = pd.DataFrame(
        {
            "face_id": [f"{name}-{seed:03d}-{i:07d}" for i in range(len(time))],
            "clip": name,
            "frame": np.arange(len(time)),
            "time": time,
            "stands_for": every,
            "kept": True,
            "yaw": angles[:, 0] + yaw + 0.2 * noise[:, 0],
            "pitch": angles[:, 1] * 0.6 + 0.2 * noise[:, 1],
            "roll": 0.0,
            "expression": list((np.abs(path(52, 0.12)) + rng.normal(0, 0.004, (len(time), 52))).astype(np.float32)),
            "gaze": list(path(2, 0.2).astype(np.float32)),
            "lighting": list(path(6, 0.2).astype(np.float32)),
        }
    )
    return table.iloc[::every].reset_index(drop=True)


def clips(table: pd.DataFrame, fps: float = 25.0) -> list[Clip]:
    return [
        Clip(
            str(n), "/c", "0" * 64, "video", 64, 64, len(g), fps, float(g["time"].max() + g["stands_for"].iloc[0] / fps)
        )
        for n, g in table.groupby("clip")
    ]


def keep(table: pd.DataFrame, fps: float = 25.0) -> float:
    found = amounts_of(table, clips(table, fps)).keep_minutes
    assert found is not None
    return found * 60


@pytest.fixture(scope="module")
def mixed() -> pd.DataFrame:
    return film(60, 1, still=30)


def test_what_moves_is_kept_and_what_rests_is_not(mixed):
    found = windows(mixed)
    assert 24 < keep(mixed) < 34
    assert sum(w.end - w.start for w in found if w.start > 32) < 3
    assert keep(film(60, 1, still=59.5)) < 4
    assert keep(film(60, 2)) > 50


@pytest.mark.parametrize("fps", [24.0, 30.0, 60.0, 120.0])
def test_the_frame_rate_does_not_matter(mixed, fps):
    assert keep(film(60, 1, fps, still=30), fps) == pytest.approx(keep(mixed), rel=0.1)


@pytest.mark.parametrize("every", [2, 5, 10])
def test_skipped_frames_do_not_matter(mixed, every):
    assert keep(film(60, 1, every=every, still=30)) == pytest.approx(keep(mixed), rel=0.1)


def test_a_loop_adds_nothing(mixed):
    rounds = [
        mixed.assign(face_id=mixed["face_id"] + f"-{i}", time=mixed["time"] + 60 * i, frame=mixed["frame"] + 1500 * i)
        for i in range(10)
    ]
    looped = pd.concat(rounds, ignore_index=True)
    assert keep(looped) == pytest.approx(keep(mixed), rel=0.05)
    assert amounts_of(looped, clips(looped)).faces == pytest.approx(amounts_of(mixed, clips(mixed)).faces, rel=0.05)


def test_other_films_add_up_whatever_their_names_and_order(mixed):
    other = film(60, 5, name="b", still=30, yaw=60)
    both = pd.concat([mixed, other], ignore_index=True)
    assert keep(both) == pytest.approx(keep(mixed) + keep(other), rel=0.1)
    turned = pd.concat([other.assign(clip="A"), mixed.assign(clip="z")], ignore_index=True)
    turned["face_id"] = turned["face_id"].str[::-1]
    assert keep(turned) == keep(both)


def test_a_long_film_of_different_material_is_kept_nearly_whole():
    table = film(16 * 60, 3)
    assert 0.9 * 16 * 60 < keep(table) <= 16 * 60


def test_there_is_no_ceiling(monkeypatch, mixed):
    table, other = film(120, 4), film(60, 5, name="b", yaw=60)
    whole, both = keep(table), pd.concat([mixed, other], ignore_index=True)
    few, added = keep(mixed), keep(both)
    monkeypatch.setattr("curate.select.keep.MOST_CELLS", 60)
    assert keep(table) == pytest.approx(whole, rel=0.1) and keep(both) == pytest.approx(added, rel=0.1)
    assert keep(mixed) == pytest.approx(few, rel=0.1)
    turned = pd.concat([other.assign(clip="A"), mixed.assign(clip="z")], ignore_index=True)
    assert keep(turned) == keep(both)
    assert {w.clip: w.adds > 0 for w in worth(both)} == {"a": True, "b": True}


def test_windows_do_not_overlap_and_stay_inside_the_clip(mixed):
    found = windows(mixed)
    assert all(isinstance(w, Window) and 0 <= w.start < w.end <= 60 for w in found)
    assert all(b.start - a.end > SHORT for a, b in itertools.pairwise(found)), "a shorter hole is kept"


def test_for_a_target_what_it_needs_is_kept(mixed):
    left = film(60, 9, name="b", yaw=70)
    both = pd.concat([mixed, left], ignore_index=True)
    asked = film(20, 9, name="t", yaw=70)
    found = windows(both, target=asked)
    assert sum(w.end - w.start for w in found if w.clip == "b") > 5 * sum(
        w.end - w.start for w in found if w.clip == "a"
    )


def test_a_clip_is_worth_what_the_others_do_not_show(mixed):
    same = mixed.assign(clip="b", face_id="x" + mixed["face_id"])
    found = {w.clip: w for w in worth(pd.concat([mixed, same, film(60, 5, name="c", yaw=60)], ignore_index=True))}
    assert list(found) == ["a", "b", "c"]
    assert found["a"].minutes == pytest.approx(1) and found["a"].keep == pytest.approx(found["b"].keep)
    assert found["a"].adds < 0.15 * found["a"].keep and found["c"].adds > 0.7 * found["c"].keep > 0
    assert worth(mixed.assign(kept=False)) == ()


def test_nothing_and_photos():
    nobody = film(2, 1).assign(kept=False)
    assert amounts_of(nobody, clips(nobody)).keep_minutes == 0
    photos = film(2, 1)
    found = amounts_of(photos, [Clip("a", "/c", "0" * 64, "photos", 64, 64, 50, 0.0, 0.0)])
    assert found.minutes is None and found.keep_minutes is None and found.faces > 1
