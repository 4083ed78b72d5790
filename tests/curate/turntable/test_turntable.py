"""Synthetic heads: their truth must be true, since the other tests build on it."""

import itertools
import sys

import av
import cv2
import numpy as np
import pytest

from curate.errors import MissingError, UsageError
from curate.face import pose
from curate.face.mesh import AT, LEFT_EYE, RIGHT_EYE
from curate.turntable import View, focal_length, hopper, painted, performance, render, truth, write_clip, write_pictures
from curate.turntable.brush import linear
from curate.turntable.drawing import _placed, _project
from curate.turntable.model import expressed, normals
from curate.turntable.portrait import portrait_path
from curate.turntable.raster import interpolate, samples, zbuffer

SIZE = (240, 240)
FAR = 4000.0


@pytest.fixture(scope="module", params=["hopper", "painted"])
def head(request):
    return hopper() if request.param == "hopper" else painted(0)


def light_of(picture, point):
    """Linear light around a point, mean over 3 x 3 pixels and the channels."""
    x, y = np.round(point[:2]).astype(int)
    return float(linear(picture[y - 1 : y + 2, x - 1 : x + 2] / 255.0).mean())


def eye_middle(points, ring):
    return points[list(ring)].mean(axis=0)


# --- pose


def test_a_head_at_rest_has_no_turn(head):
    fit = pose.fit_mesh((head.landmarks * (1, -1, -1))[None])
    assert np.allclose(pose.euler(fit.rotation), 0, atol=1e-6)
    assert np.allclose(fit.scale, 1, atol=1e-9)


def test_positive_yaw_moves_the_nose_to_image_right(head):
    assert truth(head, View(yaw=20), SIZE)[AT.nose_tip, 0] > truth(head, View(), SIZE)[AT.nose_tip, 0] + 3
    assert truth(head, View(yaw=-20), SIZE)[AT.nose_tip, 0] < truth(head, View(), SIZE)[AT.nose_tip, 0] - 3


def test_positive_pitch_moves_the_nose_down(head):
    assert truth(head, View(pitch=20), SIZE)[AT.nose_tip, 1] > truth(head, View(), SIZE)[AT.nose_tip, 1] + 3


def test_positive_roll_turns_counter_clockwise(head):
    points = truth(head, View(roll=20), SIZE)
    assert points[AT.forehead, 0] < points[AT.chin, 0] - 10
    assert eye_middle(points, RIGHT_EYE)[1] > eye_middle(points, LEFT_EYE)[1] + 5  # the one on image left goes down


@pytest.mark.parametrize("angles", [(30, 0, 0), (0, -25, 0), (0, 0, 40), (-50, 20, -15), (60, -30, 10)])
def test_truth_is_turned_by_the_stated_rotation(head, angles):
    view = View(*angles, distance=FAR)
    fit = pose.fit_mesh(truth(head, view, (480, 480))[None])
    measured = np.array(pose.euler(fit.rotation))[:, 0]
    # The fit allows for no change of shape: the remaining perspective costs a little.
    assert np.allclose(measured, angles, atol=0.25)


def test_scale_and_shift_are_shares_of_the_height(head):
    base = truth(head, View(scale=0.5, distance=FAR), (400, 600))
    assert base[AT.chin, 1] - base[AT.forehead, 1] == pytest.approx(200, rel=0.01)
    moved = truth(head, View(scale=0.5, distance=FAR, x=0.1, y=0.05), (400, 600))
    assert np.allclose(moved[:, :2] - base[:, :2], (40, -20))
    assert np.array_equal(moved[:, 2], base[:, 2])
    assert focal_length(head, View(distance=220), SIZE) == pytest.approx(
        2 * focal_length(head, View(distance=110), SIZE)
    )


def test_depth_is_negative_toward_the_camera(head):
    points = truth(head, View(), SIZE)
    assert points[AT.nose_tip, 2] < points[AT.chin, 2] < points[234, 2]


# --- expression


@pytest.mark.parametrize("view", [View(), View(yaw=40, pitch=-15), View(smile=1.0, roll=20)])
def test_mouth_and_eyes_move_monotonically(head, view):
    def gap(a, b, **change):
        points = truth(head, View(**{**vars(view), **change}), SIZE)
        return np.linalg.norm(points[a, :2] - points[b, :2])

    steps = np.linspace(0, 1, 6)
    mouths = [gap(AT.lip_top, AT.lip_bottom, mouth=s) for s in steps]
    eyes = [gap(AT.left_eye_top, AT.left_eye_bottom, eyes=s) for s in steps]
    assert (np.diff(mouths) > 0.5).all() and mouths[0] < 0.5
    assert (np.diff(eyes) > 0.2).all() and eyes[0] < 0.5


def test_smile_and_brows(head):
    rest, smile, brows = (truth(head, v, SIZE) for v in (View(), View(smile=1.0), View(brows=1.0)))
    assert smile[AT.mouth_left, 0] > rest[AT.mouth_left, 0] and smile[AT.mouth_left, 1] < rest[AT.mouth_left, 1]
    assert brows[105, 1] < rest[105, 1] - 1
    assert np.allclose(brows[AT.chin], rest[AT.chin], atol=0.01)


def test_an_open_mouth_shows_darkness_and_a_shut_eye_skin(head):
    shut, opened = (render(head, View(mouth=m, scale=0.7), SIZE) for m in (0.0, 1.0))
    points = truth(head, View(mouth=1.0, scale=0.7), SIZE)
    inside = points[AT.lip_top] * 0.35 + points[AT.lip_bottom] * 0.65
    assert light_of(opened, inside) < 0.4 * light_of(shut, inside)
    asleep, awake = (render(head, View(eyes=e, scale=0.7), SIZE) for e in (0.0, 1.0))
    middle = eye_middle(truth(head, View(scale=0.7), SIZE), LEFT_EYE)
    assert light_of(awake, middle) < 0.5 * light_of(asleep, middle - (0, 1, 0))


def test_gaze_turns_the_eyes_only(head):
    ahead, left = expressed(head, 0, 1, 0, 0, (0, 0)), expressed(head, 0, 1, 0, 0, (20, 0))
    eye = head.eyes[0].index
    apex = eye[np.argmax(ahead[eye, 2])]
    assert left[apex, 0] > ahead[apex, 0] + 0.2
    assert np.array_equal(np.delete(left, np.concatenate([e.index for e in head.eyes]), axis=0),
                          np.delete(ahead, np.concatenate([e.index for e in head.eyes]), axis=0))  # fmt: skip


# --- light


def test_light_from_the_left_brightens_image_left(head):
    points = truth(head, View(), SIZE)
    right_cheek, left_cheek = points[50], points[280]  # the subject's right is on image left
    from_left = render(head, View(light=(-1, 0.2, 0.4)), SIZE)
    from_right = render(head, View(light=(1, 0.2, 0.4)), SIZE)
    assert light_of(from_left, right_cheek) > 2 * light_of(from_right, right_cheek)
    assert light_of(from_right, left_cheek) > 2 * light_of(from_left, left_cheek)


def test_light_from_above_brightens_the_forehead_more_than_from_below(head):
    forehead = truth(head, View(), SIZE)[151]
    above, below = (render(head, View(light=(0, s, 0.3)), SIZE) for s in (1, -1))
    assert light_of(above, forehead) > light_of(below, forehead)


@pytest.mark.parametrize("direction", [(0, 0, 1), (-0.7, 0.3, 0.6), (0.5, -0.4, 0.8), (1, 0, -0.2)])
def test_shading_is_lambertian_in_linear_light(head, direction):
    dim = View(key=0.0, ambient=0.4, yaw=15)
    lit = View(key=0.5, ambient=0.4, yaw=15, light=direction)
    plain, shaded = render(head, dim, (480, 480)), render(head, lit, (480, 480))
    points = truth(head, lit, (480, 480))
    toward = normals(head, _placed(head, lit)) @ lit.light_vector()
    for index in (50, 280, 151, 205, 425, 200):
        expected = (0.4 + 0.5 * max(toward[index], 0)) / 0.4
        assert light_of(shaded, points[index]) / light_of(plain, points[index]) == pytest.approx(expected, rel=0.07)


def test_warm_light_is_redder(head):
    warm, cold = (render(head, View(kelvin=k), SIZE).astype(float) for k in (3000, 9000))
    assert warm[..., 0].sum() / warm[..., 2].sum() > 1.2 * cold[..., 0].sum() / cold[..., 2].sum()
    assert np.array(View(kelvin=3000).tint()) @ (0.2126, 0.7152, 0.0722) == pytest.approx(1)


# --- picture


def test_same_arguments_same_bytes(head):
    view = View(yaw=17, mouth=0.4, eyes=0.7)
    assert np.array_equal(render(head, view, SIZE), render(head, view, SIZE))
    assert not np.array_equal(render(head, view, SIZE), render(head, View(yaw=18, mouth=0.4, eyes=0.7), SIZE))


@pytest.mark.parametrize(("yaw", "pitch"), list(itertools.product((-60, 0, 60), (-30, 0, 30))))
def test_no_holes(head, yaw, pitch):
    """Whatever lies inside the head's outline is head."""
    view = View(yaw=yaw, pitch=pitch, mouth=1.0, eyes=0.3)
    flat, near = _project(head, view, SIZE, _placed(head, view))
    ids, _ = zbuffer(flat, near, head.triangles, SIZE)
    seen = (ids >= 0).astype(np.uint8)
    outline, _ = cv2.findContours(seen, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    assert len(outline) == 1
    # Between hair or ear and neck the wall may be seen: holes count on the face only.
    face = np.zeros(SIZE, np.uint8)
    hull = cv2.convexHull(np.round(flat[:468] - 0.5).astype(np.int32))
    cv2.fillPoly(face, [hull], 1)
    filled = cv2.drawContours(np.zeros(SIZE, np.uint8), outline, -1, 1, -1)
    assert not ((filled > 0) & (face > 0) & (seen == 0)).any()


def test_outlines_are_smooth(head):
    """A dark head before a bright wall has many in-between values along its outline."""
    view = View(key=0.0, ambient=0.0)
    picture = render(head, view, SIZE).astype(int).sum(axis=2)
    row = picture[60]  # through the hair
    edge = np.flatnonzero(row < 20)
    assert len(edge) > 30
    columns = [picture[y] for y in range(40, 120)]
    between = sum(((c > 30) & (c < c.max() * 0.6)).any() for c in columns)
    assert between > 40


@pytest.mark.parametrize("size", [(120, 200), (301, 97)])
def test_any_size(head, size):
    picture = render(head, View(), size)
    assert picture.shape == (*size, 3) and picture.dtype == np.uint8


def test_a_head_out_of_the_frame_leaves_the_wall(head):
    empty = render(head, View(x=20.0), SIZE)
    assert not np.array_equal(empty, render(head, View(), SIZE))
    assert empty.std(axis=(0, 1)).max() < 25


def test_the_landmarker_sees_the_truth(head):
    from curate.face.backends.litert import LiteRTLandmarker

    landmarker = LiteRTLandmarker()
    for view in (View(), View(yaw=35), View(yaw=-35, pitch=10), View(pitch=-20), View(roll=25, mouth=0.6)):
        points = truth(head, view, (480, 480))
        low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
        region = np.array([*(low + high) / 2, *(1.5 * (high - low)), np.radians(-view.roll)])
        seen = landmarker.landmark(render(head, view, (480, 480)), region)
        assert seen.score > 0.9
        error = np.linalg.norm(seen.points[:468, :2] - points[:, :2], axis=1)
        assert error.mean() < 0.025 * view.scale * 480


def test_the_detector_finds_the_heads(head):
    from curate.face.backends.litert import LiteRTDetector

    detector = LiteRTDetector()
    views = performance(3, 600)[::30] + [View(yaw=y, pitch=p) for y in (-60, 60) for p in (-30, 30)]
    hits = 0
    for view in views:
        found = detector.detect(render(head, view, (480, 480)))
        middle = truth(head, view, (480, 480))[AT.nose_tip]
        hits += any(
            f.x < middle[0] < f.x + f.width and f.y < middle[1] < f.y + f.height for f in found
        )  # fmt: skip
    assert hits >= 0.95 * len(views)


def test_painted_heads_differ():
    shapes = [painted(seed).landmarks for seed in range(3)]
    for a, b in itertools.combinations([*shapes, hopper().landmarks], 2):
        assert np.sqrt(((a - b) ** 2).sum(axis=1).mean()) > 0.1
    assert painted(2) is painted(2)
    with pytest.raises(UsageError, match="seed -1"):
        painted(-1)


def test_without_matplotlib_the_message_holds_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.cbook", None)
    with pytest.raises(MissingError, match=r"pip install matplotlib"):
        portrait_path()


@pytest.mark.parametrize(
    "change", [{"mouth": 1.2}, {"eyes": -0.1}, {"light": (0, 0, 0)}, {"distance": 5}, {"scale": 0}]
)
def test_a_view_refuses_what_it_cannot_show(change):
    with pytest.raises(UsageError):
        View(**change)


# --- rasteriser


def test_zbuffer_agrees_with_brute_force():
    rng = np.random.default_rng(5)
    points, near = rng.uniform(-5, 45, (60, 2)), rng.uniform(0.5, 1.5, 60)
    triangles = rng.permutation(60).reshape(20, 3).astype(np.int32)
    ids, depth = zbuffer(points, near, triangles, (40, 40))
    y, x = np.mgrid[:40, :40] + 0.5
    best, winner = np.zeros((40, 40)), np.full((40, 40), -1)
    for number, (a, b, c) in enumerate(triangles):
        matrix = np.vstack([points[[a, b, c]].T, np.ones(3)])
        if np.linalg.det(matrix) >= 0:  # y points down: a negative area faces the camera
            continue
        share = np.einsum("ij,jhw->ihw", np.linalg.inv(matrix), np.stack([x, y, np.ones_like(x)]))
        value = np.where((share >= 0).all(axis=0), np.einsum("i,ihw->hw", near[[a, b, c]], share), 0)
        winner, best = np.where(value > best, number, winner), np.maximum(value, best)
    assert (ids == winner).mean() > 0.999
    assert np.allclose(depth[ids == winner], best[ids == winner], atol=1e-4)


def test_interpolation_is_exact_for_a_plane():
    points = np.array([[0.0, 0.0], [20.0, 1.0], [3.0, 18.0], [21.0, 19.0]])
    triangles = np.array([[0, 2, 1], [1, 2, 3]], np.int32)
    at = samples(points, np.ones(4), triangles, np.zeros(2, np.int32), (20, 22), 0.5)
    found = interpolate(at, points, triangles, (points @ (2.0, -3.0) + 1)[:, None])[0]
    assert np.allclose(found[: len(at.whole)], (2 * at.x - 3 * at.y + 1)[: len(at.whole)], atol=2.6)
    assert np.median(np.abs(found - (2 * at.x - 3 * at.y + 1))) < 1e-4


# --- film


def test_performance_is_smooth_lively_and_its_own():
    views = performance(1, 1500)
    assert views == performance(1, 1500) and views != performance(2, 1500)
    assert len(set(views)) == 1500
    yaw, pitch, mouth, eyes = (np.array([getattr(v, n) for v in views]) for n in ("yaw", "pitch", "mouth", "eyes"))
    assert yaw.max() > 35 and yaw.min() < -35 and np.ptp(pitch) > 25
    assert np.abs(np.diff(yaw)).max() < 6 and np.abs(np.diff(pitch)).max() < 4
    assert mouth.max() > 0.5 and (mouth < 0.1).mean() > 0.1
    assert 0.01 < (eyes < 0.3).mean() < 0.15 and np.ptp([v.light[0] for v in views]) > 1
    assert performance(1, 0) == []


def test_a_clip_decodes_to_what_was_rendered(head, tmp_path):
    views = performance(4, 12)
    path = write_clip(tmp_path / "new" / "clip.mp4", head, views, (160, 200))
    assert [p.name for p in path.parent.iterdir()] == ["clip.mp4"]
    with av.open(str(path)) as clip:
        video, sound = clip.streams.video[0], clip.streams.audio[0]
        assert (video.width, video.height, video.average_rate) == (200, 160, 25)
        assert (video.codec_context.name, sound.codec_context.name) == ("h264", "aac")
        assert video.codec_context.colorspace == 1 and video.codec_context.color_primaries == 1
        frames = [f.to_ndarray(format="rgb24") for f in clip.decode(video=0)]
    assert len(frames) == 12
    for frame, view in zip(frames, views, strict=True):
        assert np.abs(frame.astype(int) - render(head, view, (160, 200))).mean() < 6
    with av.open(str(path)) as clip:
        wave = np.concatenate([f.to_ndarray()[0] for f in clip.decode(audio=0)])
    assert 0.4 < len(wave) / 48000 < 0.6
    assert np.abs(np.fft.rfft(wave[4000:20000])).argmax() * 48000 / 16000 == pytest.approx(220, abs=6)


def test_a_clip_without_sound(tmp_path):
    path = write_pictures(tmp_path / "mute.mp4", [np.full((64, 64, 3), 90, np.uint8)] * 3, (64, 64), 30, tone=False)
    with av.open(str(path)) as clip:
        assert not clip.streams.audio
        assert sum(1 for _ in clip.decode(video=0)) == 3


def test_a_clip_that_fails_leaves_nothing(tmp_path):
    def broken():
        yield np.zeros((64, 64, 3), np.uint8)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_pictures(tmp_path / "x.mp4", broken(), (64, 64))
    with pytest.raises(UsageError, match="even"):
        write_pictures(tmp_path / "x.mp4", [], (63, 64))
    assert list(tmp_path.iterdir()) == []
