"""Every container, codec, B-frames, key-frame distance and start: the same frames by plain decoding, curate and render.

    python -m benchmarks.containers [--frames 75] [--only mp4] [--part 1/4]

One clip is written by ffmpeg in every combination that ffmpeg can write. Compared are: the frames by plain decoding
from the start; the frames of curate, in segments of 0.5 s, in 1 and in 2 processes, pixel by pixel; and the frames,
times and pixels of a render in two parts, read, encoded and muxed as always, with no face to swap. It prints a line for
each difference, and a table. The aim is no difference that reading does not tell.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import subprocess
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np

from curate.errors import FacesetError
from curate.footage import video
from curate.footage.opening import opened, video_stream
from curate.footage.picture import View, luma_of
from curate.footage.timeline import timeline
from curate.types import Clip, Segment
from render.output import mux
from render.output.coding import coding_for
from render.output.encode import encoder
from render.output.footage_format import check_footage

SIZE = (96, 128)
RATE = 25
SECONDS = 0.5
NOISE = 3.0
"""Levels of 255 that H.264 at CRF 4 may cost in the brightness of this noise, on average."""
LUMA = np.array([0.299, 0.587, 0.114])
"""BT.601: what 4:2:0 keeps of a palette's colours, pixel by pixel, is their brightness."""
X264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "12", "-sc_threshold", "0")
X265 = ("-c:v", "libx265", "-preset", "ultrafast", "-crf", "12")
CODECS: dict[str, tuple[str, ...]] = {
    "h264 4:2:0": (*X264, "-pix_fmt", "yuv420p"),
    "h264 4:2:2": (*X264, "-pix_fmt", "yuv422p"),
    "h264 4:4:4": (*X264, "-pix_fmt", "yuv444p"),
    "hevc 8": (*X265, "-pix_fmt", "yuv420p"),
    "hevc 10": (*X265, "-pix_fmt", "yuv420p10le"),
    "av1": ("-c:v", "libaom-av1", "-cpu-used", "8", "-crf", "20", "-row-mt", "0"),
    "vp9": ("-c:v", "libvpx-vp9", "-cpu-used", "8", "-crf", "20", "-b:v", "0"),
    "mpeg2": ("-c:v", "mpeg2video", "-q:v", "2"),
    "mpeg4": ("-c:v", "mpeg4", "-q:v", "2"),
    "mjpeg": ("-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj420p"),
    "prores": ("-c:v", "prores_ks",),
    "dnxhd": ("-vf", "scale=256:192:flags=neighbor", "-c:v", "dnxhd", "-profile:v", "dnxhr_sq", "-pix_fmt", "yuv422p"),
    "wmv2": ("-c:v", "wmv2", "-q:v", "2"),
    "flv1": ("-c:v", "flv", "-q:v", "2"),
    "gif": ("-c:v", "gif",),
}  # fmt: skip
INTRA = ("mjpeg", "prores", "dnxhd", "gif")
NO_B = (*INTRA, "av1", "vp9", "wmv2", "flv1")
CONTAINERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "mp4": (".mp4", ("h264", "hevc", "av1", "vp9", "mpeg2", "mpeg4", "mjpeg")),
    "mov": (".mov", ("h264", "hevc", "mpeg2", "mpeg4", "mjpeg", "prores", "dnxhd")),
    "mkv": (".mkv", ("h264", "hevc", "av1", "vp9", "mpeg2", "mpeg4", "mjpeg", "prores", "dnxhd")),
    "webm": (".webm", ("av1", "vp9")),
    "avi": (".avi", ("h264", "mpeg2", "mpeg4", "mjpeg")),
    "ts": (".ts", ("h264", "hevc", "mpeg2", "mpeg4")),
    "m2ts": (".m2ts", ("h264", "hevc", "mpeg2")),
    "mpg": (".mpg", ("mpeg2", "h264")),
    "vob": (".vob", ("mpeg2",)),
    "mxf": (".mxf", ("mpeg2", "h264", "prores", "dnxhd")),
    "flv": (".flv", ("h264", "flv1")),
    "wmv": (".wmv", ("wmv2", "mpeg4")),
    "gif": (".gif", ("gif",)),
    "raw": (".h264", ("h264 4:2:0",)),
}
"""Container to its suffix and the beginnings of the codecs that it may hold."""


@dataclass(frozen=True)
class Case:
    """One file of the matrix."""

    container: str
    codec: str
    b_frames: int
    gop: int
    start: float

    def command(self, source: Path, out: Path) -> list[str]:
        """ffmpeg's command that writes it."""
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-y", "-v", "error", "-i", str(source)]
        command += [*CODECS[self.codec], "-g", str(self.gop), "-threads", "1"]
        if not self.codec.startswith(NO_B):
            command += ["-bf", str(self.b_frames)]
        if self.codec.startswith("hevc"):
            command += ["-x265-params", f"log-level=error:keyint={self.gop}:bframes={self.b_frames}:pools=none"]
        if self.container == "m2ts":
            command += ["-f", "mpegts", "-mpegts_m2ts_mode", "1"]
        if self.start:
            command += ["-output_ts_offset", str(self.start)]
        return [*command, str(out)]


def cases() -> list[Case]:
    """All combinations that make sense."""
    found = []
    for container, (_, codecs) in CONTAINERS.items():
        for codec in (c for c in CODECS if c.startswith(codecs)):
            bees = (0,) if codec.startswith(NO_B) else (0, 3)
            gops = (1,) if codec.startswith(INTRA) else (10, 300)
            starts = (0.0, 5.0) if container in ("mp4", "mkv", "ts", "mov") else (0.0,)
            found += [Case(container, codec, *rest) for rest in itertools.product(bees, gops, starts)]
    return found


def source(path: Path, frames: int) -> Path:
    """Lossless frames of rising brightness with moving noise."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 60, (SIZE[0], SIZE[1] + frames), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=RATE)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        for number in range(frames):
            image = np.repeat(noise[:, number : number + SIZE[1], None], 3, axis=2)
            image[: SIZE[0] // 2] = 20 + 200 * number // frames
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def small(luma: np.ndarray) -> np.ndarray:
    """Every fourth pixel of a picture's brightness."""
    return luma[::4, ::4].copy()


def plain(path: Path) -> list[np.ndarray]:
    """Pictures by decoding from the start, in the order in which they leave the decoder."""
    found = []
    with opened(path) as container:
        stream = video_stream(container, path)
        for packet in container.demux(stream):
            with contextlib.suppress(av.error.FFmpegError):
                found += [small(luma_of(frame)) for frame in packet.decode()]
    return found


def read(task: tuple[Clip, Segment]) -> list[tuple[int, Fraction, np.ndarray]]:
    """(index, time, picture) of a segment."""
    clip, segment = task
    return [(frame.index, frame.time, small(frame.luma)) for frame in video.decode(clip, segment)]


def differences(path: Path, wanted: int, pool: ProcessPoolExecutor) -> list[str]:
    """What is not as it should be; empty if all is."""
    shown = plain(path)
    clip = video.probe(path)
    tasks = [(clip, segment) for segment in video.segments(clip, SECONDS)]
    one = [row for task in tasks for row in read(task)]
    two = [row for rows in pool.map(read, tasks) for row in rows]
    told = []
    if len(shown) != wanted and not clip.notes:
        told.append(f"plain decoding gives {len(shown)} of {wanted} frames")
    if clip.announced != len(one) and not clip.notes:
        told.append(f"{clip.announced} announced, {len(one)} read")
    if len(one) != len(shown):
        told.append(f"curate reads {len(one)} of {len(shown)} frames")
    if any(a[:2] != b[:2] or not np.array_equal(a[2], b[2]) for a, b in zip(one, two, strict=False)):
        told.append("1 and 2 processes differ")
    if [row[0] for row in one] != list(range(len(one))):
        told.append("frames are numbered wrongly")
    wrong = sum(not np.array_equal(row[2], picture) for row, picture in zip(one, shown, strict=False))
    if wrong:
        told.append(f"{wrong} pictures differ from plain decoding")
    steps = np.diff([float(row[1]) for row in one])
    if len(steps) and np.abs(steps - 1 / RATE).max() > 0.011:  # GIF counts hundredths of a second
        told.append(f"times are off by {np.abs(steps - 1 / RATE).max():.3f} s")
    return told + rendered(path, clip, [float(row[1]) for row in one])


def rendered(path: Path, clip: Clip, times: list[float]) -> list[str]:
    """What a render of the file does not keep."""
    footage_format, line, out = check_footage(path, True), timeline(path), path.with_name("render.mp4")
    coding = coding_for(footage_format, crf=4, preset="ultrafast")
    size, middle, parts, stamps = footage_format.size, clip.frames // 2, [], []
    view = View(square=False, sdr=False, progressive=False)
    for first, end in ((0, middle), (middle, clip.frames)):
        parts.append(path.with_name(f"part-{first}.mp4"))
        with encoder(parts[-1], *size, Fraction(RATE), footage_format, coding) as write:
            for frame in video.decode(clip, video.span(clip, line, first, end), 16 if coding.deep else 8, view):
                write(frame.deep if coding.deep else frame.image)
                stamps.append(frame.pts)
    mux.mux(parts, path, out, ".mp4", stamps, "benchmark", None, size)
    made = list(video.decode(video.probe(out)))
    told = [f"the render has {len(made)} of {len(times)} frames"] if len(made) != len(times) else []
    off = [abs(float(f.time - made[0].time) - (t - times[0])) for f, t in zip(made, times, strict=False)]
    told += [f"times of the render are off by {max(off):.3f} s"] if max(off) > 0.002 else []
    pairs = zip(made, video.decode(clip), strict=False)
    noise = float(np.mean([np.abs(a.image @ LUMA - b.image @ LUMA).mean() for a, b in pairs]))
    return told + ([f"pixels of the render are off by {noise:.1f} levels"] if noise > NOISE else [])


def main() -> None:
    """Print the differences, a table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=75)
    parser.add_argument("--only", help="one container or codec")
    parser.add_argument("--part", default="1/1", help="every Mth case, from the Nth on: N/M")
    args = parser.parse_args()
    first, step = map(int, args.part.split("/"))
    began, counts, skipped = time.monotonic(), dict[str, list[int]](), 0
    with tempfile.TemporaryDirectory() as name, ProcessPoolExecutor(2) as pool:
        pictures = source(Path(name) / "source.mkv", args.frames)
        for case in [c for c in cases() if args.only in (None, c.container, c.codec)][first - 1 :: step]:
            path = Path(name) / f"clip{CONTAINERS[case.container][0]}"
            made = subprocess.run(case.command(pictures, path), capture_output=True, check=False)
            if made.returncode:
                skipped += 1
                print(f"{case}: not written by ffmpeg", flush=True)
                continue
            noted: tuple[str, ...] = ()
            try:
                noted = video.probe(path).notes
                told = differences(path, args.frames, pool)
            except FacesetError as error:
                told = [str(error)]
            for line in told:
                print(f"{case}: {line}", flush=True)
            for note in noted:
                print(f"{case}: note: {note}", flush=True)
            row = counts.setdefault(case.container, [0, 0, 0])
            counts[case.container] = [a + b for a, b in zip(row, (1, bool(told), bool(noted)), strict=True)]
    print(f"\n{'container':<10}{'files':>6}{'with a difference':>19}{'with a note':>13}")
    for container, (files, wrong, told_of) in counts.items():
        print(f"{container:<10}{files:>6}{wrong:>19}{told_of:>13}")
    files, wrong, told_of = (sum(c[i] for c in counts.values()) for i in range(3))
    result = {
        "part": args.part,
        "files": files,
        "differences": wrong,
        "notes": told_of,
        "not written by ffmpeg": skipped,
    }
    print(json.dumps({"benchmark": "containers", **result, "seconds": round(time.monotonic() - began)}))


if __name__ == "__main__":
    main()
