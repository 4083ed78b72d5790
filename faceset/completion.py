"""The values that a shell completes. Literals, so that the command line stays light; a test compares them with what
checks the flags."""

from __future__ import annotations

from collections.abc import Callable

VALUES: dict[str, tuple[str, ...]] = {
    "arch": ("df", "liae"),
    "basis": ("self", "release", "public-domain", "research"),
    "budget": ("auto", "200", "9min"),
    "codec": ("h264", "h265", "prores", "prores4444"),
    "coding-preset": (
        "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow",
    ),
    "cover": ("space", "footage", "target"),
    "detector": ("litert", "dlib", "face-alignment"),
    "device": ("auto", "cpu", "cuda", "mps"),
    "engine": ("local", "ray"),
    "every": ("auto",),
    "export-format": ("dfl", "faceswap", "folder", "webdataset"),
    "flip": ("off", "auto", "all"),
    "framing": ("face", "full", "head"),
    "identifier": ("dlib",),
    "import-format": ("dfl", "faceswap", "folder"),
    "keep": ("eyes", "mouth", "eyes,mouth"),
    "landmarker": ("litert", "face-alignment", "face-alignment-2d"),
    "precision": ("auto", "fp32", "bf16", "fp16"),
    "preset": ("tiny", "small", "full"),
    "sampling": ("cluster", "uniform"),
    "stop": ("steps", "auto"),
}  # fmt: skip


def values(name: str) -> Callable[[str], list[str]]:
    """What completes an option: those of its values that begin with what is written."""

    def complete(incomplete: str) -> list[str]:
        return [value for value in VALUES[name] if value.startswith(incomplete)]

    return complete
