"""The minutes worth keeping as one video with sound, cut out of the footage and encoded again (H.264, AAC)."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from curate.errors import FootageError, WorkError
from curate.exchange.timeline import Cut
from curate.footage.source import verified
from curate.runtime.files import atomic
from curate.types import Progress, no_progress

QUALITY = 16
"""Constant rate factor: visually lossless."""
SOUND = 48_000


def check_footage(cuts: Sequence[Cut]) -> None:
    """Raise FootageError where a clip of the cuts is gone, or is another file than the faceset knows."""
    for clip in {cut.clip.path: cut.clip for cut in cuts}.values():
        if not Path(clip.path).is_file():
            raise FootageError(f"{clip.path}: the footage is not there; put it back, or write .otio or .edl")
        verified(clip)


def write_mp4(out: Path, cuts: Sequence[Cut], progress: Progress = no_progress) -> None:
    """One video of the cuts, in size and frame rate of the first clip; silence where a clip has no sound.

    Raises WorkError where a clip cannot be decoded.
    """
    import imageio_ffmpeg

    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    sound = any(cut.clip.audio for cut in cuts)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".cut-") as folder:
        pieces = []
        for number, cut in enumerate(cuts):
            pieces.append(Path(folder) / f"{number:06d}.mkv")
            _run(_piece(ffmpeg, cut, cuts[0], sound, pieces[-1]), cut.clip.path)
            progress("cut", number + 1, len(cuts))
        listed = Path(folder) / "list.txt"
        listed.write_text("".join(f"file '{piece.name}'\n" for piece in pieces), encoding="utf-8")
        with atomic(out) as temporary:
            joined = [ffmpeg, "-v", "error", "-y", "-f", "concat", "-safe", "0", "-i", str(listed), "-c:v", "copy"]
            joined += ["-c:a", "aac", "-b:a", "192k"] if sound else []
            _run([*joined, "-movflags", "+faststart", "-f", "mp4", str(temporary)], str(out))


def _piece(ffmpeg: str, cut: Cut, first: Cut, sound: bool, out: Path) -> list[str]:
    """The command that encodes one cut as a file of its own."""
    width, height = (v // 2 * 2 for v in (first.clip.width, first.clip.height))
    scale = f"scale={width}:{height}:force_original_aspect_ratio=decrease,pad={width}:{height}:(ow-iw)/2:(oh-ih)/2"
    frames = max(round(cut.seconds * first.clip.fps), 1)
    look = f"fps={first.clip.fps:.6f},{scale},setsar=1,tpad=stop_mode=clone:stop_duration=1"
    command = [ffmpeg, "-v", "error", "-y", "-ss", f"{cut.first / cut.clip.fps:.6f}", "-i", cut.clip.path]
    if sound and not cut.clip.audio:
        command += ["-f", "lavfi", "-i", f"anullsrc=r={SOUND}:cl=stereo"]
    command += ["-map", "0:v:0", "-vf", look, "-frames:v", str(frames), "-c:v", "libx264", "-crf", str(QUALITY)]
    command += ["-pix_fmt", "yuv420p"]
    if sound:
        length = frames / first.clip.fps
        command += ["-map", "0:a:0" if cut.clip.audio else "1:a:0", "-af", f"apad,atrim=0:{length:.6f}"]
        command += ["-c:a", "pcm_s16le", "-ar", str(SOUND), "-ac", "2"]
    return [*command, str(out)]


def _run(command: Sequence[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise WorkError(f"{what}: ffmpeg could not cut it ({said}): the file may be damaged")
