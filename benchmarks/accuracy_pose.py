"""Head pose: turntable heads with known angles, and real footage against its own mirror image and its turned self."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from benchmarks.accuracy_heads import Read, read, report_heads
from benchmarks.accuracy_table import Row, at_least, at_most, figure
from curate.face.backends.litert import LiteRTDetector, LiteRTLandmarker
from curate.face.pose import HeadPose, head_pose, zero
from curate.face.track import region_of, region_of_detection
from curate.footage.video import decode, probe
from curate.turntable import View
from curate.types import Image

TURN = 20.0
CLIPS = ("d0", "d3", "d6", "d9", "d10", "d18", "d19", "s18", "s32")


def views(count: int, seed: int, reach: float) -> list[View]:
    """Faces at random poses (yaw up to `reach` degrees), expressions, lights and sizes."""
    r = np.random.default_rng(seed)

    def some(low: float, high: float, often: float = 1.0) -> float:
        return float(r.uniform(low, high) * (r.random() < often))

    return [
        View(
            yaw=some(-reach, reach), pitch=some(-22, 22), roll=some(-15, 15), mouth=some(0, 0.5, 0.4),
            smile=some(0, 1, 0.4), eyes=1.0 - float(r.random() < 0.1), light=(some(-1, 1), some(-0.2, 0.8), 1.0),
            key=some(0.5, 0.85), ambient=some(0.15, 0.35), scale=some(0.35, 0.5), background=int(r.integers(5)),
        )
        for _ in range(count)
    ]  # fmt: skip


def rows(quick: bool, clips: Path | None) -> list[Row]:
    """The table of head pose."""
    found = []
    for number, head in enumerate(report_heads(clips, quick=quick)):
        wanted = views(40 if quick else 120, 500 + number, 75)
        found += _head_rows(head.name, wanted, read(head, wanted))
    if clips is None:
        return [*found, Row("pose", "real clips", None, "", "FACESET_CLIPS is not set", None)]
    return found + _real_rows(clips, 8 if quick else 25)


def _head_rows(name: str, wanted: list[View], seen: Read) -> list[Row]:
    truth = np.array([(v.yaw, v.pitch, v.roll) for v in wanted])
    pose = head_pose(np.nan_to_num(seen.points))
    error = np.column_stack([pose.yaw, pose.pitch, pose.roll]) - truth
    turned = np.abs(truth[:, 0])
    near, middle = seen.found & (turned <= 45), seen.found & (turned <= 60)
    own = zero(pose.pitch[middle], pose.yaw[middle], pose.confidence[middle]) - float(np.median(truth[middle, 1]))
    wrong = seen.found & (turned > 10) & (np.sign(pose.yaw) != np.sign(truth[:, 0]))
    far = turned > 60
    return [
        at_most("pose", f"{name}: yaw MAE within 45 deg", np.abs(error[near, 0]).mean(), 2.5, "deg"),
        at_most("pose", f"{name}: yaw MAE within 60 deg", np.abs(error[middle, 0]).mean(), 4, "deg"),
        at_most(
            "pose", f"{name}: pitch MAE about its zero, within 60", np.abs(error[middle, 1] - own).mean(), 3, "deg"
        ),
        at_most("pose", f"{name}: roll MAE within 60 deg", np.abs(error[middle, 2]).mean(), 1.5, "deg"),
        at_most("pose", f"{name}: frames past 10 deg with the wrong sign", int(wrong.sum()), 0),
        figure("pose", f"{name}: found of those past 60 deg", seen.found[far].mean()),
        figure("pose", f"{name}: mean confidence past 60 deg", pose.confidence[far & seen.found].mean()),
        at_least("pose", f"{name}: mean confidence within 45 deg", pose.confidence[near].mean(), 0.9),
    ]


def _real_rows(clips: Path, count: int) -> list[Row]:
    """Mean over each clip's frames, then over the clips; the worst clip beside it."""
    names = [n for n in CLIPS if (clips / f"{n}.mp4").is_file()]
    changes: dict[str, tuple[Callable[[Image], Image], Callable[[HeadPose, HeadPose], np.ndarray], tuple[float, ...]]]
    changes = {
        "mirror": (_mirrored, _mirror_error, (0.7, 0.7, 0.7)),
        "turned 20 deg in the plane": (_turned, _turn_error, (1.0, 1.0, 0.5)),
        "half the size": (_smaller, _difference, (2, 2, 1)),
        "JPEG quality 30": (_jpeg, _difference, (1, 1, 0.5)),
        "shifted 3 px": (_shifted, _difference, (0.5, 0.5, 0.3)),
    }
    landmarker, detector = LiteRTLandmarker(), LiteRTDetector()
    errors: dict[str, list[np.ndarray]] = {name: [] for name in changes}
    for name in names:
        clip = probe(clips / f"{name}.mp4")
        step = max(1, clip.frames // count)
        images = [f.image for f in decode(clip) if f.index % step == 0]
        plain = [_see(detector, landmarker, image) for image in images]
        for change, (make, compare, _) in changes.items():
            pairs = [(a, _see(detector, landmarker, make(i))) for a, i in zip(plain, images, strict=True)]
            both = [(a, b) for a, b in pairs if a is not None and b is not None]
            a, b = (head_pose(np.stack(points)) for points in zip(*both, strict=True))
            errors[change].append(compare(a, b).mean(0))
    found = []
    for change, (_, _, limits) in changes.items():
        mean, worst = np.mean(errors[change], axis=0), np.max(errors[change], axis=0)
        for axis, limit, m, w in zip(("yaw", "pitch", "roll"), limits, mean, worst, strict=True):
            found.append(at_most("pose", f"real clips, {change}: {axis} moves (mean of clips)", m, limit, "deg"))
            found.append(figure("pose", f"real clips, {change}: {axis} moves (worst clip)", w, "deg"))
    return found


def _see(detector: LiteRTDetector, landmarker: LiteRTLandmarker, image: Image) -> np.ndarray | None:
    found = detector.detect(image)
    if not found:
        return None
    seen = landmarker.landmark(image, region_of_detection(found[0]))
    return landmarker.landmark(image, region_of(seen)).points


def _mirrored(image: Image) -> Image:
    return np.ascontiguousarray(image[:, ::-1])


def _turned(image: Image) -> Image:
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), TURN, 1)
    return np.asarray(cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REFLECT), np.uint8)


def _smaller(image: Image) -> Image:
    return np.asarray(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)


def _jpeg(image: Image) -> Image:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def _shifted(image: Image) -> Image:
    return np.asarray(np.roll(image, (3, 3), axis=(0, 1)), np.uint8)


def _difference(a: HeadPose, b: HeadPose) -> np.ndarray:
    return np.abs(np.column_stack([b.yaw - a.yaw, b.pitch - a.pitch, b.roll - a.roll]))


def _mirror_error(a: HeadPose, b: HeadPose) -> np.ndarray:
    return np.abs(np.column_stack([b.yaw + a.yaw, b.pitch - a.pitch, b.roll + a.roll]))


def _turn_error(a: HeadPose, b: HeadPose) -> np.ndarray:
    return np.abs(np.column_stack([b.yaw - a.yaw, b.pitch - a.pitch, b.roll - a.roll - TURN]))
