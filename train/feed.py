"""Batches for the steps: a thread prepares the next one while the device works on the current one.

All random choices are made here, on the CPU, and packed: a step makes one transfer to the device and reads nothing
back.
"""

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
from train.packing import Packed, packed
from train.tint import tinted


@dataclass(frozen=True)
class Batch:
    """One process's faces of one side for one step or one pass of it, on the CPU or, after packing, on any device."""

    crops: Tensor
    """(B, 5 or more, C, C) uint8: RGB, mask, emphasis and outlines."""
    changes: Changes
    """Augmentation of these faces."""
    scores: Tensor | None = None
    """(B, K) their scores as the network reads them; None: they do not drive it."""
    seen: Tensor | None = None
    """(B, 1) 0 for faces that are drawn from their scores alone, else 1; None: scores do not drive the network."""

    def part(self, rows: slice) -> Batch:
        """Some rows, on the CPU, with their augmentation planned."""
        scores, seen = (None if x is None else x[rows] for x in (self.scores, self.seen))
        return Batch(self.crops[rows], self.changes.part(rows).planned(), scores, seen)

    def pictures(self, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """The network's input, the picture that it has to draw, and the masks; see `augment.apply`."""
        read, truth, mask = augment.apply(self.crops, self.changes, size)
        return read.contiguous(memory_format=torch.channels_last), truth, mask

    def driven(self) -> tuple[Tensor, ...]:
        """`scores` and `seen`; nothing if scores do not drive the network."""
        return tuple(own for own in (self.scores, self.seen) if own is not None)


def batch_of(side: Side, step: int, config: TrainConfig, rank: int, world: int, warped: bool = True) -> Batch:
    """Batch of process `rank` of `world` for a step: its share of the faces drawn for all processes together.

    The random numbers come from (seed, step, side); they depend neither on the device nor on the number of processes.
    """
    config = config if warped else replace(config, warp=0.0)
    random = np.random.default_rng([config.seed, step, SIDES.index(side.name)])
    count = config.batch * world
    mine = slice(config.batch * rank, config.batch * (rank + 1))
    drawn = side.draw(random, count)
    changes = augment.draw(random, count, config, side.limits, side.may_flip[drawn]).part(mine)
    seen = (random.random(count) >= config.picture_dropout)[mine]
    crops = side.crops(drawn[mine])
    if side.drive is None:
        return Batch(crops, changes)
    scores = mirrored(side.drive.inputs(side.scores[drawn[mine]]), augment.is_mirrored(changes).numpy())
    return Batch(crops, changes, torch.from_numpy(scores), torch.from_numpy(seen.astype(np.float32)[:, None]))


@dataclass(frozen=True)
class Step:
    """What one step reads."""

    batches: dict[str, Batch]
    """Each side's batch."""
    passes: Packed[list[dict[str, Batch]]]
    """The same, split into passes."""


class Feed:
    """Batches in order of step, prepared one step ahead."""

    def __init__(self, sides: Mapping[str, Side], config: TrainConfig, rank: int, world: int, pin: bool) -> None:
        self._sides, self._config, self._place, self._pin = sides, config, (rank, world), pin
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="feed")
        self._ahead: dict[int, Future[Step]] = {}
        self.waited = 0.0
        """Seconds for which steps waited for their batch."""
        self.plain_from = config.steps
        """First step of the last phase, whose batches are not warped."""

    def get(self, step: int) -> dict[str, Batch]:
        """Each side's batch of a step, on the CPU; starts preparing the next one."""
        return self._next(step).batches

    def passes(self, step: int, device: torch.device) -> list[dict[str, Batch]]:
        """Each side's rows of every pass of a step, on a device; starts preparing the next step."""
        return self._next(step).passes.to(device)

    def _next(self, step: int) -> Step:
        begun = time.perf_counter()
        ready = self._ahead.pop(step, None) or self._pool.submit(self._make, step)
        for skipped in self._ahead.values():  # after a rewind
            skipped.cancel()
        self._ahead = {step + 1: self._pool.submit(self._make, step + 1)}
        done = ready.result()
        self.waited += time.perf_counter() - begun
        return done

    def close(self) -> None:
        """Stop the thread."""
        self._pool.shutdown(cancel_futures=True)

    def _make(self, step: int) -> Step:
        found = self._drawn(step)
        size = self._config.batch // self._config.accumulate
        rows = [slice(first, first + size) for first in range(0, self._config.batch, size)]
        return Step(found, packed([{name: b.part(r) for name, b in found.items()} for r in rows], self._pin))

    def _drawn(self, step: int) -> dict[str, Batch]:
        how = (self._config, *self._place, step < self.plain_from)
        found = {name: batch_of(side, step, *how) for name, side in self._sides.items()}
        if self._config.tint:
            # A generator of its own, so that the batches are the same without it.
            drawn = np.random.default_rng([self._config.seed, step, len(SIDES)]).random(self._config.batch)
            chosen = torch.from_numpy(drawn < self._config.tint)
            source = found["source"]
            found["source"] = replace(source, crops=tinted(source.crops, found["target"].crops, chosen))
        return found
