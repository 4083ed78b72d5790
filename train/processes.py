"""Agreement between the processes of a run: values of rank 0, a flag of any, the least value, a mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from accelerate import Accelerator
from torch import Tensor


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
