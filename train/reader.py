"""Reader of a performance: a small network that sees in a crop what drives a run, where nobody curates.

Programs that read an exported run have crops and no landmarks of ours. The reader draws the outlines that
`train/outlines.py` would draw, or gives the scores of `train/drive.py`: those of the crop as it is, and those with
which the source performs it. It learns them from the target's training faces, turned, shifted and zoomed more than the
run's own inputs, since other programs align faces otherwise, and is stored in RUN/reader.safetensors.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from curate.runtime.files import atomic
from curate.safe_io import DAMAGED
from curate.types import Floats, Progress
from train import augment
from train.config import TrainConfig
from train.data import Side
from train.drive import NAMES
from train.layers import SLOPE, icnr
from train.loss import ssim, weighted_mean
from train.model import Swap, picture
from train.outlines import MAPS, maps_of

log = logging.getLogger(__name__)

FILE = "reader.safetensors"
FINEST = 128
"""Largest side at which outlines are read, pixels; larger crops are averaged and the outlines enlarged."""
WIDTHS = (16, 32, 64, 96)
"""Channels at half of that side, at a quarter, and so on."""
STEPS, BATCH, RATE = 1500, 8, 2e-3
ROTATE, ZOOM, SHIFT = 12.0, 0.12, 0.06
"""Least augmentation: degrees, and fractions as in `TrainConfig`."""
SMOOTH = 4.0
"""Pixels that Dice adds to both areas: a closed mouth has none."""
MEASURED = 128
"""Most held-out faces that `compare` draws."""


@dataclass(frozen=True)
class Agreement:
    """Swaps with what the reader reads against those with true inputs, on held-out faces of the target."""

    faces: int
    ssim: float
    """Mean SSIM between both swaps under the face mask; see `train.loss.ssim_map`."""
    levels: float
    """Mean absolute difference between both swaps under the face mask, in levels of 1/255."""
    levels_unread: float
    """The same if the swap is given the mean input of the training faces instead, which reads nothing."""


class Reader(nn.Module):
    """Network from crops (B, 3, S, S) in 0..1 to what drives them as they are and what drives their swap."""

    def __init__(self, drive: str, size: int) -> None:
        super().__init__()
        self.outlined, self.size = drive == "outlines", size
        self.factor = max(1, size // FINEST)
        self.down = nn.ModuleList(_block(a, b) for a, b in zip((12, *WIDTHS), WIDTHS, strict=False))
        deepest = WIDTHS[-1]
        if self.outlined:
            self.middle = _block(deepest, deepest)
            pairs = list(zip(WIDTHS[:0:-1], WIDTHS[-2::-1], strict=True))
            self.up = nn.ModuleList(_block(below + own, own) for below, own in pairs)
            self.out = nn.Conv2d(WIDTHS[0], 4 * 2 * len(MAPS), 1)
            icnr(self.out)
            nn.init.constant_(cast(nn.Parameter, self.out.bias), -3.0)
        else:
            cells = (size // self.factor >> len(WIDTHS)) ** 2
            self.out_scores = nn.Sequential(
                nn.Linear(deepest * cells, 256), nn.LeakyReLU(SLOPE), nn.Linear(256, 2 * len(NAMES))
            )

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Outlines (B, M, S, S) in 0..1 or scores (B, K), of the crops and of their swaps."""
        read = self.read(crops)
        if self.outlined:
            if self.factor > 1:
                read = F.interpolate(read, scale_factor=self.factor, mode="bilinear", align_corners=False)
            read = read.sigmoid()
        own, swap = read.chunk(2, 1)
        return own, swap

    def read(self, crops: Tensor) -> Tensor:
        """(B, 2M, W, W) logits of outlines at the side at which they are read, or scores (B, 2K)."""
        x = (F.avg_pool2d(crops, self.factor) if self.factor > 1 else crops) * 2 - 1
        x, levels = F.pixel_unshuffle(x, 2), []
        for number, block in enumerate(self.down):
            x = block(F.avg_pool2d(x, 2) if number else x)
            levels.append(x)
        if not self.outlined:
            return cast(Tensor, self.out_scores(x.flatten(1)))
        x = self.middle(x)
        for block, level in zip(self.up, levels[-2::-1], strict=True):
            larger = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = block(torch.cat([larger, level], 1))
        return F.pixel_shuffle(self.out(x), 2)


def _block(before: int, after: int) -> nn.Sequential:
    layers = [nn.Conv2d(before, after, 3, padding=1), nn.LeakyReLU(SLOPE)]
    layers += [nn.Conv2d(after, after, 3, padding=1), nn.LeakyReLU(SLOPE)]
    for layer in layers[::2]:
        nn.init.kaiming_normal_(cast(nn.Conv2d, layer).weight, a=SLOPE)
    return nn.Sequential(*layers)


@dataclass(frozen=True)
class Truth:
    """What the reader should read in the faces of a side."""

    side: Side
    own: Floats
    swap: Floats
    """(N, K) scores, or (N, P, 2) points of the outlines in units of the crop's side: as they are, and in the swap."""

    def maps(self, rows: NDArray[np.int64], side: int, affine: Tensor | None = None) -> Tensor:
        """(B, 2M, side, side) outlines of faces in 0..1, after the affine of `augment.Changes`."""
        both = [points[rows] if affine is None else moved(points[rows], affine) for points in (self.own, self.swap)]
        return torch.cat([maps_of(points, side) for points in both], 1).float() / 255

    def scores(self, rows: NDArray[np.int64]) -> Tensor:
        """(B, 2K)"""
        return torch.from_numpy(np.concatenate([self.own[rows], self.swap[rows]], 1))


def truth_of(side: Side) -> Truth:
    """Truth of the target's side of a run that outlines or scores drive."""
    if side.outlines is not None:
        both = (side.outlines.points_of(side.marks), side.outlines.points_of(side.marks, carry=True))
        return Truth(side, *(np.ascontiguousarray(points[..., :2]) for points in both))
    if side.drive is None:
        raise ValueError("the picture drives this run: there is nothing to read")
    return Truth(side, side.drive.inputs(side.scores), side.drive.performed(side.scores))


def moved(points: Floats, affine: Tensor) -> Floats:
    """Points (B, P, 2) in units of the crop's side where `augment.apply` with this affine (B, 2, 3) shows them."""
    turn, shift = affine[:, :, :2].double().numpy(), affine[:, :, 2].double().numpy()
    there = np.einsum("nij,npj->npi", np.linalg.inv(turn), 2.0 * points - 1 - shift[:, None])
    return np.asarray((there + 1) / 2, np.float32)


def learnt(path: Path, side: Side, config: TrainConfig, device: torch.device, progress: Progress) -> Reader:
    """The reader of a run's target, from `path` if it was learnt from the same faces, or else learnt and stored there.

    `side` has the run's drive or outlines. The same faces give the same reader on the CPU.
    """
    truth = truth_of(side)
    drawn = None if side.outlines is None else asdict(side.outlines)
    facts = json.dumps([config.drive, config.size, config.seed, STEPS, list(side.ids), drawn])
    reader = _stored(path, facts, config)
    if reader is None:
        reader = learn(truth, config, device, progress)
        tensors = {name: value.detach().cpu().contiguous() for name, value in reader.state_dict().items()}
        with atomic(path) as temporary:
            save_file(tensors, str(temporary), {"faces": facts})
    return reader.cpu().eval().requires_grad_(False)


def _stored(path: Path, facts: str, config: TrainConfig) -> Reader | None:
    try:
        with safe_open(str(path), "pt") as file:
            if (file.metadata() or {}).get("faces") != facts:
                return None
        reader = Reader(config.drive, config.size)
        reader.load_state_dict(load_file(str(path)))
    except (*DAMAGED, SafetensorError):
        return None
    return reader


def learn(truth: Truth, config: TrainConfig, device: torch.device, progress: Progress, steps: int = STEPS) -> Reader:
    """A new reader, trained on the side's training faces."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        reader = Reader(config.drive, config.size).to(device)
    reader.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs forget this form
    optimizer = torch.optim.AdamW(reader.parameters(), lr=RATE, betas=(0.9, 0.99), weight_decay=1e-4)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))
        crops, wanted = _drawn(truth, config, step, reader)
        read = reader.read(crops.to(device).contiguous(memory_format=torch.channels_last))
        loss = (_outline_loss if reader.outlined else F.smooth_l1_loss)(read, wanted.to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's stubs
        nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
        optimizer.step()
        progress("read the performance", step + 1, steps)
    return reader


def _drawn(truth: Truth, config: TrainConfig, step: int, reader: Reader) -> tuple[Tensor, Tensor]:
    """Crops (B, 3, S, S) of a step, and what should be read in them; random numbers come from the seed and the step."""
    wider = replace(
        config, warp=0.0, flip="off", rotate=max(config.rotate, ROTATE), zoom=max(config.zoom, ZOOM),
        shift=max(config.shift, SHIFT),
    )  # fmt: skip
    random = np.random.default_rng([config.seed, step, 2])
    rows = truth.side.draw(random, BATCH)
    changes = augment.draw(random, BATCH, wider, truth.side.limits)
    crops, _, _ = augment.apply(truth.side.crops(rows)[:, :4], changes, config.size)
    if not reader.outlined:
        return crops, truth.scores(rows)
    return crops, truth.maps(rows, config.size // reader.factor, changes.affine)


def _outline_loss(read: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy in nats plus 1 - Dice of each outline (Milletari et al. 2016, arXiv:1606.04797): small ones count
    as much as large ones."""
    drawn = read.sigmoid()
    both, areas = (drawn * wanted).sum((2, 3)), (drawn + wanted).sum((2, 3))
    dice = (2 * both + SMOOTH) / (areas + SMOOTH)
    return F.binary_cross_entropy_with_logits(read, wanted) + (1 - dice).mean()


def compare(reader: Reader, model: Swap, truth: Truth, config: TrainConfig) -> Agreement:
    """How far swaps with the reader's inputs are from those with true ones, on the CPU."""
    side = truth.side
    rows, trained = (_some(each) for each in (side.split.held_out, side.split.train))
    mean = _wanted(truth, trained, config).mean(0, keepdim=True)
    found: list[Tensor] = []
    for part in np.array_split(rows, math.ceil(len(rows) / 8)):
        crops, masks = side.faces(part, config.size)
        with torch.inference_mode():
            inputs = (_wanted(truth, part, config), reader(crops)[1], mean.expand(len(part), *mean.shape[1:]))
            there, here, none = (picture(model.through(crops, "source", each))[0] for each in inputs)
            away = [255 * weighted_mean((each - there).abs(), masks) for each in (here, none)]
            found.append(torch.stack([ssim(here, there, masks), *away]))
    same, levels, unread = torch.cat(found, 1).mean(1).tolist()
    return Agreement(len(rows), same, levels, unread)


def _wanted(truth: Truth, rows: NDArray[np.int64], config: TrainConfig) -> Tensor:
    """True inputs of the faces' swaps."""
    found = truth.maps(rows, config.size) if truth.side.outlines is not None else truth.scores(rows)
    return found.chunk(2, 1)[1]


def _some(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most MEASURED of the rows, evenly spread."""
    if len(rows) <= MEASURED:
        return rows
    return np.asarray(rows[np.linspace(0, len(rows) - 1, MEASURED).round().astype(int)])
