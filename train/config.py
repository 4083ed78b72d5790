"""Options of training, as one frozen dataclass, and the presets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from curate.errors import UsageError
from curate.options import check, option, option_of
from curate.records import record

# What may not differ when a run is resumed: the network's shape, and what decides which faces it never sees.
FIXED_ON_RESUME = ("arch", "size", "encoder_width", "decoder_width", "latent", "residuals", "drive", "picture_share",
                   "modulation", "base", "head", "grown", "held_out", "guard", "seed")  # fmt: skip

BEFORE = {"blur": 0.0, "compress": 0.0, "drive": "picture", "eyes_weight": 1.0, "mouth_weight": 1.0, "phases": 0.0,
          "ssim_windows": "one"}  # fmt: skip
"""Values with which a run from before these fields was trained."""

SIZES = (64, 128, 256, 384, 512)
"""Sides of the crops that a network reads and writes, pixels."""
GROWN_AT_MOST = 3


def _batch(text: str) -> int:
    """Batch size on the command line: a number above 0, or auto, which is 0. Raises UsageError."""
    if text == "auto":
        return 0
    if not text.isdecimal() or not int(text):
        raise UsageError(f"--batch {text}: must be a number from 1 to 65,536, or auto")
    return int(text)


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides how a training runs. The defaults are the preset `small`."""

    preset: str = option("small", "Base settings: 64, 128, 256, 384 or 512 px.",
                         choices=("tiny", "small", "full", "large", "film"))  # fmt: skip
    arch: str = option("df", "df (one decoder per face) or liae (one shared decoder).", choices=("df", "liae"))
    """liae takes over more of the target's light; see train/model.py."""
    size: int = option(128, "Side of the crops that the network reads and writes, in pixels.",
                       choices=SIZES)  # fmt: skip
    encoder_width: int = option(48, "Channels after the encoder's first layer.", low=4, high=1024)
    """They double with every halving, up to eight times."""
    decoder_width: int = option(48, "Channels of the decoder at half the output size.", low=4, high=1024)
    """They double with every halving, up to eight times."""
    latent: int = option(512, "Values in the bottleneck that both faces share.", low=8, high=8192)
    """liae has a second one of the same size for the target."""
    base: int = option(0, "Side of the smallest feature map; 0: size / 32, at least 4.", choices=(0, 4, 6, 8, 12, 16))
    """A smaller one makes the bottleneck smaller and the network deeper."""
    head: str = option("full", "Last decoder layer: at full size, or at half size with pixel shuffle.",
                       choices=("full", "shuffle"))  # fmt: skip
    """shuffle: no feature map of the full size, which takes most of the memory at 512 px."""
    residuals: int = option(1, "Residual blocks at each decoder size except the largest.", low=0, high=8)
    grown: int = 0
    """Finest levels that `--grow` added, each of twice the size; widths and base are of the network without them."""

    drive: str = option("outlines", "What drives the swap: outlines of eyes and mouth, scores, or only the picture.",
                        choices=("outlines", "scores", "picture"))  # fmt: skip
    """See train/outlines.py and train/drive.py."""
    picture_share: float = option(0.1875, "Fraction of the bottleneck read from the crop, with --drive scores.",
                                  low=0.01, high=0.99)  # fmt: skip
    picture_dropout: float = option(0.5, "Fraction of faces drawn from their scores alone, with --drive scores.",
                                    low=0, high=1)  # fmt: skip
    modulation: bool = option(False, "Let scores also scale and shift each decoder level, with --drive scores.")

    gains: str = option("fit", "Size of drawn movements: fit (so that swaps move as far as the target) or off.",
                        choices=("fit", "off"))  # fmt: skip

    steps: int = option(100_000, "Optimiser steps of the whole run.", low=1, high=100_000_000)
    batch: int = option(16, "Batch size per side and process; auto: the largest that fits in memory.", low=0,
                        high=65_536, metavar="N|auto", suggestions=("auto",), parse=_batch)  # fmt: skip
    """0: auto, which `train.room.choose` replaces before the first step."""
    accumulate: int = option(1, "Gradient accumulation steps (saves memory).", low=1, high=65_536)
    lr: float = option(2e-4, "Peak learning rate.", low=1e-8, high=1)
    final_lr: float = option(0.05, "Learning rate at the last step, as a fraction of --lr.", low=0, high=1)
    """Half a cosine lies between them."""
    warmup: int = option(500, "Steps in which the learning rate rises from 0 to --lr.", low=0, high=1_000_000)
    weight_decay: float = option(1e-4, "Weight decay of AdamW.", low=0, high=1)
    clip: float = option(1.0, "Maximum gradient norm; longer gradients are scaled down.", low=1e-6, high=1e6)
    ema: float = option(0.999, "Decay of the averaged weights that are saved; 0 saves the last weights.",
                        low=0, high=0.99999)  # fmt: skip
    seed: int = option(0, "Random seed.", low=0, high=2**63 - 1)

    save_every: int = option(2000, "Steps between checkpoints.", low=1, high=100_000_000)
    keep: int = option(3, "Number of checkpoints kept on disk.", low=1, high=10_000)
    preview_every: int = option(1000, "Steps between evaluations and previews; 0: only at the end.",
                                low=0, high=100_000_000)  # fmt: skip
    evaluate: str = option("auto", "Evaluate in this process, or apart in one of its own; auto: apart on CUDA.",
                           choices=("auto", "here", "apart"))  # fmt: skip
    """See train/evaluations.py."""
    evaluate_seconds: float = option(30.0, "Least time between evaluations that are made apart, in seconds.", low=0,
                                     high=86_400)  # fmt: skip
    """Also left out is what falls due while another one runs, unless `stop` is auto, and never the last one."""
    log_every: int = option(50, "Steps between lines of the log.", low=1, high=1_000_000)
    device: str = option("auto", "Device; auto uses a GPU if there is one.", choices=("auto", "cpu", "cuda", "mps"))
    precision: str = option("auto", "Precision; auto is bf16 on CUDA and fp32 elsewhere.",
                            choices=("auto", "fp32", "bf16", "fp16"))  # fmt: skip
    gradients: str = option("auto", "Gradients between processes; auto is bf16 with bf16, fp32 otherwise.",
                            choices=("auto", "fp32", "bf16"))  # fmt: skip
    compile: str = option("auto", "Compile the network; auto: on CUDA, if at least 50,000 steps are left.",
                          choices=("auto", "on", "off"))  # fmt: skip
    """See train/compiling.py."""
    stop: str = option("steps", "steps: after --steps; auto: when held-out quality stops rising.",
                       choices=("steps", "auto"))  # fmt: skip
    """auto: after a cool-down, `steps` at most."""
    phases: float = option(0.0, "Last fraction of the run, without warp but with the adversarial loss; 0: none.",
                           low=0, high=0.9)  # fmt: skip
    """Give it again with --resume to enter the last phase earlier. With --stop auto the cool-down is the last phase."""
    price: float = option(0.0, "Price per device-hour; the run then reports its cost.", low=0, high=1e6)
    identity: int = option(24, "Held-out swaps per identity evaluation; 0: none.", low=0, high=10_000)
    performance: int = option(96, "Held-out swaps per evaluation of the performance; 0: none.", low=0, high=10_000)
    """See train/performance.py."""

    held_out: float = option(0.1, "Fraction of each side's faces held out for evaluation.", low=0.01, high=0.5)
    guard: float = option(0.5, "Gap around held-out faces, in seconds.", low=0, high=3600)
    """Faces in it are used for neither."""
    sampling: str = option("cluster", "Draw clusters or faces (uniform) equally often, or as the target needs (gaps).",
                           choices=("cluster", "uniform", "gaps"))  # fmt: skip
    """gaps: see train/gaps.py."""

    warp: float = option(0.03, "Random warp (augmentation), as a fraction of crop size.", low=0, high=0.2)
    """Standard deviation of the jitter of a 5x5 grid."""
    rotate: float = option(8.0, "Maximum random rotation (augmentation), in degrees.", low=0, high=180)
    zoom: float = option(0.05, "Maximum random zoom (augmentation), as a fraction.", low=0, high=0.5)
    shift: float = option(0.04, "Maximum random shift (augmentation), as a fraction of crop size.", low=0, high=0.5)
    flip: str = option("off", "Mirror half of the faces: off, auto (only frontally lit ones) or all.",
                       choices=("off", "auto", "all"))  # fmt: skip
    """A mirrored face is another face, and its light comes from the other side."""
    light: float = option(0.1, "Maximum change of exposure and contrast (augmentation), as a fraction.",
                          low=0, high=1)  # fmt: skip
    colour: float = option(0.04, "Maximum gain per colour channel (augmentation), as a fraction.", low=0, high=1)
    tint: float = option(0.0, "Fraction of the source's faces that get a target face's colours (augmentation).",
                         low=0, high=1)  # fmt: skip
    """See train/tint.py."""
    blur: float = option(0.006, "Maximum input blur (augmentation), as a fraction of crop size; 0: none.",
                         low=0, high=0.05)  # fmt: skip
    """Standard deviation. More for a side that is sharper than the target's footage, see `train.data.matched`."""
    compress: float = option(0.3, "Maximum input compression (augmentation), 0 (none) to 1.", low=0, high=1)
    """JPEG of the quality 100 (1 - compress), at least 1; raised like `blur`."""
    degrade: float = option(0.5, "Fraction of inputs that are blurred and compressed.", low=0, high=1)

    l1_weight: float = option(1.0, "Weight of the L1 loss.", low=0, high=1e3)
    ssim_weight: float = option(1.0, "Weight of the DSSIM loss, (1 - SSIM) / 2.", low=0, high=1e3)
    ssim_windows: str = option("one", "Windows of the DSSIM loss: one (11 px) or two (1/11.6 and 1/23.2 of the size).",
                               choices=("one", "two"))  # fmt: skip
    mask_weight: float = option(0.1, "Weight of the mask loss.", low=0, high=1e3)
    perceptual_weight: float = option(0.0, "Weight of the L1 loss on Laplacian pyramids; 0: none.", low=0, high=1e3)
    """See `train.loss.pyramid`."""
    adversarial_weight: float = option(0.0, "Adversarial loss weight; 0: no discriminators.", low=0, high=1e3)
    """See train/adversary.py."""
    eyes_weight: float = option(3.0, "Loss weight of the eyes; the rest of the face has 1.", low=1, high=11)
    mouth_weight: float = option(2.0, "Loss weight of the mouth; the rest of the face has 1.", low=1, high=11)
    """Both in L1, DSSIM and pyramids; see train/emphasis.py."""
    background: float = option(0.3, "Loss weight of pixels outside the face mask; inside it is 1.", low=0, high=1)
    """In L1, DSSIM and pyramids."""

    def __post_init__(self) -> None:
        check(self)
        if not 0 <= self.grown <= GROWN_AT_MOST or self.core not in SIZES:
            raise UsageError(f"--grow: a network of {self.size} px cannot have been grown {self.grown} times")
        if not self.l1_weight + self.ssim_weight + self.perceptual_weight:
            raise UsageError("--l1-weight, --ssim-weight and --perceptual-weight are all 0: set at least one above 0")
        if self.base and not math.log2(self.core / self.base).is_integer():
            raise UsageError(f"--base {self.base}: --size {self.size} must be the base times a power of 2")
        if self.batch % self.accumulate:
            raise UsageError(f"--accumulate {self.accumulate}: must divide --batch {self.batch}")

    @property
    def core(self) -> int:
        """Side of the crops of the network without the levels that were added by `--grow`, pixels."""
        return self.size >> self.grown

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
    "large": TrainConfig(
        preset="large",
        size=384,
        base=6,
        head="shuffle",
        encoder_width=64,
        decoder_width=64,
        latent=1024,
        residuals=2,
        steps=400_000,
        batch=8,
        lr=1e-4,
        warmup=1000,
        ema=0.9995,
        save_every=5000,
        preview_every=2500,
    ),
    "film": TrainConfig(
        preset="film",
        size=512,
        base=8,
        head="shuffle",
        encoder_width=64,
        decoder_width=64,
        latent=1024,
        residuals=2,
        steps=500_000,
        batch=8,
        accumulate=2,
        lr=1e-4,
        warmup=1000,
        ema=0.9995,
        save_every=5000,
        preview_every=2500,
    ),
}


def flag(field: str) -> str:
    """The command line's name of a field: save_every -> --save-every."""
    return "--grow" if field == "grown" else option_of(TrainConfig, field).flag


def config_of(preset: str = "small", **given: Any) -> TrainConfig:
    """The preset with the given fields replaced; None leaves a field alone. Raises UsageError that names the flag."""
    if preset not in PRESETS:
        raise UsageError(f"--preset {preset}: must be one of {', '.join(PRESETS)}")
    return replace(PRESETS[preset], **{k: v for k, v in given.items() if v is not None})


def from_json(values: Mapping[str, Any]) -> TrainConfig:
    """The inverse of `to_json`; fields of another version of faceset are left out.

    A run from before a field resumes as it began, see BEFORE; its `flip` and `compile` were true or false.
    """
    known = {f.name for f in fields(TrainConfig)}
    found = {**BEFORE, **{k: v for k, v in values.items() if k in known}}
    if isinstance(found.get("flip"), bool):
        found["flip"] = "all" if found["flip"] else "off"
    if isinstance(found.get("compile"), bool):
        found["compile"] = "on" if found["compile"] else "off"
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
    shape = ("arch", "size", "grown", "base", "encoder_width", "decoder_width", "latent")
    shares = [config.picture_share if config.drive == "scores" else 1.0 for config in (one, other)]
    return shares[0] == shares[1] and all(getattr(one, name) == getattr(other, name) for name in shape)
