"""`faceset cut`: the minutes worth keeping as a timeline and as a video."""

import itertools
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import av
import imageio_ffmpeg
import pandas as pd
import pytest

from curate.dataset.faceset import Faceset, create
from curate.errors import FacesetError, FootageError, UsageError
from curate.exchange import cutlist
from curate.footage.video import probe
from curate.schema import table_schema
from curate.settings import Settings
from curate.types import Subject
from tests.curate.select.test_keep import film
from tests.tables import write_rows

SECONDS, FPS = 8, 25


def video(path: Path, size: str, sound: bool) -> Path:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-f", "lavfi", "-i"]
    command += [f"testsrc=d={SECONDS}:r={FPS}:s={size}"]
    command += ["-f", "lavfi", "-i", f"sine=d={SECONDS}", "-c:a", "aac"] if sound else []
    subprocess.run([*command, "-c:v", "libx264", "-pix_fmt", "yuv420p", str(path)], check=True)
    return path


@pytest.fixture(scope="module")
def faceset(tmp_path_factory) -> Faceset:
    """Two clips, of which the second half rests; one has sound."""
    folder = tmp_path_factory.mktemp("cut")
    found = create(folder / "set", Subject("A", "self"), Settings())
    names = (("a", "64x48", True), ("b", "48x64", False))
    clips = tuple(probe(video(folder / f"{n}.mp4", size, sound), name=n) for n, size, sound in names)
    found = found.changed(clips=clips)
    rows = [film(SECONDS, i, FPS, name=c.name, still=SECONDS / 2, yaw=40 * i) for i, c in enumerate(clips)]
    table = pd.concat(rows, ignore_index=True).assign(status="ok")
    write_rows(found, table.assign(**{n: None for n in table_schema().names if n not in table}))
    return found


def test_the_three_formats_hold_the_same_cuts(faceset, tmp_path) -> None:
    said = {e: cutlist.write(faceset, tmp_path / f"keep.{e}") for e in ("otio", "edl", "mp4")}
    cuts, minutes = said["otio"]["cuts"], said["otio"]["keep_minutes"]
    assert cuts >= 2 and 0.4 * 16 < 60 * minutes < 0.75 * 16
    assert all((s["cuts"], s["keep_minutes"]) == (cuts, minutes) for s in said.values())

    timeline = json.loads((tmp_path / "keep.otio").read_text())
    clips = timeline["tracks"]["children"][0]["children"]
    lengths = [c["source_range"]["duration"]["value"] / c["source_range"]["duration"]["rate"] for c in clips]
    assert len(clips) == cuts and sum(lengths) == pytest.approx(60 * minutes, abs=0.01)
    url = clips[0]["media_references"]["DEFAULT_MEDIA"]["target_url"]
    assert url == Path(faceset.clips[0].path).as_uri()

    events = [line.split() for line in (tmp_path / "keep.edl").read_text().splitlines() if " V " in line]
    assert len(events) == cuts and [e[0] for e in events] == [f"{i + 1:03d}" for i in range(cuts)]
    assert all(a[7] == b[6] for a, b in itertools.pairwise(events)), "records follow each other"
    hours, mins, secs, frames = map(int, events[-1][7].split(":"))
    assert hours == mins == 0 and secs + frames / FPS == pytest.approx(60 * minutes, abs=0.05)

    with av.open(str(tmp_path / "keep.mp4")) as container:
        pictures = sum(1 for _ in container.decode(video=0))
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (64, 48) and len(container.streams.audio) == 1
    assert pictures / FPS == pytest.approx(60 * minutes, abs=0.05)


def test_opentimelineio_opens_it(faceset, tmp_path) -> None:
    otio = pytest.importorskip("opentimelineio")
    said = cutlist.write(faceset, tmp_path / "keep.otio")
    timeline = otio.adapters.read_from_file(str(tmp_path / "keep.otio"))
    assert len(list(timeline.find_clips())) == said["cuts"]
    assert timeline.duration().to_seconds() == pytest.approx(60 * said["keep_minutes"], abs=0.02)


def test_for_a_target_what_it_needs(faceset, tmp_path) -> None:
    target = create(tmp_path / "target", Subject("B", "self"), Settings())
    table = film(4, 1, FPS, name="t", yaw=40).assign(status="ok")
    write_rows(target, table.assign(**{n: None for n in table_schema().names if n not in table}))
    cutlist.write(faceset, tmp_path / "keep.otio", target)
    text = (tmp_path / "keep.otio").read_text()
    assert "b.mp4" in text and "a.mp4" not in text


def test_a_timeline_of_changed_footage_warns(faceset, tmp_path, caplog) -> None:
    cutlist.write(faceset, tmp_path / "as-it-is.otio")
    assert not caplog.records
    other = faceset.changed(clips=tuple(replace(clip, size=clip.size + 1) for clip in faceset.clips))
    cutlist.write(other, tmp_path / "changed.otio")
    assert "is another file than the one that the faceset knows" in caplog.text


def test_wrong_calls_lose_nothing(faceset, tmp_path) -> None:
    with pytest.raises(UsageError, match=r"keep\.mov: must end in .otio, .edl, .mp4"):
        cutlist.write(faceset, tmp_path / "keep.mov")
    there = tmp_path / "keep.otio"
    there.write_text("mine")
    with pytest.raises(UsageError, match="--force"):
        cutlist.write(faceset, there)
    assert there.read_text() == "mine"
    cutlist.write(faceset, there, force=True)
    assert there.read_text() != "mine"
    away = Path(faceset.clips[0].path)
    whole = away.read_bytes()
    away.write_bytes(whole[:-9] + b"different")
    try:
        with pytest.raises(FootageError, match=r"a\.mp4: is another file than the one that the faceset knows"):
            cutlist.write(faceset, tmp_path / "changed.mp4")
    finally:
        away.write_bytes(whole)
    assert not (tmp_path / "changed.mp4").exists()
    away.rename(away.with_suffix(".away"))
    try:
        with pytest.raises(FootageError, match=r"a\.mp4: the footage is not there"):
            cutlist.write(faceset, tmp_path / "gone.mp4")
    finally:
        away.with_suffix(".away").rename(away)
    assert not (tmp_path / "gone.mp4").exists() and not list(tmp_path.glob(".cut-*"))


def test_photos_alone_are_told_in_one_line(faceset, tmp_path) -> None:
    still = faceset.changed(clips=tuple(replace(clip, fps=0.0) for clip in faceset.clips))
    with pytest.raises(FacesetError, match="contains photos only"):
        cutlist.write(still, tmp_path / "keep.otio")


@pytest.mark.parametrize(
    ("path", "address"),
    [("s3://bucket/a b.mp4", "s3://bucket/a b.mp4"), ("takes/a b.mp4", "takes/a%20b.mp4"), ("/x/a b.mp4", "file:///x/a%20b.mp4")],
)  # fmt: skip
def test_the_timeline_names_remote_and_relative_footage(faceset, tmp_path, path, address) -> None:
    moved = faceset.changed(clips=tuple(replace(clip, path=path) for clip in faceset.clips))
    cutlist.write(moved, tmp_path / "keep.otio")
    assert f'"target_url": "{address}"' in (tmp_path / "keep.otio").read_text()


def test_names_add_no_event_to_a_list(faceset, tmp_path) -> None:
    hostile = faceset.changed(clips=tuple(replace(c, path="a\nM2 X 1\x1b[2J.mp4") for c in faceset.clips))
    cutlist.write(hostile, tmp_path / "keep.edl")
    text = (tmp_path / "keep.edl").read_text()
    assert "\x1b" not in text and "\nM2" not in text and "a\\nM2 X 1\\x1b[2J.mp4" in text


def test_a_cut_never_replaces_the_footage(faceset, tmp_path) -> None:
    clip = Path(faceset.clips[0].path)
    link = tmp_path / "link.mp4"
    link.hardlink_to(clip)
    before = clip.read_bytes()
    for out in (clip, link):
        with pytest.raises(UsageError, match="is the footage itself"):
            cutlist.write(faceset, out, force=True)
    assert clip.read_bytes() == before
