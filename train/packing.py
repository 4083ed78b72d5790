"""Packing of a step's tensors into one buffer, so that one transfer from pinned memory brings them to the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

ALIGNMENT = 64
"""Bytes to whose multiples every tensor's start is rounded up."""


@dataclass(frozen=True)
class Slot:
    """Place of a tensor in the buffer."""

    offset: int
    """Bytes."""
    bytes: int
    shape: torch.Size
    dtype: torch.dtype

    def of(self, buffer: Tensor) -> Tensor:
        """The tensor, a view of the buffer (uint8)."""
        return buffer[self.offset : self.offset + self.bytes].view(self.dtype).view(self.shape)


@dataclass(frozen=True)
class Packed(Generic[T]):
    """A structure whose tensors lie in one buffer on the CPU."""

    plan: Any
    """The structure with a Slot in place of every tensor."""
    buffer: Tensor
    """uint8."""

    def to(self, device: torch.device) -> T:
        """The structure with its tensors on a device, by one copy that does not wait for the device."""
        moved = self.buffer.to(device, non_blocking=True)
        found: T = _mapped(self.plan, Slot, lambda slot: slot.of(moved))
        return found


def packed(structure: T, pin: bool) -> Packed[T]:
    """A structure of dataclasses, lists, tuples, dicts and tensors on the CPU; `pin`: its buffer is page-locked."""
    found: list[tuple[Slot, Tensor]] = []

    def place(tensor: Tensor) -> Slot:
        end = found[-1][0].offset + found[-1][0].bytes if found else 0
        slot = Slot(-(-end // ALIGNMENT) * ALIGNMENT, tensor.nbytes, tensor.shape, tensor.dtype)
        found.append((slot, tensor))
        return slot

    plan = _mapped(structure, Tensor, place)
    size = found[-1][0].offset + found[-1][0].bytes if found else 0
    buffer = torch.empty(size, dtype=torch.uint8, pin_memory=pin)
    for slot, tensor in found:
        slot.of(buffer).copy_(tensor)
    return Packed(plan, buffer)


def _mapped(tree: Any, kind: type, change: Callable[[Any], Any]) -> Any:
    """The structure with every value of a kind changed, in a fixed order."""
    if isinstance(tree, kind):
        return change(tree)
    if is_dataclass(tree) and not isinstance(tree, type):
        return replace(tree, **{f.name: _mapped(getattr(tree, f.name), kind, change) for f in fields(tree)})
    if isinstance(tree, dict):
        return {key: _mapped(value, kind, change) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_mapped(value, kind, change) for value in tree)
    return tree
