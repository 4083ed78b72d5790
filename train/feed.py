"""Batches for the steps: a thread prepares the next one while the device works on the current one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from train import augment
from train.augment import Changes
from train.config import TrainConfig
from train.data import Side
from train.drive import mirrored
from train.model import SIDES
from train.tint import tinted


@dataclass(frozen=True)
class Batch:
    """One process's faces of one side for one step, on the CPU."""

    crops: Tensor
    """(B, 5 or more, C, C) uint8: RGB, mask, emphasis and outlines."""
    changes: Changes
    """Augmentation of these faces."""
    scores: Tensor | None = None
    """(B, K) their scores as the network reads them; None: they do not drive it."""
    seen: Tensor | None = None
    """(B, 1) 0 for faces that are drawn from their scores alone, else 1; None: scores do not drive the network."""

    def part(self, rows: slice, device: torch.device, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Some rows on the device: the network's input, the picture it has to draw, the masks; see `augment.apply`."""
        crops = self.crops[rows].to(device, non_blocking=True)
        read, truth, mask = augment.apply(crops, self.changes.part(rows, device), size)
        return read.contiguous(memory_format=torch.channels_last), truth, mask

    def driven(self, rows: slice, device: torch.device) -> tuple[Tensor, ...]:
        """`scores` and `seen` of some rows on the device; nothing if scores do not drive the network."""
        return tuple(own[rows].to(device, non_blocking=True) for own in (self.scores, self.seen) if own is not None)


def batch_of(
    side: Side, step: int, config: TrainConfig, rank: int, world: int, pin: bool = False, warped: bool = True
) -> Batch:
    """Batch of process `rank` of `world` for a step: its share of the faces drawn for all processes together.

    The random numbers come from (seed, step, side); they depend neither on the device nor on the number of processes.
    """
    config = config if warped else replace(config, warp=0.0)
    random = np.random.default_rng([config.seed, step, SIDES.index(side.name)])
    count = config.batch * world
    mine = slice(config.batch * rank, config.batch * (rank + 1))
    drawn = side.draw(random, count)
    changes = augment.draw(random, count, config, side.limits, side.may_flip[drawn]).part(mine, torch.device("cpu"))
    seen = (random.random(count) >= config.picture_dropout)[mine]
    crops = side.crops(drawn[mine])
    crops = crops.pin_memory() if pin else crops
    if side.drive is None:
        return Batch(crops, changes)
    scores = mirrored(side.drive.inputs(side.scores[drawn[mine]]), augment.is_mirrored(changes).numpy())
    return Batch(crops, changes, torch.from_numpy(scores), torch.from_numpy(seen.astype(np.float32)[:, None]))


class Feed:
    """Batches in order of step, prepared one step ahead."""

    def __init__(self, sides: Mapping[str, Side], config: TrainConfig, rank: int, world: int, pin: bool) -> None:
        self._sides, self._config, self._place, self._pin = sides, config, (rank, world), pin
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="feed")
        self._ahead: dict[int, Future[dict[str, Batch]]] = {}
        self.waited = 0.0
        """Seconds for which steps waited for their batch."""
        self.plain_from = config.steps
        """First step of the last phase, whose batches are not warped."""

    def get(self, step: int) -> dict[str, Batch]:
        """Each side's batch of a step; starts preparing the next one."""
        begun = time.perf_counter()
        ready = self._ahead.pop(step, None) or self._pool.submit(self._make, step)
        for skipped in self._ahead.values():  # after a rewind
            skipped.cancel()
        self._ahead = {step + 1: self._pool.submit(self._make, step + 1)}
        batches = ready.result()
        self.waited += time.perf_counter() - begun
        return batches

    def close(self) -> None:
        """Stop the thread."""
        self._pool.shutdown(cancel_futures=True)

    def _make(self, step: int) -> dict[str, Batch]:
        how = (self._config, *self._place, self._pin, step < self.plain_from)
        found = {name: batch_of(side, step, *how) for name, side in self._sides.items()}
        if self._config.tint:
            # A generator of its own, so that the batches are the same without it.
            drawn = np.random.default_rng([self._config.seed, step, len(SIDES)]).random(self._config.batch)
            chosen = torch.from_numpy(drawn < self._config.tint)
            source = found["source"]
            found["source"] = replace(source, crops=tinted(source.crops, found["target"].crops, chosen))
        return found
