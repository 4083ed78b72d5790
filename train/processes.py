"""Agreement between the processes of a run: values, flags and weights, and a failure that ends all of them."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor, distributed

from curate.errors import FacesetError, WorkError
from train import checkpoint

log = logging.getLogger(__name__)

PATIENCE = timedelta(hours=4)
"""How long processes wait for each other, for example while one decodes the faces; NCCL's own limit is ten minutes.
Processes that have failed are noticed otherwise, see `together`."""
POLL = 1.0
"""Seconds between two looks for a failure in another process."""


def leave() -> None:
    """Leave the group of processes: threads of it that still run as Python ends would abort the process."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def from_main(accelerator: Accelerator, values: list[float]) -> list[float]:
    """The values that rank 0 passes, in every process; all processes have to call it."""
    if accelerator.num_processes == 1:
        return values
    own = torch.tensor(values, device=accelerator.device)
    shared = accelerator.reduce(own if accelerator.is_main_process else torch.zeros_like(own), reduction="sum")
    return [float(v) for v in shared.tolist()]


def any_process(accelerator: Accelerator, flag: bool) -> bool:
    """Whether the flag is set in any process; all processes have to call it."""
    if accelerator.num_processes == 1:
        return flag
    own = torch.tensor([float(flag)], device=accelerator.device)
    return bool(accelerator.reduce(own, reduction="sum").item() > 0)


def least(accelerator: Accelerator, value: float) -> float:
    """The smallest of the processes' values, in every process; all processes have to call it."""
    if accelerator.num_processes == 1:
        return value
    return min(cast(list[float], accelerator.gather(torch.tensor([value], device=accelerator.device)).tolist()))


def mean_over(accelerator: Accelerator) -> Callable[[Tensor], Tensor] | None:
    """A function that gives a tensor's mean over all processes; None if there is one process."""
    if accelerator.num_processes == 1:
        return None
    return lambda tensor: cast(Tensor, accelerator.reduce(tensor, reduction="mean"))


@contextmanager
def together(accelerator: Accelerator) -> Iterator[None]:
    """An exception in one process ends all of them, wherever they wait; its message is logged in each."""
    if accelerator.num_processes == 1:
        yield
        return
    store = distributed.distributed_c10d._get_default_store()
    key = [f"faceset/failed/{uuid4()}"]  # torchrun may keep the store, and what is in it, over a restart
    broadcast_object_list(key)
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(store, key[0], over), name="failures", daemon=True)
    watch.start()
    try:
        yield
    except BaseException as error:
        # torchrun ends the other processes itself, but not always, and SLURM and Ray do not.
        reason = str(error) if isinstance(error, FacesetError) else f"{type(error).__name__}: {error}"
        over.set()
        store.set(key[0], f"process {accelerator.process_index}: {reason}")
        if accelerator.is_main_process:
            time.sleep(2 * POLL)  # it may keep the store, in which the others look
        raise
    finally:
        over.set()
        watch.join(POLL)  # a thread that still reads the store as the process ends aborts it


def _watch(store: Any, key: str, over: threading.Event) -> None:
    """Wait for a failure elsewhere, and end this process: its main thread may stand in a call that never returns."""
    while not over.wait(POLL):
        try:
            failed = store.check([key]) and store.get(key).decode()
        except RuntimeError:  # the process that keeps the store has ended
            return
        if failed and not over.is_set():
            log.error("ended, since another process failed: %s", failed)
            logging.shutdown()
            os._exit(1)


def newest(accelerator: Accelerator, folder: Path) -> checkpoint.Checkpoint | None:
    """The last complete checkpoint, as rank 0 reads it; all processes have to call it."""
    found = checkpoint.newest(folder) if accelerator.is_main_process else None
    if accelerator.num_processes == 1:
        return found
    places = None if found is None else {k: (v.shape, v.dtype) for k, v in found.tensors.items()}
    told = [None if found is None else (replace(found, tensors={}), places)]
    broadcast_object_list(told)
    if told[0] is None:
        return None
    facts, places = cast(tuple[checkpoint.Checkpoint, dict[str, Any]], told[0])
    tensors = {}
    for name, (shape, dtype) in places.items():
        own = torch.empty(shape, dtype=dtype) if found is None else found.tensors[name]
        tensors[name] = _from_main(accelerator, own.to(accelerator.device)).cpu()
    return replace(facts, tensors=tensors)


def same_everywhere(accelerator: Accelerator, tensors: Sequence[Tensor]) -> None:
    """Replace tensors by those of rank 0, in place; all processes have to call it."""
    if accelerator.num_processes > 1:
        with torch.no_grad():
            for tensor in tensors:
                tensor.copy_(_from_main(accelerator, tensor.detach().clone()))


def check_equal(accelerator: Accelerator, tensors: Mapping[str, Tensor]) -> None:
    """Raise WorkError, in every process, unless all of them have the same bits in their tensors."""
    if accelerator.num_processes == 1:
        return
    own = torch.stack([_sum(tensor) for tensor in tensors.values()])
    every = cast(Tensor, accelerator.gather(own[None]))
    wrong = [name for name, same in zip(tensors, (every == every[:1]).all(0).tolist(), strict=True) if not same]
    if wrong:
        raise WorkError(
            f"the processes' weights differ ({wrong[0]} and {len(wrong) - 1} more), so one computes wrong values: "
            "check the machines, and use --resume to continue from the last checkpoint"
        )


def _sum(tensor: Tensor) -> Tensor:
    """Sum of a tensor's bits as whole numbers, int64: the order does not matter."""
    whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()]
    return tensor.detach().contiguous().view(-1).view(whole).sum(dtype=torch.int64)


def _from_main(accelerator: Accelerator, tensor: Tensor) -> Tensor:
    """The tensor of rank 0, on this process's device."""
    tensor = tensor.contiguous()
    distributed.broadcast(tensor, 0)
    return tensor
