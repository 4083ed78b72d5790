"""Chroma of footage that does not say where it lies: at the left, as players take it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from curate.footage.chroma import taken_as_centred
from curate.footage.video import decode, probe

FFMPEG = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error"]
FORMS = {
    "ffv1": ("yuv420p", "mkv"),
    "libvpx-vp9": ("yuv420p", "webm"),
    "libx265": ("yuv422p", "mp4"),
    "libx264": ("yuv420p", "mp4"),
}


def coloured(path: Path, codec: str, form: str) -> Path:
    """Two frames whose red difference rises evenly to the right, as planes: 1.5 codes a pixel, grey at the top left."""
    height, width = 64, 128
    across, down = 2, 2 if form == "yuv420p" else 1
    chroma = np.broadcast_to(80 + 3 * (np.arange(width // 2) % 32), (height // down, width // across)).astype(np.uint8)
    planes = [np.full((height, width), 128, np.uint8), np.full_like(chroma, 128), chroma]
    raw = b"".join(p.tobytes() for p in planes) * 2
    options = ["-f", "rawvideo", "-pix_fmt", form, "-s", f"{width}x{height}", "-r", "25", "-i", "-", "-c:v", codec]
    quality = {"libvpx-vp9": ["-crf", "4"], "libx264": ["-crf", "4"]}.get(codec, [])
    quality = ["-x265-params", "crf=4:log-level=error"] if codec == "libx265" else quality
    subprocess.run([*FFMPEG, *options, *quality, str(path)], input=raw, check=True)
    return path


@pytest.mark.parametrize("codec", FORMS)
def test_chroma_lies_at_the_left_whether_said_or_not(tmp_path, codec):
    form, suffix = FORMS[codec]
    path = coloured(tmp_path / f"a.{suffix}", codec, form)
    frame = next(decode(probe(path), depth=16))
    for picture, near in ((frame.image, 0.6), (frame.deep / 257, 0.2)):
        red = picture[32, :, 0].astype(float) - picture[32, :, 2]
        column = np.arange(8, 56)
        wanted = 1.596 * (80 + 1.5 * column - 128)  # BT.601, limited: what the ramp is at this pixel
        # Centred, the ramp would lie half a pixel off: 1.2 levels less.
        assert abs((red[column] - wanted).mean()) < near


def test_what_players_centre_stays_centred(tmp_path):
    path = tmp_path / "a.avi"
    source = coloured(tmp_path / "a.mkv", "ffv1", "yuv420p")
    subprocess.run([*FFMPEG, "-i", str(source), "-c:v", "mjpeg", "-q:v", "1", str(path)], check=True)
    with av.open(str(path)) as container:
        first = next(container.decode(video=0))
        before = bytes(first.planes[2])
        assert taken_as_centred(first)
        assert bytes(first.planes[2]) == before


def test_a_turned_frame_stays_turned(tmp_path):
    path = coloured(tmp_path / "a.mp4", "libx265", "yuv422p")
    turned = tmp_path / "turned.mp4"
    subprocess.run([*FFMPEG, "-display_rotation", "90", "-i", str(path), "-c", "copy", str(turned)], check=True)
    plain, upright = next(decode(probe(path), depth=16)), next(decode(probe(turned), depth=16))
    assert upright.image.shape == (128, 64, 3)
    assert np.array_equal(upright.image, np.rot90(plain.image))
    assert np.array_equal(upright.deep, np.rot90(plain.deep))
