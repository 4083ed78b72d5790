"""Run folder: the record of a training (run.json) and its trained network, for rendering.

RUN/run.json            format, config, both sides (subject, clips, hashes, identity), held-out faces, results
RUN/model.safetensors   the moving average of the weights at the end
RUN/reader.safetensors  what `faceset export` learnt for programs without landmarks, see train/reader.py
RUN/checkpoints/        see train/checkpoint.py
RUN/evaluation/         weights that wait for their evaluation, see train/evaluations.py
RUN/log.csv  RUN/tensorboard/  RUN/previews/step-N.png  RUN/reports/training.html
RUN/cache/              the decoded crops; may be deleted and is made again
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from curate.dataset.faceset import MANIFEST, Faceset
from curate.errors import UsageError, WorkError
from curate.records import record
from curate.runtime.files import atomic, file_sha256
from curate.safe_io import DAMAGED, one_line
from curate.settings import FRAMINGS
from curate.types import Floats, Subject
from curate.words import quoted
from train import checkpoint
from train.config import TrainConfig, from_json
from train.drive import Drive
from train.model import Swap, blank, build, picture
from train.outlines import Outlines
from train.retarget import Gains

log = logging.getLogger(__name__)

FORMAT = 1
RECORDED = ("scores", "outlines")
"""Ways to drive a network that have a record in run.json, in order of `Run.drive` and `Run.outlines`."""
OWN = ("run.json", "model.safetensors", "reader.safetensors", "log.csv", "checkpoints", "previews", "cache",
       "evaluation", "tensorboard", "reports", "forecasts.json")  # fmt: skip
"""Names of a run's own files; --force removes these and nothing else."""


@dataclass(frozen=True)
class SideInfo:
    """Record of what one side was trained on."""

    subject: Subject
    clips: tuple[tuple[str, str], ...]
    """(name, sha256) of each clip."""
    faceset_sha256: str
    """Hash of faceset.toml."""
    identity: tuple[float, ...]
    """Mean identity vector of the kept faces, 128 numbers; empty if the faceset has none."""
    faces: int
    """Number of selected faces that were usable."""
    folder: str = ""
    """Folder of the faceset at the time."""
    identifier: str = "dlib"
    """Identity model that gave `identity` and `looks`."""
    looks: tuple[tuple[float, ...], ...] = ()
    """Mean identity vector of each look, 128 numbers each; empty if there is none, or an older version wrote it."""

    @property
    def known(self) -> tuple[tuple[float, ...], ...]:
        """The vectors that stand for the subject: one for each look, or the mean; empty if the faceset had none."""
        return self.looks or ((self.identity,) if self.identity else ())


@dataclass(frozen=True)
class Run:
    """A training on disk, as run.json describes it."""

    path: Path
    config: TrainConfig
    size: int
    """Side of the crops, pixels."""
    framing: str
    source: SideInfo
    target: SideInfo
    step: int
    """Number of steps done at the last save."""
    parameters: int = 0
    init: str | None = None
    """Folder of the run whose encoder it was initialised from, or of the smaller run that it was grown from."""
    held_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Side to the ids of its held-out faces."""
    guard: Mapping[str, float] = field(default_factory=dict)
    """Side to the gap between held-out and training faces, seconds."""
    results: Mapping[str, float] = field(default_factory=dict)
    """loss, the last held-out figures (see `train.measure`, `train.identity`), device_hours, cost."""
    weights_sha256: str = ""
    """Hash of model.safetensors; empty if there is none yet, or if faceset before 0.2 wrote it."""
    drive: Drive | None = None
    """Scores that drive the network, and the source's range in them; None: they do not."""
    outlines: Outlines | None = None
    """How outlines that drive the network are drawn; None: they do not."""
    people: tuple[SideInfo, ...] = ()
    """Whose faces a prior (`train.pretrain`) was trained on; empty for a run of two subjects."""
    caches: tuple[tuple[str, str], ...] | None = None
    """(machine, folder) of every --cache with decoded faces outside of the run; None: not noted by an older version."""
    launch: str = ""
    """torchrun's name of the launch that last trained it; empty without torchrun."""
    ended: str = ""
    """finished, plateau, or stopped by SIGTERM ...; empty while it trains."""

    def with_results(self, results: Mapping[str, float]) -> Run:
        """The run with some results replaced."""
        return replace(self, results={**self.results, **results})

    def with_gains(self) -> Run:
        """The run with the gains that its last evaluation has found; with none if they are off."""
        if self.outlines is None:
            return self
        off, names = self.config.gains == "off", [f"gain_{f.name}" for f in fields(Gains)]
        results = {**self.results, **dict.fromkeys(names, 1.0)} if off else self.results
        gains = Gains(*(results.get(name, 1.0) for name in names))
        return replace(self, results=results, outlines=replace(self.outlines, gains=gains))

    def save(self) -> None:
        """Write run.json."""
        values = {"format": FORMAT, **asdict(replace(self, path=Path(".")))}
        del values["path"]
        with atomic(self.path / "run.json") as temporary:
            temporary.write_text(json.dumps(values, indent=1), encoding="utf-8")


@dataclass(frozen=True)
class Swapper:
    """A trained network, ready to swap faces."""

    model: Swap
    size: int
    """Side of the crops, pixels."""
    device: torch.device
    drive: Drive | None = None
    """Scores that drive the network; None: they do not."""
    outlines: Outlines | None = None
    """How outlines that drive the network are drawn; None: they do not."""

    def swap(self, crops: Tensor, scores: Floats | None = None, marks: Floats | None = None) -> tuple[Tensor, Tensor]:
        """Swaps: the target's crops with the source's face.

        crops: (B, 3, size, size) RGB float32 in 0..1. scores: (B, K) of the faces, counted from rest (train/drive.py);
        they are held in the source's range. marks: (B, P, 3) landmarks in units of the crop's side; they are carried
        over to the source's face (train/outlines.py). None: unknown, and a network that they drive shows the neutral,
        or what the crop's code holds. Returns rgb of the same shape and mask (B, 1, size, size), both float32 in 0..1
        on the device of `crops`.
        """
        with torch.inference_mode():
            rgb, mask = picture(self.model.through(self._read(crops), "source", self._acts(scores, marks, True)))
        return rgb.to(crops.device), mask.to(crops.device)

    def reconstruct(
        self, crops: Tensor, scores: Floats | None = None, marks: Floats | None = None
    ) -> tuple[Tensor, Tensor]:
        """Reconstructions: the target's crops drawn by the target's decoder; shapes as in `swap`."""
        with torch.inference_mode():
            rgb, mask = picture(self.model.through(self._read(crops), "target", self._acts(scores, marks, False)))
        return rgb.to(crops.device), mask.to(crops.device)

    def swap_and_reconstruct(
        self, crops: Tensor, scores: Floats | None = None, marks: Floats | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Swap (rgb, mask) and reconstruction (rgb), from one pass of the encoder unless scores drive the network."""
        if self.drive is not None:  # the scores that each side reads are part of its code
            rgb, mask = self.swap(crops, scores, marks)
            return rgb, mask, self.reconstruct(crops, scores, marks)[0]
        with torch.inference_mode():
            encoded = self.model.encode(self._read(crops), self._acts(None, marks, True))
            rgb, mask = picture(self.model.draw(encoded, "source"))
            given, _ = picture(self.model.draw(encoded.with_maps(self._acts(None, marks, False)), "target"))
        return rgb.to(crops.device), mask.to(crops.device), given.to(crops.device)

    def _acts(self, scores: Floats | None, marks: Floats | None, swapping: bool) -> Tensor | None:
        """What drives the network besides the crops, as it reads it."""
        if self.outlines is not None:
            if marks is None:
                return None
            return (self.outlines.carried(marks) if swapping else self.outlines.plain(marks)).to(self.device)
        if self.drive is None or scores is None:
            return None
        read = self.drive.performed(scores) if swapping else self.drive.inputs(scores)
        return torch.from_numpy(read).to(self.device)

    def _read(self, crops: Tensor) -> Tensor:
        if crops.shape[1:] != (3, self.size, self.size):
            raise ValueError(f"crops {tuple(crops.shape)}: must be (B, 3, {self.size}, {self.size})")
        return crops.to(self.device, torch.float32).contiguous(memory_format=torch.channels_last)


def describe(faceset: Faceset, subject: Subject, faces: int) -> SideInfo:
    """Record of one side for run.json."""
    try:
        identity = tuple(float(v) for v in faceset.identity())
        looks = tuple(tuple(float(v) for v in look) for look in faceset.looks())
    except WorkError as error:
        log.warning("%s; a render from this run cannot tell this subject's faces from others", error)
        identity, looks = (), ()
    digest = file_sha256(faceset.folder / MANIFEST)
    return SideInfo(
        subject,
        tuple((c.name, c.sha256) for c in faceset.clips),
        digest,
        identity,
        faces,
        str(faceset.folder.resolve()),
        faceset.settings.identifier,
        looks,
    )


def is_run(path: Path) -> bool:
    """Whether a folder is a run."""
    return (path / "run.json").is_file()


def open_run(path: Path) -> Run:
    """The run in `path`; raises UsageError if there is none, WorkError if it is damaged."""
    if not is_run(path):
        raise UsageError(f"{path} is no run (it has no run.json): create one with faceset train --out {quoted(path)}")
    try:
        values: dict[str, Any] = json.loads((path / "run.json").read_text(encoding="utf-8"))
        if values["format"] == FORMAT:
            return _of(path, values)
        newer = repr(values["format"])[:20]
    except (*DAMAGED, UsageError) as error:
        raise WorkError(f"{path / 'run.json'} is damaged ({one_line(error)}): train again in a new folder") from None
    raise UsageError(f"{path} has format {newer}, but this version of faceset reads format {FORMAT}: update faceset")


def _of(path: Path, values: dict[str, Any]) -> Run:
    """The run in run.json's values. Raises one of DAMAGED, or UsageError for a configuration out of range."""
    run = record(Run, {**values, "path": path, "config": from_json(values["config"])}, strict=False)
    if run.size != run.config.size or run.framing not in FRAMINGS or run.step < 0:
        raise ValueError(f"size {run.size}, framing {run.framing!r}, step {run.step}")
    return run


def resumed_config(path: Path, preset: str | None = None, **flags: Any) -> TrainConfig:
    """Configuration of the run in `path` with the given fields replaced; None leaves a field as it was.

    Raises UsageError if `preset` is given and differs from the run's.
    """
    begun = open_run(path).config
    if preset not in (None, begun.preset):
        raise UsageError(f"--preset {preset}: the run in {path} was started with {begun.preset}: leave the option out")
    return replace(begun, **{k: v for k, v in flags.items() if v is not None})


def load_swapper(run: Run, device: str = "auto") -> Swapper:
    """Trained network of a run: the final one, or that of the last checkpoint if the run has not ended.

    Raises WorkError if there is neither.
    """
    where = resolve_device(device)
    path = run.path / "model.safetensors"
    try:
        if path.is_file():
            if run.weights_sha256 not in ("", file_sha256(path)):
                raise ValueError("its hash differs from the one in run.json")
            tensors = load_file(str(path))
        else:
            last = checkpoint.newest(run.path / "checkpoints")
            if last is None:
                raise WorkError(
                    f"{run.path} has no network yet: continue with faceset train --out {quoted(run.path)} --resume"
                )
            log.warning("%s has not ended: using its network of step %d", run.path, last.step)
            tensors = last.part("ema")
        if (run.drive is not None, run.outlines is not None) != tuple(run.config.drive == d for d in RECORDED):
            raise ValueError(f"--drive {run.config.drive} does not fit what drives it in run.json")
        _check_shapes(run.config, tensors)
        model = build(run.config)
        model.load_state_dict(tensors)
    except (*DAMAGED, SafetensorError) as error:
        raise WorkError(f"{path} is damaged ({one_line(error)}): faceset train --resume writes it again") from None
    return Swapper(model.to(where).eval().requires_grad_(False), run.size, where, run.drive, run.outlines)


def resolve_device(name: str) -> torch.device:
    """Device named auto, cpu, cuda, cuda:1 or mps; raises UsageError if the machine does not have it."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind = name.partition(":")[0]
    number = name.partition(":")[2]
    counts = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if not int(number or 0) < counts.get(kind, 0):
        raise UsageError(f"--device {name}: this machine has no such device; --device cpu always works")
    return torch.device(name)


def _check_shapes(config: TrainConfig, tensors: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless the tensors are the network's; before anything of the network's size is allocated."""
    wanted = {k: (v.shape, v.dtype) for k, v in blank(config).state_dict().items()}
    if wanted != {k: (v.shape, v.dtype) for k, v in tensors.items()}:
        raise ValueError("its tensors do not fit the run's network")
