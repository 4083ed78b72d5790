"""face-alignment's plumbing on made-up weights of the right shapes, and what is said where its files are not there.

Two sets of files in the form of the real ones (`fan_weights`): random numbers; and numbers put by hand, with which the
networks mark the brightest red, green and blue of what they read, so that every step around them can be checked (one
hourglass does for that).
"""

from __future__ import annotations

import hashlib
import io
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from curate.errors import WeightsError, WorkError
from curate.extract import engine
from curate.extract.pipeline import Request, curate
from curate.face.backends import DETECTORS, LANDMARKERS, fan, fan_weights, make
from curate.face.backends.fan import CELLS, REACH, SIDE, peaks
from curate.face.backends.fan_weights import DEPTH, FACES, NEEDS, POINTS_2D, POINTS_3D, File
from curate.face.track import region_of_detection
from curate.turntable import View, hopper, render, write_clip, write_pictures
from curate.types import Image

Weights = dict[str, torch.Tensor]


# ---- the files


def shapes(make_network: Callable[[], Any]) -> dict[str, torch.Size]:
    with torch.device("meta"):
        network = make_network()
    # the real files are older than this counter
    return {k: v.shape for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}


def at_random(key: str, shape: torch.Size) -> torch.Tensor:
    """Random numbers of a sensible size that repeat, so that the file stays small."""
    if key.endswith("running_var") or (len(shape) == 1 and key.endswith("weight")):
        return torch.ones(1).expand(shape)
    inputs = max(shape[1:].numel(), 1)
    strides = (7, 5, 2, 1)[: len(shape)]
    length = sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + 1
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big")
    values = torch.randn(length, generator=torch.Generator().manual_seed(seed)) * 0.5 / inputs**0.5
    return values.as_strided(shape, strides)


def by_hand(key: str, shape: torch.Size) -> torch.Tensor:
    """Three channels that go through everything untouched; blocks that do nothing."""
    if key.endswith("running_var") or (len(shape) == 1 and key.endswith("weight")):
        return torch.ones(1).expand(shape)
    passing = (
        key == "conv1.weight" or ".downsample.2." in key or key.startswith("conv_last") or key.startswith("conv1_")
    )
    marking = key.startswith("l") and key[1].isdigit()
    out = torch.zeros(1).expand(shape)
    if len(shape) == 4 and (passing or marking):
        out = torch.zeros(shape)
        for channel in range(shape[0] if marking else 3):
            out[channel, channel % 3, shape[2] // 2, shape[3] // 2] = 0.5 if marking else 1.0
    if key == "conv1.weight":  # every second pixel is read, with its neighbours: the cells' middles stay where they are
        out[:3, :, 3:5, 3:5] = 0.25 * out[:3, :, 3:4, 3:4]
    return out


def networks(stacks: int) -> dict[str, dict[str, torch.Size]]:
    from face_alignment.detection.sfd.net_s3fd import s3fd
    from face_alignment.models import FAN, ResNetDepth

    points = shapes(lambda: FAN(stacks))
    return {POINTS_2D.name: points, POINTS_3D.name: points, DEPTH.name: shapes(ResNetDepth), FACES.name: shapes(s3fd)}


def only(value: float, shape: torch.Size, row: int = 0) -> torch.Tensor:
    """`value` in the middle of the filter from channel 0 to channel `row`, else 0; a small file."""
    at = torch.zeros(9 * (sum(shape[:2]) - 1))
    at[4] = value
    return (
        at.as_strided(shape, (9, 9, 3, 1))
        if row == 0
        else torch.cat([torch.zeros(1, *shape[1:]), only(value, shape)[:1]])
    )


def detector_by_hand(sizes: dict[str, torch.Size]) -> Weights:
    """A face is where a cell of 16 pixels holds something bright, and nowhere else."""
    out = {k: torch.zeros(1).expand(s) for k, s in sizes.items()}
    for k, s in sizes.items():
        if (
            k.endswith(".weight")
            and k.split("_")[0] in ("conv1", "conv2", "conv3", "conv4", "conv5")
            and k.count("_") == 1
        ):
            out[k] = only(1.0, s)
        if k.endswith("_norm.weight"):
            out[k] = torch.ones(1).expand(s)
        if k.endswith("_conf.bias"):
            out[k] = torch.tensor([9.0] * (s[0] - 1) + [-9.0])
    out["conv5_3_norm_mbox_conf.weight"] = only(20.0, sizes["conv5_3_norm_mbox_conf.weight"], row=1)
    return out


def made_up(kind: str) -> dict[str, Any]:
    make_tensor, sizes_of = (at_random, networks(fan.STACKS)) if kind == "random" else (by_hand, networks(1))
    weights: dict[str, Any] = {
        name: {key: make_tensor(key, shape) for key, shape in sizes.items()} for name, sizes in sizes_of.items()
    }
    if kind == "random":
        for name in (POINTS_2D.name, POINTS_3D.name):  # a score that the tracker takes for a face
            weights[name] |= {"l3.weight": weights[name]["l3.weight"] * 0.02, "l3.bias": torch.full((68,), 0.7)}
        for key in [k for k in weights[FACES.name] if k.endswith("_conf.bias")]:
            weights[FACES.name][key] = torch.tensor([0.0] * (len(weights[FACES.name][key]) - 1) + [0.1])
    else:
        weights[FACES.name] = detector_by_hand(sizes_of[FACES.name])
    weights[DEPTH.name] = {"epoch": 1, "state_dict": {f"module.{k}": v for k, v in weights[DEPTH.name].items()}}
    return weights


@pytest.fixture(scope="module")
def hubs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, pytest.MonkeyPatch], None]]:
    """Makes torch's cache one that holds the "random" or the "by hand" files, and says that they are the author's."""
    homes: dict[str, tuple[Path, dict[str, tuple[File, ...]]]] = {}
    for kind in ("random", "by hand"):
        home = tmp_path_factory.mktemp("torch")
        (home / "hub" / "checkpoints").mkdir(parents=True)
        for name, content in made_up(kind).items():
            # the form of 2017, as the real files have it
            torch.save(content, home / "hub" / "checkpoints" / name, _use_new_zipfile_serialization=False)
        digits = {p.name: hashlib.sha256(p.read_bytes()).hexdigest()[:10] for p in (home / "hub/checkpoints").iterdir()}
        homes[kind] = home, {c: tuple(File(f.name, digits[f.name]) for f in fs) for c, fs in NEEDS.items()}

    def use(kind: str, patch: pytest.MonkeyPatch) -> None:
        patch.setenv("TORCH_HOME", str(homes[kind][0]))
        patch.setattr(fan_weights, "NEEDS", homes[kind][1])
        patch.setattr(fan, "STACKS", fan.STACKS if kind == "random" else 1)

    yield use


@pytest.fixture(scope="module")
def backend(hubs: Callable[[str, pytest.MonkeyPatch], None]) -> Callable[[str, str], Any]:
    """A backend by its choice on a kind of weights, each loaded once."""
    loaded: dict[tuple[str, str], Any] = {}

    def get(choice: str, kind: str) -> Any:
        if (choice, kind) not in loaded:
            flag, name = choice.split()
            with pytest.MonkeyPatch.context() as patch:
                hubs(kind, patch)
                loaded[choice, kind] = make({"--detector": DETECTORS, "--landmarker": LANDMARKERS}[flag], name, flag)
        return loaded[choice, kind]

    return get


# ---- on random weights


def picture() -> Image:
    image = render(hopper(), View(yaw=10, scale=0.6), (240, 320))
    image.flags.writeable = False
    return image


@pytest.mark.parametrize("choice", [fan_weights.LANDMARKER, fan_weights.LANDMARKER_2D])
def test_plumbing_with_random_weights(choice: str, backend: Callable[[str, str], Any]) -> None:
    landmarker = backend(choice, "random")
    region = np.array([160, 120, 180, 170, 0.2])
    found = landmarker.landmark(picture(), region)
    assert found.points.shape == (landmarker.points, 3) == (68, 3) and found.points.dtype == np.float32
    assert np.isfinite(found.points).all() and found.points.flags.writeable and 0 < found.score <= 1
    assert found.blendshapes is None
    away = np.abs(found.points[:, :2] - region[:2]).max(0)
    assert away.max() < REACH * 180 and np.ptp(found.points[:, :2], axis=0).min() > 20, "spread over what is read"
    assert bool(found.points[:, 2].any()) == (choice == fan_weights.LANDMARKER)
    assert abs(found.points[:, 2].mean()) < 1e-3
    if choice == fan_weights.LANDMARKER:
        return  # its network for depth takes its time, and moves with the points
    wide = np.zeros((400, 500, 3), np.uint8)[:, ::-1]
    wide[40:280, 100:420] = picture()
    moved = landmarker.landmark(wide, region + np.array([100, 40, 0, 0, 0]))
    assert moved.points == pytest.approx(found.points + np.float32([100, 40, 0]), abs=1e-2)
    assert moved.score == pytest.approx(found.score)


def test_plumbing_of_the_detector_with_random_weights(backend: Callable[[str, str], Any]) -> None:
    image = picture()[60:156, 100:228]
    found = backend(fan_weights.DETECTOR, "random").detect(image)
    assert found and [d.score for d in found] == sorted((d.score for d in found), reverse=True)
    for face in found:
        assert 0.5 <= face.score <= 1 and face.width > 0 and face.height > 0
        assert face.keypoints.shape == (2, 2) and face.keypoints.dtype == np.float32
        assert face.x < face.keypoints[0, 0] < face.keypoints[1, 0] < face.x + face.width
        assert face.y < face.keypoints[:, 1].min() < face.y + face.height / 2


def test_a_faceset_is_made_with_random_weights(
    backend: Callable[[str, str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LANDMARKERS, "face-alignment", lambda: backend(fan_weights.LANDMARKER, "random"))
    engine._backends.cache_clear()
    clip = write_clip(tmp_path / "clip.mp4", hopper(), [View()], (240, 240), 25)
    settings = (("landmarker", "face-alignment"),)
    done = curate(Request((str(clip),), tmp_path / "set", "A", "research", settings=settings))
    engine._backends.cache_clear()
    assert done.summary()["frames"] == len(done.table) == 1 and not done.failed
    assert done.table[["yaw", "pitch", "roll", "pose_confidence"]].notna().all(axis=None)
    assert done.table["expression"].isna().all() and done.table["light_x"].isna().all()
    points = done.faceset.landmarks(done.table["face_id"].tolist())
    assert {p.shape for p in points.values()} == {(68, 3)}


# ---- on weights put by hand


def spots(size: tuple[int, int], at: np.ndarray, width: float) -> Image:
    """A red, a green and a blue blot on black at the given places (3, 2)."""
    y, x = np.mgrid[: size[0], : size[1]]
    blots = [np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * width**2)) for a, b in at]
    return np.round(255 * np.stack(blots, axis=-1)).astype(np.uint8)


@pytest.mark.parametrize(("roll", "shift"), [(0.6, (0, 0)), (-0.3, (-160, 90))])
def test_points_lie_on_the_marks_with_weights_put_by_hand(
    roll: float, shift: tuple[int, int], backend: Callable[[str, str], Any]
) -> None:
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    middle = np.array([200, 170]) + shift
    places = np.array([[-50, -30], [55, -25], [5, 60]]) @ turn.T + middle
    seen = (places >= 0).all(1) & (places < (420, 360)).all(1)
    assert seen.sum() >= 2, "one may lie beyond the border, where black is read"
    found = backend(fan_weights.LANDMARKER_2D, "by hand").landmark(
        spots((360, 420), places, 8.0), np.array([*middle, 210, 190, roll])
    )
    cell = REACH * 210 / CELLS
    for colour in np.flatnonzero(seen):
        error = np.linalg.norm(found.points[colour::3, :2] - places[colour], axis=1)
        assert error.max() < 0.75 * cell
    assert found.score > 0.5


@pytest.fixture
def stood_in_for(backend: Callable[[str, str], Any], monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[Any]]:
    """A landmarker whose networks mark one cell and tell a rising depth; what they read, and on how many cores."""
    landmarker = backend(fan_weights.LANDMARKER, "random")
    maps = torch.zeros(1, 68, CELLS, CELLS)
    maps[0, :, 20, 30] = 1
    given: list[Any] = []
    monkeypatch.setattr(landmarker, "_points", lambda read: given.append((read, torch.get_num_threads())) or [maps])
    monkeypatch.setattr(landmarker, "_depth", lambda read: given.append((read, 1)) or torch.arange(68.0)[None])
    return landmarker, given


def test_depth_is_negative_toward_the_camera(stood_in_for: tuple[Any, list[Any]]) -> None:
    """The network's depth grows toward the camera: in the package's own reference (test/facealignment_test.py) the tip
    of the nose is at 63, the jaw's ends at -86 and -54."""
    landmarker, given = stood_in_for
    found = landmarker.landmark(picture(), np.array([160, 120, 210, 200, 0.0]))
    pixels = REACH * 210 / SIDE
    assert found.points[:, 2] == pytest.approx((33.5 - np.arange(68)) * pixels, abs=1e-3)
    ((depth_reads,), _) = given[1]
    assert depth_reads.shape == (3 + 68, SIDE, SIDE)
    assert np.divmod(int(depth_reads[3].argmax()), SIDE) == pytest.approx((4 * 20 + 2, 4 * 30 + 2), abs=1)


def test_what_is_read_is_lifted_toward_the_forehead_on_one_core(stood_in_for: tuple[Any, list[Any]]) -> None:
    landmarker, given = stood_in_for
    roll, middle = 0.6, np.array([200.0, 170.0])
    forehead = middle + 0.08 * 210 * np.array([np.sin(roll), -np.cos(roll)])
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        landmarker.landmark(
            spots((360, 420), np.array([forehead, middle, middle]), 4.0), np.array([*middle, 210, 9, roll])
        )
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    ((read,), threads) = given[0]
    assert threads == 1 and read.shape == (3, SIDE, SIDE) and 0.9 < float(read.max()) <= 1
    assert np.divmod(int(read[0].argmax()), SIDE) == pytest.approx((127.5, 127.5), abs=2)
    row, column = np.divmod(int(read[1].argmax()), SIDE)
    assert column == pytest.approx(127.5, abs=2) and row > 135


def white(size: tuple[int, int], x: int, y: int, radius: int = 3) -> Image:
    return cv2.circle(np.zeros((*size, 3), np.uint8), (x, y), radius, (255, 255, 255), -1)


def test_boxes_lie_on_the_marks_with_weights_put_by_hand(backend: Callable[[str, str], Any]) -> None:
    detector = backend(fan_weights.DETECTOR, "by hand")
    (large,) = detector.detect(white((192, 960), 2 * 88, 2 * 56, 6))
    assert (large.x, large.y, large.width) == pytest.approx((112, 48, 128)), "shrunk to 480 pixels, and back"
    (found,) = detector.detect(white((112, 128), 88, 56))
    assert (found.x, found.y, found.width, found.height) == pytest.approx((56, 24, 64, 64)), "the cell's own box"
    assert found.score > 0.8
    two = detector.detect(white((112, 192), 88, 56) + white((112, 192), 168, 56))
    assert sorted(d.x for d in two) == pytest.approx([56, 136])
    assert region_of_detection(found) == pytest.approx((88, 56, 96, 96, 0))
    (small,) = detector.detect(white((20, 30), 8, 8))
    assert small.x < 8 < small.x + small.width
    for nothing in (np.zeros((1, 1, 3), np.uint8), np.zeros((3, 300, 3), np.uint8), np.full((90, 90, 3), 9, np.uint8)):
        assert detector.detect(nothing) == []


def test_peaks_lean_toward_the_higher_neighbour() -> None:
    maps = np.zeros((4, CELLS, CELLS), np.float32)
    maps[0, 20, 30], maps[0, 20, 31], maps[0, 19, 30] = 1, 0.5, 0.3
    maps[1, 0, 63] = 0.7  # at the edge there are no two neighbours to compare
    maps[2, 40, 10], maps[2, 40, 9] = 2, 1
    cells, heights = peaks(maps)
    assert cells.tolist() == [[30.25, 19.75], [63, 0], [9.75, 40], [0, 0]]
    assert heights == pytest.approx([1, 0.7, 2, 0])


# ---- the files: where, whole or not


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, float]]]:
    """An empty torch cache and no network: what was asked for, and with how much patience."""
    asked: list[tuple[str, float]] = []

    def urlopen(url: str, timeout: float) -> io.BytesIO:
        asked.append((url, timeout))
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("FACESET_CACHE", str(tmp_path / "cache"))
    fan_weights._fetched.cache_clear()
    yield asked
    fan_weights._fetched.cache_clear()


@pytest.mark.parametrize("choice", NEEDS)
def test_missing_weights_are_told_with_file_address_and_folder(
    choice: str, nowhere: list[tuple[str, float]], tmp_path: Path
) -> None:
    flag, name = choice.split()
    for _ in range(2):
        with pytest.raises(WeightsError) as told:
            make({"--detector": DETECTORS, "--landmarker": LANDMARKERS}[flag], name, flag)
        text = str(told.value)
        assert text.startswith(f"{choice}: ") and "no route to host" in text and "\n" not in text
        assert str(tmp_path / "torch" / "hub" / "checkpoints") in text
        for file in NEEDS[choice]:
            assert text.count(file.name) == 2 and file.url in text
    assert nowhere == [(NEEDS[choice][0].url, fan_weights.PATIENCE)], "the network is asked once, and not for ever"


def test_curate_without_the_weights_fails_with_that_message(nowhere: list[tuple[str, float]], tmp_path: Path) -> None:
    engine._backends.cache_clear()
    clip = write_pictures(tmp_path / "grey.mp4", [np.full((64, 64, 3), 90, np.uint8)] * 3, (64, 64), 25, tone=False)
    settings = (("landmarker", "face-alignment"),)
    with pytest.raises(WorkError, match=r"--landmarker face-alignment: 3DFAN4-\w+.pth.tar and depth-.* cannot be"):
        curate(Request((str(clip),), tmp_path / "set", "A", "research", settings=settings))


def test_only_what_is_missing_is_told(nowhere: list[tuple[str, float]]) -> None:
    fan_weights.folder().mkdir(parents=True)
    (fan_weights.folder() / POINTS_3D.name).touch()
    with pytest.raises(WeightsError) as told:
        fan_weights.paths(fan_weights.LANDMARKER)
    assert DEPTH.url in str(told.value) and POINTS_3D.name not in str(told.value)


@pytest.mark.parametrize("choice", NEEDS)
def test_damaged_weights_are_told_and_not_loaded(choice: str, nowhere: list[tuple[str, float]]) -> None:
    fan_weights.folder().mkdir(parents=True)
    for file in NEEDS[choice]:
        (fan_weights.folder() / file.name).write_bytes(b"half of it")
    flag, name = choice.split()
    with pytest.raises(WeightsError) as told:
        make({"--detector": DETECTORS, "--landmarker": LANDMARKERS}[flag], name, flag)
    first = NEEDS[choice][0]
    assert f"{fan_weights.folder() / first.name} is damaged" in str(told.value) and first.url in str(told.value)
    assert nowhere == []


def test_weights_are_fetched_whole_or_not_at_all(
    nowhere: list[tuple[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = b"all of it"
    file = File("net-abc.pth", hashlib.sha256(whole).hexdigest()[:10])
    monkeypatch.setattr(fan_weights, "NEEDS", {"--x y": (file,)})
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: io.BytesIO(whole[:4]))
    with pytest.raises(WeightsError, match="another hash"):
        fan_weights.paths("--x y")
    assert list(fan_weights.folder().iterdir()) == [], "nothing is left behind"
    fan_weights._fetched.cache_clear()
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: io.BytesIO(whole))
    (path,) = fan_weights.paths("--x y")
    assert path.read_bytes() == whole and path == fan_weights.folder() / "net-abc.pth"
    assert not fan_weights.missing("--x y")


def test_a_folder_that_cannot_be_made_is_told(
    nowhere: list[tuple[str, float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch").touch()
    with pytest.raises(WeightsError, match=f"Not a directory.*{tmp_path}"):
        fan_weights.paths(fan_weights.DETECTOR)
    assert nowhere == []


def test_files_and_folder_are_those_of_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from face_alignment import api
    from face_alignment.detection.sfd import sfd_detector

    theirs = api.models_urls | sfd_detector.models_urls
    ours = {"2DFAN-4": POINTS_2D, "3DFAN-4": POINTS_3D, "depth": DEPTH, "s3fd": FACES}
    assert {name: file.url for name, file in ours.items()} == theirs
    assert all(f"-{file.sha256}." in file.name for file in ours.values())
    for name, value in (("XDG_CACHE_HOME", str(tmp_path)), ("TORCH_HOME", "~/nets"), ("TORCH_HOME", None)):
        monkeypatch.delenv(name, raising=False)
        if value:
            monkeypatch.setenv(name, value)
        assert str(fan_weights.folder()) == str(Path(torch.hub.get_dir()) / "checkpoints")
