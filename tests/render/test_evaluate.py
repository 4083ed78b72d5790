"""Evaluation of finished videos: a copy is near its floors, another head is not."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from curate.errors import UsageError, WorkError
from curate.footage import video
from curate.types import Failure
from render import evaluate
from render.evaluate import Entrant
from reports.evaluation.page import COLUMNS
from tests.command import call


def test_a_copy_is_near_its_floors_and_a_changed_face_is_not(head_clips, write_video, tmp_path):
    target = head_clips["target"]
    frames = [frame.image for frame in video.decode(video.probe(target))]
    copy = write_video(tmp_path / "copy.mp4", frames)
    late = write_video(tmp_path / "late.mp4", [frames[0]] * 8 + frames[:-8])
    dark = write_video(
        tmp_path / "dark.mp4", [np.rint(f * np.linspace(1, 0.4, 240)[None, :, None]).astype(np.uint8) for f in frames]
    )
    names = ("copy", "late", "dark")
    rows = dict(
        zip(
            names,
            evaluate.table([Entrant(n, p, target) for n, p in zip(names, (copy, late, dark), strict=True)]),
            strict=True,
        )
    )
    known = {c.name for c in COLUMNS} | {c.floor for c in COLUMNS}
    for row in rows.values():
        assert row["frames"] == 40 and row["measured"] >= 12
        assert {key for key in row if not key.startswith("follows_")} - {"name", "frames", "measured"} <= known
    good = rows["copy"]
    assert good["pose"] < 1 and good["nme"] < 3 and good["ssim_outside"] > 0.97 and good["follows"] > 0.9
    assert good["vmaf_outside"] > 90 and good["vmaf_outside_floor"] > 80
    assert good["identity_target"] < 0.2 and "identity_top1" not in good
    assert rows["late"]["pose"] > 2 * good["pose"] and rows["late"]["follows"] < good["follows"]
    assert rows["late"]["warping"] > good["warping"]
    assert rows["dark"]["light"] > good["light"] + 5 and rows["dark"]["ssim_outside"] < good["ssim_outside"]
    assert rows["dark"]["vmaf_outside"] < good["vmaf_outside"] - 10


def test_identity_is_retrieved_among_the_people_at_hand():
    def person(*axes: int) -> tuple[tuple[float, ...], ...]:
        return tuple(tuple(float(v) for v in np.eye(128)[axis]) for axis in axes)

    readings = evaluate._Readings(vectors=[(np.array(person(0)[0]) * 0.9, np.array(person(1)[0]))] * 3)
    entrant = Entrant("one", None, None, source=person(0), target=person(1))  # type: ignore[arg-type]
    found = evaluate._identity(readings, entrant, {person(0), person(1), person(2)})
    assert found["identity_top1"] == 1 and found["identity_margin"] == pytest.approx(math.sqrt(1.81) - 0.1)
    swapped = Entrant("one", None, None, source=person(1), target=person(0))  # type: ignore[arg-type]
    assert evaluate._identity(readings, swapped, {person(0), person(1)})["identity_top1"] == 0
    looks = Entrant("one", None, None, source=person(5, 0), target=person(1))  # type: ignore[arg-type]
    assert evaluate._identity(readings, looks, {person(5, 0), person(1, 7)}) == found, "the nearest look counts"
    assert set(evaluate._identity(readings, entrant, {person(0)})) == {"identity_target"}
    assert evaluate._identity(evaluate._Readings(), entrant, set()) == {}


def test_wrong_pairs_are_one_error_each(head_clips, write_video, tmp_path, capsys):
    frames = [frame.image for frame in video.decode(video.probe(head_clips["target"]))]
    short = write_video(tmp_path / "short.mp4", frames[:20])
    small = write_video(tmp_path / "small.mp4", [cv2.resize(f, (120, 120)) for f in frames])
    for other in (short, small):
        with pytest.raises(UsageError, match="give the footage that it was made from"):
            evaluate.table([Entrant("x", other, head_clips["target"])])
    wall = write_video(tmp_path / "wall.mp4", [np.full((96, 128, 3), 120, np.uint8)] * 8)
    with pytest.raises(WorkError, match="found in less than 3 frames"):
        evaluate.table([Entrant("x", wall, wall)])
    both = (
        "--video",
        wall,
        "--reference",
        wall,
        "--video",
        short,
        "--reference",
        short,
        "--out",
        tmp_path / "e",
        "--json",
    )
    code, out, _ = call(capsys, "evaluate", *both)
    found = json.loads(out)
    assert code == 0 and [row["name"] for row in found["rows"]] == ["short.mp4"]
    assert [Path(one["path"]).name for one in found["failed"]] == ["wall.mp4"] and "3 frames" in found["failed"][0][
        "reason"
    ]
    failed: list[Failure] = []
    assert evaluate.table([Entrant("x", wall, wall)], failed=failed) == [] and len(failed) == 1, "others would follow"
