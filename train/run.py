"""The run's folder: what it was made from, and the network that came out, for whoever renders with it.

RUN/run.json            format, config, both sides (subject, clips, hashes, identity), held-out faces, results
RUN/model.safetensors   the running mean of the weights at the end
RUN/checkpoints/        see train/checkpoint.py
RUN/log.csv  RUN/tensorboard/  RUN/previews/step-N.png  RUN/reports/training.html
RUN/cache/              the crops at the network's size; may be deleted, is made again
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from curate.errors import UsageError, WorkError
from curate.faceset import MANIFEST, Faceset, atomic
from curate.types import Subject
from train import checkpoint
from train.config import TrainConfig, from_json
from train.model import Swap, build, picture

log = logging.getLogger(__name__)

FORMAT = 1
OWN = ("run.json", "model.safetensors", "log.csv", "checkpoints", "previews", "cache", "tensorboard", "reports")
"""Names that belong to a run; --force removes these and nothing else."""


@dataclass(frozen=True)
class SideInfo:
    """What a side was trained on."""

    subject: Subject
    clips: tuple[tuple[str, str], ...]
    """(name, sha256) of each clip."""
    faceset_sha256: str
    """Of faceset.toml."""
    identity: tuple[float, ...]
    """128 numbers, the mean identity vector of the kept faces; empty where the faceset has none."""
    faces: int
    """Selected faces that could be used."""
    folder: str = ""
    """Where the faceset lay."""


@dataclass(frozen=True)
class Run:
    """A training on disk."""

    path: Path
    config: TrainConfig
    size: int
    """Side of the crops, pixels."""
    framing: str
    source: SideInfo
    target: SideInfo
    step: int
    """Steps done at the last save."""
    parameters: int = 0
    init: str | None = None
    """The run whose encoder it began with."""
    held_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Side to the ids of the faces that were not trained on."""
    guard: Mapping[str, float] = field(default_factory=dict)
    """Side to the seconds kept between them and the others."""
    results: Mapping[str, float] = field(default_factory=dict)
    """loss, the last held-out figures (see `train.measure`, `train.identity`), device_hours, cost."""
    ended: str = ""
    """finished, plateau, stopped by a signal; empty while it trains."""

    def save(self) -> None:
        """Write run.json."""
        values = {"format": FORMAT, **asdict(replace(self, path=Path(".")))}
        del values["path"]
        with atomic(self.path / "run.json") as temporary:
            temporary.write_text(json.dumps(values, indent=1), encoding="utf-8")


@dataclass(frozen=True)
class Swapper:
    """A trained network."""

    model: Swap
    size: int
    """Side of the crops, pixels."""
    device: torch.device

    def swap(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """The target's crops with the source's face.

        crops: (B, 3, size, size) RGB float32 in 0..1. Returns rgb of the same shape and mask (B, 1, size, size), both
        float32 in 0..1 on the device of `crops`.
        """
        return self._through(crops, "source")

    def reconstruct(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """The target's crops as the target's decoder gives them back; shapes as in `swap`."""
        return self._through(crops, "target")

    def swap_and_reconstruct(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Both at once, the encoder passed once: `swap`'s rgb and mask, and the rgb of `reconstruct`."""
        with torch.inference_mode():
            encoded = self.model.encoder(self._read(crops))
            rgb, mask = picture(self.model.draw(encoded, "source"))
            given, _ = picture(self.model.draw(encoded, "target"))
        return rgb.to(crops.device), mask.to(crops.device), given.to(crops.device)

    def _through(self, crops: Tensor, side: str) -> tuple[Tensor, Tensor]:
        with torch.inference_mode():
            rgb, mask = picture(self.model.through(self._read(crops), side))
        return rgb.to(crops.device), mask.to(crops.device)

    def _read(self, crops: Tensor) -> Tensor:
        if crops.shape[1:] != (3, self.size, self.size):
            raise ValueError(f"crops {tuple(crops.shape)}: must be (B, 3, {self.size}, {self.size})")
        return crops.to(self.device, torch.float32).contiguous(memory_format=torch.channels_last)


def describe(faceset: Faceset, subject: Subject, faces: int) -> SideInfo:
    """What run.json says about a side."""
    try:
        identity = tuple(float(v) for v in faceset.identity())
    except WorkError as error:
        log.warning("%s; the run will not know whether a face is this subject's", error)
        identity = ()
    digest = hashlib.sha256((faceset.folder / MANIFEST).read_bytes()).hexdigest()
    return SideInfo(
        subject,
        tuple((c.name, c.sha256) for c in faceset.clips),
        digest,
        identity,
        faces,
        str(faceset.folder.resolve()),
    )


def is_run(path: Path) -> bool:
    """Whether a folder holds a run."""
    return (path / "run.json").is_file()


def open_run(path: Path) -> Run:
    """The run in `path`; raises UsageError if there is none, WorkError if it is damaged."""
    if not is_run(path):
        raise UsageError(f"{path} is no run (it has no run.json): faceset train --out {path} makes one")
    try:
        values: dict[str, Any] = json.loads((path / "run.json").read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            raise UsageError(
                f"{path} has format {values['format']}, this faceset reads format {FORMAT}: update faceset"
            )
        return Run(
            path=path,
            config=from_json(values["config"]),
            size=values["size"],
            framing=values["framing"],
            source=_side(values["source"]),
            target=_side(values["target"]),
            step=values["step"],
            parameters=values["parameters"],
            init=values["init"],
            held_out={k: tuple(v) for k, v in values["held_out"].items()},
            guard=values["guard"],
            results=values["results"],
            ended=values.get("ended", ""),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WorkError(f"{path / 'run.json'} is damaged ({error}): train into a new folder") from None


def resumed_config(path: Path, preset: str | None = None, **flags: Any) -> TrainConfig:
    """The configuration of the run in `path` with the flags that were given; None leaves a field as it was.

    Raises UsageError if `preset` is given and is another than the run's.
    """
    begun = open_run(path).config
    if preset not in (None, begun.preset):
        raise UsageError(f"--preset {preset}: the run in {path} was begun with {begun.preset}; leave the flag out")
    return replace(begun, **{k: v for k, v in flags.items() if v is not None})


def load_swapper(run: Run, device: str = "auto") -> Swapper:
    """The network of a run: of its end, or of its last checkpoint where it has not ended.

    Raises WorkError if there is neither.
    """
    where = resolve_device(device)
    model = build(run.config)
    path = run.path / "model.safetensors"
    try:
        if path.is_file():
            tensors = load_file(str(path))
        else:
            last = checkpoint.newest(run.path / "checkpoints")
            if last is None:
                raise WorkError(
                    f"{run.path} has no network yet: faceset train --out {run.path} --resume goes on with it"
                )
            log.warning("%s has not ended: its network of step %d is used", run.path, last.step)
            tensors = last.part("ema")
        model.load_state_dict(tensors)
    except (SafetensorError, RuntimeError) as error:
        raise WorkError(f"{path} is damaged ({str(error).splitlines()[0]}): train --resume writes it again") from None
    return Swapper(model.to(where).eval().requires_grad_(False), run.size, where)


def resolve_device(name: str) -> torch.device:
    """auto, cpu, cuda, cuda:1 or mps as a device; raises UsageError if the machine has none."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind = name.partition(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(kind, False):
        raise UsageError(f"--device {name}: this machine has none; --device cpu always works")
    return torch.device(name)


def _side(values: dict[str, Any]) -> SideInfo:
    return SideInfo(
        Subject(**values["subject"]),
        tuple((name, digest) for name, digest in values["clips"]),
        values["faceset_sha256"],
        tuple(values["identity"]),
        values["faces"],
        values.get("folder", ""),
    )
