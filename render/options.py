"""Options of a render, apart from the run, the footage and the output's name. Light, so that `--help` is quick."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from curate.errors import UsageError
from curate.options import check, option
from render.compositing.settings import RenderSettings


@dataclass(frozen=True)
class RenderOptions:
    """Everything `faceset render` can be given; raises UsageError that names the flag."""

    settings: RenderSettings = field(default_factory=RenderSettings)
    mend: bool = option(False, "Composite faulty passages again with better settings.", bare=True)
    stretches: Path | None = option(None, "Other settings for some passages; --mend writes such a file.",
                                    flag="--settings", metavar="FILE")  # fmt: skip
    span: str | None = option(None, "Render only this part of the footage, such as 00:10-01:20.",
                              flag="--range", metavar="START-END")  # fmt: skip
    codec: str = option("h264", "Codec; ProRes needs a .mov output.", choices="render.output.coding:ENCODERS")
    bits: int = option(0, "Bits per colour component; 0: as in the footage.", choices=(0, 8, 10))
    crf: int = option(18, "Quality of H.264 and H.265, 0 to 51; lower is better.", low=0, high=51)
    preset: str = option(
        "medium", "Encoder preset; slower presets give smaller files.", choices="render.output.coding:PRESETS"
    )
    frames: Path | None = option(None, "Also write every frame as a picture to this folder.", metavar="DIR")
    frames_as: str = option("png", "Format of the pictures; exr is linear light.", choices=("png", "exr"),
                            needs="frames")  # fmt: skip
    alpha: bool = option(False, "Write the face alone, unmixed, with its matte as alpha.", bare=True, needs="frames")
    layers: bool = option(False, "Write EXR with all layers: result, face, plate, matte, ST map.", bare=True,
                          needs="frames")  # fmt: skip
    exr_space: str = option("rec709", "Colour space of EXR: scene-linear Rec.709 or ACES2065-1.",
                            choices=("rec709", "aces"), needs="frames")  # fmt: skip
    tracking: Path | None = option(None, "Also write head pose (.chan, CSV) and points (CSV) here.", metavar="DIR")
    masks: Path | None = option(None, "Also write every mask as a 16-bit PNG to this folder.", metavar="DIR")
    allow_hdr: bool = option(False, "Render HDR footage anyway, keeping its tags.", bare=True)
    tonemap: bool = option(False, "Render HDR footage (PQ, HLG) as SDR, BT.709 (ITU-R BT.2446).", bare=True)
    lut: Path | None = option(None, "Colour table (.cube) for log footage; the render is graded, BT.709.",
                              metavar="FILE")  # fmt: skip
    deinterlace: bool = option(False, "Render interlaced footage as progressive frames.", bare=True)
    key: Path | None = option(None, "Your signing key (PEM, PKCS#8, ES256).")
    cert: Path | None = option(None, "The certificate chain of --key (PEM).")
    tsa: str | None = option(None, "Time-stamp authority (RFC 3161); uses the network.", metavar="URL")
    device: str = option("auto", "Device; auto uses a GPU if there is one.",
                         suggestions=("auto", "cpu", "cuda"))  # fmt: skip
    workers: int = option(0, "Number of processes; 0: one per core.", low=0)
    engine: str = option("local", "local processes, or ray (RAY_ADDRESS, or a cluster on this machine).",
                         choices="curate.runtime.jobs:ENGINES")  # fmt: skip
    gpus: float = option(0.25, "With --engine ray: GPUs per worker, if the cluster has any.", low=0, high=64)
    force: bool = option(False, "Overwrite existing output.", bare=True)

    def __post_init__(self) -> None:
        check(self)
        if self.frames_as != "exr" and (self.layers or self.exr_space != "rec709"):
            raise UsageError(f"--{'layers' if self.layers else 'exr-space'}: needs --frames-as exr")
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", self.device):
            raise UsageError(f"--device {self.device}: must be auto, cpu, mps, cuda, or one of several GPUs, as cuda:1")
        if self.tsa is not None and not re.match(r"https?://[^/\s]", self.tsa):
            raise UsageError(
                f"--tsa {self.tsa}: is not the address of a time-stamp authority; it must start with http:// or https://"
            )
        if self.tonemap and self.allow_hdr:
            raise UsageError("--tonemap and --allow-hdr: give one of them")
        if self.lut is not None and (self.tonemap or self.allow_hdr):
            raise UsageError("--lut: already maps the footage to SDR; leave --tonemap and --allow-hdr out")
