"""What a training can be told, as one frozen dataclass, and the three presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from curate.errors import UsageError
from curate.records import record

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
SAMPLINGS = ("cluster", "uniform")
ARCHES = ("df", "liae")
STOPS = ("steps", "auto")
FLIPS = ("off", "auto", "all")

# Field: (lowest, highest) value that makes sense.
RANGES: dict[str, tuple[float, float]] = {
    "encoder_width": (4, 1024),
    "decoder_width": (4, 1024),
    "latent": (8, 8192),
    "residuals": (0, 8),
    "steps": (1, 100_000_000),
    "batch": (1, 65_536),
    "accumulate": (1, 65_536),
    "lr": (1e-8, 1),
    "final_lr": (0, 1),
    "warmup": (0, 1_000_000),
    "weight_decay": (0, 1),
    "clip": (1e-6, 1e6),
    "ema": (0, 0.99999),
    "seed": (0, 2**63 - 1),
    "save_every": (1, 100_000_000),
    "keep": (1, 10_000),
    "preview_every": (0, 100_000_000),
    "log_every": (1, 1_000_000),
    "price": (0, 1e6),
    "identity": (0, 10_000),
    "held_out": (0.01, 0.5),
    "guard": (0, 3600),
    "warp": (0, 0.2),
    "rotate": (0, 180),
    "zoom": (0, 0.5),
    "shift": (0, 0.5),
    "light": (0, 1),
    "colour": (0, 1),
    "blur": (0, 0.05),
    "compress": (0, 1),
    "degrade": (0, 1),
    "l1_weight": (0, 1e3),
    "ssim_weight": (0, 1e3),
    "mask_weight": (0, 1e3),
    "perceptual_weight": (0, 1e3),
    "adversarial_weight": (0, 1e3),
    "background": (0, 1),
}
# What may not differ when a run goes on: the network's shape, and what decides which faces it never sees.
FIXED_ON_RESUME = ("arch", "size", "encoder_width", "decoder_width", "latent", "residuals", "held_out", "guard", "seed")


def flag(field: str) -> str:
    """The command line's name of a field: save_every -> --save-every."""
    return "--" + field.replace("_", "-")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a training does. The defaults are the preset `small`."""

    preset: str = "small"
    arch: str = "df"
    """df: a decoder for each face; liae: one for both, takes over more of the target's light; see train/model.py."""
    size: int = 128
    """Side of the crops that the network reads and writes, pixels: 64, 128, 256 or 512."""
    encoder_width: int = 48
    """Channels after the encoder's first layer; they double with every halving, up to eight times."""
    decoder_width: int = 48
    """Channels of the decoder at half the output's size; they double with every halving, up to eight times."""
    latent: int = 512
    """Numbers in the bottleneck that both faces share; liae has a second one of the same size for the target."""
    residuals: int = 1
    """Residual blocks at each size of a decoder but the largest."""

    steps: int = 100_000
    """Optimiser steps of the whole run."""
    batch: int = 16
    """Faces of each side per step and process."""
    accumulate: int = 1
    """Passes in which a process does its batch: the same result in less memory."""
    lr: float = 2e-4
    """Highest learning rate."""
    final_lr: float = 0.05
    """Rate at the last step as a share of `lr`; between them half a cosine."""
    warmup: int = 500
    """Steps in which the rate rises from 0 to `lr`."""
    weight_decay: float = 1e-4
    clip: float = 1.0
    """Largest norm of the gradient; a longer one is shortened to it."""
    ema: float = 0.999
    """Decay of the running mean of the weights, which is what is kept in the end; 0 keeps the last weights."""
    seed: int = 0

    save_every: int = 2000
    """Steps between checkpoints."""
    keep: int = 3
    """Checkpoints that stay on disk."""
    preview_every: int = 1000
    """Steps between preview sheets and held-out figures; 0: only at the end."""
    log_every: int = 50
    """Steps between lines of the log."""
    device: str = "auto"
    """auto, cpu, cuda or mps; auto takes a GPU where there is one."""
    precision: str = "auto"
    """auto, fp32, bf16 or fp16; auto is bf16 on CUDA and fp32 elsewhere."""
    compile: bool = False
    """Compile the network (torch.compile): minutes at the start, faster steps on a GPU."""
    stop: str = "steps"
    """steps: after `steps`; auto: when held-out quality has stopped rising, after a cool-down, `steps` at most."""
    price: float = 0.0
    """Money for one device (GPU, or CPU process) for one hour."""
    identity: int = 24
    """Held-out swaps whose identity is read at each measurement; 0: none."""

    held_out: float = 0.1
    """Share of each side's faces that is never trained on."""
    guard: float = 0.5
    """Seconds around held-out faces whose faces are used for neither."""
    sampling: str = "cluster"
    """cluster: every cluster of the selection is seen equally often; uniform: every face is."""

    warp: float = 0.03
    """Jitter (standard deviation) of the 5x5 warp grid as a share of the crop."""
    rotate: float = 8.0
    """Largest random turn, degrees."""
    zoom: float = 0.05
    """Largest random zoom, share."""
    shift: float = 0.04
    """Largest random shift, share of the crop."""
    flip: str = "off"
    """Mirror half of the faces: off, auto (of those whose light comes from about the front) or all. A mirrored face is
    another face, and its light comes from the other side."""
    light: float = 0.1
    """Largest change of exposure and contrast, share."""
    colour: float = 0.04
    """Largest change of each channel's gain, share."""
    blur: float = 0.006
    """Largest blur of what is read (standard deviation) as a share of the crop, .8 px of 128; 0: never. More for a side
    that is sharper than the target's footage, see `train.data.matched`."""
    compress: float = 0.3
    """Strongest compression of what is read, 0 (none) to 1: JPEG of the quality 100 (1 - compress), at least 1; raised
    likewise."""
    degrade: float = 0.5
    """Share of the faces that are read blurred and compressed."""

    l1_weight: float = 1.0
    ssim_weight: float = 1.0
    """Weight of DSSIM = (1 - SSIM) / 2."""
    mask_weight: float = 0.1
    perceptual_weight: float = 0.0
    """Weight of the L1 between Laplacian pyramids, see `train.loss.pyramid`; 0 leaves it out."""
    adversarial_weight: float = 0.0
    """Weight of the discriminators' verdict, see train/adversary.py; 0 leaves them out."""
    background: float = 0.3
    """Weight of a pixel outside the face's mask in L1, DSSIM and pyramids; inside it is 1."""

    def __post_init__(self) -> None:
        for field, (low, high) in RANGES.items():
            value = getattr(self, field)
            if not low <= value <= high:
                raise UsageError(f"{flag(field)} {value}: must be {low:g} to {high:g}")
        for field, allowed in (
            ("arch", ARCHES),
            ("size", (64, 128, 256, 512)),
            ("device", DEVICES),
            ("precision", PRECISIONS),
            ("sampling", SAMPLINGS),
            ("stop", STOPS),
            ("flip", FLIPS),
        ):
            value = getattr(self, field)
            if value not in allowed:
                raise UsageError(f"{flag(field)} {value}: must be one of {', '.join(map(str, allowed))}")

        if self.batch % self.accumulate:
            raise UsageError(f"--accumulate {self.accumulate}: must divide --batch {self.batch}")

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


PRESETS: dict[str, TrainConfig] = {
    "tiny": TrainConfig(
        preset="tiny",
        size=64,
        encoder_width=24,
        decoder_width=24,
        latent=256,
        steps=1500,
        lr=2e-3,
        warmup=50,
        ema=0.99,
        rotate=4.0,
        zoom=0.03,
        shift=0.02,
        save_every=500,
        preview_every=500,
        log_every=25,
    ),
    "small": TrainConfig(),
    "full": TrainConfig(
        preset="full",
        size=256,
        encoder_width=64,
        decoder_width=64,
        latent=1024,
        residuals=2,
        steps=300_000,
        batch=8,
        lr=1e-4,
        warmup=1000,
        ema=0.9995,
        save_every=5000,
        preview_every=2500,
    ),
}


def config_of(preset: str = "small", **flags: Any) -> TrainConfig:
    """The preset with the given fields replaced; None leaves a field alone. Raises UsageError that names the flag."""
    if preset not in PRESETS:
        raise UsageError(f"--preset {preset}: must be one of {', '.join(PRESETS)}")
    return replace(PRESETS[preset], **{k: v for k, v in flags.items() if v is not None})


def from_json(values: Mapping[str, Any]) -> TrainConfig:
    """The inverse of `to_json`; fields of another version of faceset are left out.

    A run from before `blur` and `compress` resumes without them; its `flip` was true or false.
    """
    known = {f.name for f in fields(TrainConfig)}
    found = {"blur": 0.0, "compress": 0.0} | {k: v for k, v in values.items() if k in known}
    if isinstance(found.get("flip"), bool):
        found["flip"] = "all" if found["flip"] else "off"
    return record(TrainConfig, found)


def check_resume(begun: TrainConfig, asked: TrainConfig) -> tuple[str, ...]:
    """Names of the fields that change when a run is resumed; raises UsageError for one that must not change."""
    changed = [f.name for f in fields(TrainConfig) if getattr(begun, f.name) != getattr(asked, f.name)]
    for name in changed:
        if name in FIXED_ON_RESUME:
            was, now = getattr(begun, name), getattr(asked, name)
            raise UsageError(
                f"--resume: the run was started with {flag(name)} {was}, not {now}: leave it out or start a new run"
            )
    return tuple(changed)


def same_encoder(one: TrainConfig, other: TrainConfig) -> bool:
    """Whether the weights of one's encoder fit the other's."""
    shape = ("arch", "size", "encoder_width", "decoder_width", "latent")
    return all(getattr(one, name) == getattr(other, name) for name in shape)
