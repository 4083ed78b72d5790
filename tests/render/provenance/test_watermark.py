from __future__ import annotations

import hashlib
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from curate.errors import UsageError
from curate.srgb import lab
from render import publish
from render.provenance import watermark, watermark_code, watermark_search, watermark_video
from render.provenance.watermark import GRID, Marker, decoded, measure, read
from render.provenance.watermark_code import (
    THRESHOLD,
    Known,
    codeword,
    decode,
    false_positive_bound,
    identifier_text,
    parse_identifier,
)
from render.provenance.watermark_video import find_watermarks
from reports.artifacts.measures import ciede2000

IDENTIFIER = 0x1A2B3C4D5E6F
SIZE = (480, 360)


def scene(number: int, size: tuple[int, int] = SIZE, seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8: a still background with texture, and a blob that moves over it."""
    width, height = size
    generator = np.random.default_rng(seed)
    texture = cv2.GaussianBlur(generator.normal(0, 60, (height, width, 3)).astype(np.float32), (0, 0), 2)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    wall = 120 + 50 * np.sin(x / 90 + seed) + 30 * np.cos(y / 70)
    blob = 80 * np.exp(-((x - width / 2 - 2 * number) ** 2 + (y - height / 2) ** 2) / 5000)
    return np.clip(wall[..., None] + texture + blob[..., None], 0, 255).astype(np.uint8)


def encoded(path: Path, frames: list[np.ndarray], crf: int = 23) -> Path:
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": str(crf), "preset": "veryfast"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def footage() -> list[np.ndarray]:
    return [scene(i) for i in range(40)]


@pytest.fixture(scope="module")
def marked(footage: list[np.ndarray]) -> list[np.ndarray]:
    marker = Marker(IDENTIFIER, *SIZE)
    return [marker.mark(frame) for frame in footage]


def find_watermark(path: Path) -> watermark.Reading | None:
    return next(iter(find_watermarks(path)), None)


def psnr(a: np.ndarray, b: np.ndarray, peak: float = 255.0) -> float:
    return float(10 * np.log10(peak**2 / ((a.astype(np.float64) - b.astype(np.float64)) ** 2).mean()))


def luma(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def test_a_marked_frame_is_within_46_db_of_the_frame(footage, marked):
    for before, after in zip(footage[::10], marked[::10], strict=True):
        assert psnr(before, after) >= 46
        assert psnr(luma(before), luma(after)) >= 46


def test_the_pattern_does_not_flicker(footage, marked):
    patterns = [after.astype(int) - before for before, after in zip(footage[:10], marked[:10], strict=True)]
    steps = [np.square(b - a).mean() for a, b in pairwise(patterns)]
    assert np.mean(steps) < 0.2 * np.mean([np.square(p).mean() for p in patterns])


@pytest.mark.parametrize("crf", [18, 28])
def test_every_window_is_read_after_encoding(marked, tmp_path, crf):
    path = encoded(tmp_path / "marked.mp4", marked, crf)
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    measured = [measure(frame) for frame in frames]
    for start in range(len(frames) - 29):
        (found,) = decoded(measured[start : start + 30])
        assert found.identifier == IDENTIFIER


def test_it_is_read_at_half_size_darker_and_with_less_contrast(marked, tmp_path):
    half = [cv2.resize(f, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for f in marked]
    path = encoded(tmp_path / "half.mp4", [np.rint(f * 0.85 + 5).astype(np.uint8) for f in half])
    assert find_watermark(path).identifier == IDENTIFIER


def test_footage_without_a_mark_is_not_read(footage, tmp_path):
    assert read(footage) is None
    assert find_watermark(encoded(tmp_path / "plain.mp4", footage)) is None


def test_a_marked_part_of_a_longer_video_is_found(marked):
    around = [scene(i, seed=9) for i in range(50)]
    found = read([*around, *marked[:35], *around])
    assert found.identifier == IDENTIFIER
    assert 20 <= found.start <= 60, "half of its frames may be enough"
    assert found.frames == watermark.WINDOW


def test_reading_stops_at_the_first_hit(marked):
    taken = []
    found = read(taken.append(i) or frame for i, frame in enumerate(marked))
    assert found is not None and len(taken) == watermark.WINDOW


def test_a_few_frames_may_do(marked):
    assert read(marked[:3]).frames == 3
    assert read([]) is None


def test_a_second_mark_in_its_own_slot_leaves_the_first_readable(marked, tmp_path):
    again = Marker(77, *SIZE, slot=1)
    found = find_watermarks(encoded(tmp_path / "twice.mp4", [again.mark(frame) for frame in marked], 23))
    assert [(r.identifier, r.slot) for r in found] == [(77, 1), (IDENTIFIER, 0)]
    assert all(r.chance < 1e-6 for r in found)


def test_a_second_mark_in_the_same_slot_replaces_the_first(marked):
    other = Marker(77, *SIZE)
    assert read([other.mark(frame) for frame in marked[:30]]).identifier == 77
    with pytest.raises(ValueError, match="slot 4"):
        Marker(1, *SIZE, slot=4)


def test_marks_of_the_first_format_are_still_read(footage, tmp_path):
    """A plain pattern on the carriers of the first format; 1.3 levels, as its 45.7 dB were."""
    code = watermark._code(watermark.OLD_KEY, watermark.OLD_BAND, watermark_code.BITS)
    pattern = watermark.spread(codeword(IDENTIFIER) * np.float32(GRID / 8 * 1.3), code)
    grown = cv2.resize(pattern, SIZE, interpolation=cv2.INTER_CUBIC)[..., None]
    frames = [np.clip(np.rint(frame * 0.2 + 100 + grown), 0, 255).astype(np.uint8) for frame in footage]
    (found,) = find_watermarks(encoded(tmp_path / "old.mp4", frames))
    assert (found.identifier, found.slot) == (IDENTIFIER, None)


def shrunk(frames: list[np.ndarray], left: int, top: int) -> list[np.ndarray]:
    """Between black bars."""
    width, height = SIZE
    small = [cv2.resize(f, (width - 2 * left, height - 2 * top), interpolation=cv2.INTER_AREA) for f in frames]
    return [cv2.copyMakeBorder(f, top, top, left, left, cv2.BORDER_CONSTANT) for f in small]


def banner(frame: np.ndarray) -> np.ndarray:
    out = frame.copy()
    out[-72:] = (170, 20, 30)
    return cv2.putText(out, "BREAKING NEWS", (20, 340), 0, 1.4, (255, 255, 255), 3)


@pytest.mark.parametrize(
    ("attack", "moved"),
    [
        (lambda frames: [f[4:-4, 6:-4] for f in frames], True),
        (lambda frames: [f[:-8, 10:] for f in frames], True),
        (lambda frames: shrunk(frames, 0, 42), True),
        (lambda frames: shrunk(frames, 58, 0), True),
        (lambda frames: [banner(f) for f in frames], False),
    ],
    ids=["crop", "crop at one corner", "letterbox", "pillarbox", "banner"],
)
def test_it_is_found_again_after_crops_bars_and_banners(marked, tmp_path, attack, moved):
    (found,) = find_watermarks(encoded(tmp_path / "moved.mp4", attack(marked)))
    assert (found.identifier, found.moved) == (IDENTIFIER, moved)
    assert found.chance < 1e-6


def test_bars_are_seen_and_plain_pictures_have_none(footage):
    lumas = [luma(frame) for frame in footage[:3]]
    assert watermark_search.box(lumas) is None
    assert watermark_search.box([np.full((360, 480), 16, np.uint8)]) is None
    barred = [luma(frame) for frame in shrunk(footage[:3], 0, 42)]
    assert watermark_search.box(barred) == watermark_search.Box(0, 480, 42, 318)


@pytest.mark.parametrize("colour", [(30, 30, 30), (128, 128, 128), (225, 225, 225), (205, 160, 135), (95, 65, 50)])
def test_nobody_sees_it_on_a_plain_wall(colour):
    """Below half a CIEDE2000 after a mean over 8 x 8 pixels, with a slight gradient and grain."""
    levels = np.array(colour) + np.linspace(-6, 6, 480)[None, :, None]
    wall = np.rint(levels + np.random.default_rng(3).normal(0, 1, (360, 480, 1))).astype(np.uint8)
    means = [cv2.blur(i.astype(np.float32), (8, 8)) / 255 for i in (wall, Marker(IDENTIFIER, *SIZE).mark(wall))]
    assert 0 < ciede2000(*(lab(mean) for mean in means)).max() < 0.5


@pytest.mark.parametrize(("grain", "least", "most"), [(0.0, 0.99, 1.01), (4.0, 1.5, 4.0), (60.0, 0.8, 1.5)])
def test_light_texture_carries_more_than_walls_and_strong_texture_does_not(grain, least, most):
    grid = np.full((GRID, GRID), 120, np.float32)
    grid[:, GRID // 2 :] += np.random.default_rng(4).normal(0, grain, (GRID, GRID // 2)).astype(np.float32)
    mask = watermark.visibility(grid, watermark.whitened(grid)[1])
    assert least < mask[:, -40:].mean() / mask[:, :40].mean() < most
    assert np.abs(mask[:, : GRID // 2 - 8] - mask[0, 0]).max() < 0.02, "nothing leaks out of the texture"


def test_a_frame_that_is_read_anyway_carries_no_more_in_texture():
    """A wall of light grain, whose flat pattern is enough, and the same with strong texture in most of the frame."""
    generator = np.random.default_rng(5)
    quiet = 120 + generator.normal(0, 1.5, (GRID, GRID)).astype(np.float32)
    busy = quiet.copy()
    busy[:, 60:] += generator.normal(0, 30, (GRID, GRID - 60)).astype(np.float32)
    masks = [watermark.visibility(grid, watermark.whitened(grid)[1]) for grid in (quiet, busy)]
    assert masks[0][:, :40].mean() < 0.8 * masks[1][:, :40].mean()


def test_sixteen_bits_carry_the_same_mark(footage):
    deep = footage[0].astype(np.uint16) * 257
    after = Marker(IDENTIFIER, *SIZE).mark(deep)
    assert after.dtype == np.uint16
    assert 44 <= psnr(deep, after, 65535) < 50
    eight = [np.rint(Marker(IDENTIFIER, *SIZE).mark(f.astype(np.uint16) * 257) / 257) for f in footage[:30]]
    assert read([f.astype(np.uint8) for f in eight]).identifier == IDENTIFIER


def test_black_and_white_frames_stay_within_their_range():
    for value in (0, 255):
        image = np.full((360, 480, 3), value, np.uint8)
        after = Marker(IDENTIFIER, *SIZE).mark(image)
        assert np.abs(after.astype(int) - image).max() <= 2, "no wrap, and next to nothing on black"
    assert read([np.zeros((360, 480, 3), np.uint8)] * 30) is None


def test_the_same_bytes_in_another_process(footage, marked):
    script = (
        "import sys, hashlib, numpy as np; from render.provenance.watermark import Marker\n"
        "image = np.frombuffer(sys.stdin.buffer.read(), np.uint8).reshape(360, 480, 3)\n"
        f"print(hashlib.sha256(Marker({IDENTIFIER}, 480, 360).mark(image).tobytes()).hexdigest())"
    )
    run = subprocess.run([sys.executable, "-c", script], input=footage[0].tobytes(), stdout=subprocess.PIPE, check=True)
    assert run.stdout.decode().strip() == hashlib.sha256(marked[0].tobytes()).hexdigest()


def test_the_code_never_changes():
    """Old renders must stay readable: the cells and signs of every bit are part of the format."""
    digests = []
    for cells, weights in (*watermark._codes(), watermark.pilot_code()):
        digests.append(hashlib.sha256(cells.astype("<i4").tobytes() + (weights > 0).tobytes()).hexdigest())
        assert np.allclose((weights**2).sum(axis=0), 1)
        assert len(np.unique(cells)) == cells.size
    assert digests[0] == "7ebc0555d4338cec529dbcd354718ff8d04e5cb11fcffcf678ddd870640e63f8"
    assert (
        hashlib.sha256("".join(digests).encode()).hexdigest()
        == "b024dcad47b57bcee8cebaba36ce17168a41bf80e6eb1ef08bdd1d6b2670fda5"
    )


def test_a_wrong_frame_is_a_bug():
    marker = Marker(1, 64, 48)
    for image in (np.zeros((64, 48, 3), np.uint8), np.zeros((48, 64, 3), np.float32), np.zeros((48, 64), np.uint8)):
        with pytest.raises(ValueError, match="64x48"):
            marker.mark(image)


def test_identifiers_as_text():
    assert identifier_text(IDENTIFIER) == "fs-1a2b3c4d5e6f"
    assert parse_identifier(" FS-1A2B3C4D5E6F\n") == IDENTIFIER
    for text in ("", "fs-1", "1a2b3c4d5e6f", "fs-1a2b3c4d5e6g", "fs-1a2b3c4d5e6f0"):
        with pytest.raises(UsageError, match="fs-1a2b3c4d5e6f"):
            parse_identifier(text)
    for value in (-1, 1 << 48):
        with pytest.raises(ValueError, match="48"):
            Marker(value, 480, 360)


@pytest.mark.parametrize("identifier", [0, 1, IDENTIFIER, (1 << 48) - 1])
def test_a_codeword_comes_back_at_any_scale(identifier):
    bits = codeword(identifier)
    assert decode(bits * 3.5) == watermark_code.Codeword(identifier, pytest.approx(1.0))
    assert decode(-bits) is None
    assert decode(bits * 0) is None
    assert decode(bits * np.nan) is None


def test_two_weak_wrong_bits_are_turned_over_three_are_not():
    soft = codeword(IDENTIFIER)
    for wrong in (3, 60):
        soft[wrong] *= -0.1
    assert decode(soft).identifier == IDENTIFIER
    soft[20] *= -0.1
    assert decode(soft) is None


def test_a_checksum_alone_is_not_enough():
    """Soft values of noise whose signs happen to be a valid codeword."""
    noise = np.abs(np.random.default_rng(1).normal(size=64)) * codeword(IDENTIFIER)
    assert decode(noise) is None


def test_noise_is_never_read_and_the_bound_says_why():
    assert false_positive_bound(THRESHOLD) < 1e-9
    assert false_positive_bound(0.5) > 1e-9
    generator = np.random.default_rng(2)
    assert all(decode(soft) is None for soft in generator.normal(size=(20_000, 64)))


def test_a_file_that_is_no_video_has_no_watermark(tmp_path):
    for name, content in {"empty.mp4": b"", "text.mp4": b"words " * 99, "noise.mkv": bytes(range(256)) * 20}.items():
        (tmp_path / name).write_bytes(content)
        assert find_watermark(tmp_path / name) is None


def test_a_long_video_is_looked_at_at_its_ends_and_its_middle(marked, footage, tmp_path, monkeypatch):
    monkeypatch.setattr("render.provenance.watermark_video.LIMIT", 120)
    frames = [*[scene(0, seed=4)] * 160, *marked[:40]]
    found = find_watermark(encoded(tmp_path / "long.mp4", frames))
    assert found.identifier == IDENTIFIER
    assert found.start >= 130


def test_a_render_over_a_render_takes_a_free_slot(footage, marked, tmp_path):
    assert publish.free_slot(encoded(tmp_path / "plain.mp4", footage)) == (0, ())
    over = publish.free_slot(encoded(tmp_path / "marked.mp4", marked))
    assert over == (1, (identifier_text(IDENTIFIER),))


def test_a_free_slot_is_found_in_one_reading_of_the_footage(footage, marked, tmp_path, monkeypatch):
    read, decode_frames = [], watermark_video.video.decode

    def decoded(*given, **options):
        """Notes the numbers of the frames."""
        for frame in decode_frames(*given, **options):
            read.append(frame.index)
            yield frame

    monkeypatch.setattr(watermark_video.video, "decode", decoded)
    for frames, free in ((footage, (0, ())), ([*footage, *marked], (1, (identifier_text(IDENTIFIER),)))):
        path = encoded(tmp_path / f"{len(frames)}.mp4", [*frames, *[footage[0]] * (200 - len(frames))])
        read.clear()
        assert publish.free_slot(path) == free
        assert read == list(range(200))


def test_known_identifiers_are_recognised_where_bits_are_lost():
    """Noise of 0.8 of a bit's strength: several bits are wrong, and still only this identifier is near."""
    generator = np.random.default_rng(5)
    known = Known([7, IDENTIFIER, 99])
    for _ in range(20):
        soft = codeword(IDENTIFIER) + generator.normal(0, 0.75, 64)
        found = known.nearest(soft)
        assert found is None or found.identifier == IDENTIFIER
    soft = codeword(IDENTIFIER).astype(np.float64)
    soft[:7] *= -1
    assert decode(soft) is None and known.nearest(soft).identifier == IDENTIFIER
    assert known.nearest(soft).score == pytest.approx(1 - 14 / 64)
    assert Known([]).nearest(soft) is None and Known([1]).nearest(np.zeros(64)) is None
    assert known.bound(0.75) < 2e-11 and false_positive_bound(0.75) > 1e-3
    assert all(known.nearest(noise) is None for noise in generator.normal(size=(20_000, 64)))
