"""Checkpoints: tensors in a safetensors file, plain values in a JSON file next to it, nothing pickled.

    RUN/checkpoints/step-500.safetensors   model.*, ema.*, optimizer.<parameter>.<moment>
    RUN/checkpoints/step-500.json          step, hash of the tensors' file, sums for the next log line ...

The JSON file is written last and contains the hash: a checkpoint is complete if and only if both agree. It needs no
state of random generators, since the random numbers of a step depend only on the seed and the step.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from curate.errors import WorkError
from curate.runtime.files import atomic, file_sha256
from curate.safe_io import DAMAGED, one_line

log = logging.getLogger(__name__)

FORMAT = 1
NAME = re.compile(r"step-(\d+)\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint in memory."""

    step: int
    tensors: dict[str, Tensor]
    facts: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names start with `prefix.`, without it."""
        return {k[len(prefix) + 1 :]: v for k, v in self.tensors.items() if k.startswith(prefix + ".")}


def write(folder: Path, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], keep: int) -> Path:
    """Write a checkpoint atomically and remove all but the last `keep`. Raises WorkError if the disk refuses."""
    path = folder / f"step-{step}.safetensors"
    try:
        write_tensors(path, tensors)
        values = {"format": FORMAT, "step": step, "sha256": file_sha256(path), **facts}
        with atomic(path.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(values, indent=1), encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise WorkError(
            f"{path} cannot be written ({error}): free some disk space; the previous checkpoint is intact"
        ) from None
    for old in _steps(folder)[keep:]:
        for suffix in (".json", ".safetensors"):
            with suppress(FileNotFoundError):
                (folder / f"step-{old}{suffix}").unlink()
    return path


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file atomically."""
    with atomic(path) as temporary:
        save_file({k: v.detach().cpu().contiguous() for k, v in _apart(tensors).items()}, str(temporary))


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, those that share their memory (a prior's decoders) as copies: the format has no place for that."""
    seen: set[int] = set()
    found = {}
    for name, tensor in tensors.items():
        found[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return found


def newest(folder: Path) -> Checkpoint | None:
    """The last complete checkpoint; None if there is none. Damaged ones after it are named in warnings."""
    for step in _steps(folder):
        path = folder / f"step-{step}.safetensors"
        try:
            return read(path)
        except WorkError as error:
            log.warning("%s; using the previous checkpoint", error)
    return None


def read(path: Path) -> Checkpoint:
    """A checkpoint; raises WorkError if it is damaged."""
    try:
        facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            raise WorkError(
                f"checkpoint {path} has format {facts['format']!r:.20}, this version reads {FORMAT}: update faceset"
            )
        if file_sha256(path) != facts["sha256"]:
            raise WorkError(f"checkpoint {path} is damaged: its hash differs from the recorded one")
        return Checkpoint(int(facts["step"]), load_file(str(path)), facts)
    except (*DAMAGED, SafetensorError) as error:
        raise WorkError(f"checkpoint {path} is damaged ({one_line(error)})") from None


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    """Tensors of the optimiser's state, by the name of their parameter."""
    for name, parameter in model.named_parameters():
        for moment, value in optimizer.state.get(parameter, {}).items():
            yield f"{name}.{moment}", value


def restore_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of `optimizer_tensors`; each tensor gets the device and memory layout of the optimiser's own."""
    fused = bool(optimizer.defaults.get("fused"))
    for name, parameter in model.named_parameters():
        state: dict[str, Tensor] = {}
        for key in [k for k in tensors if k.rpartition(".")[0] == name]:
            saved = tensors[key]
            if saved.shape == parameter.shape and saved.dim():
                state[key.rpartition(".")[2]] = torch.empty_like(parameter).copy_(saved).detach()
            else:
                # A fused optimiser counts its steps on the parameter's device.
                state[key.rpartition(".")[2]] = saved.clone().to(parameter.device if fused else saved.device)
        if state:
            optimizer.state[parameter] = state


def _steps(folder: Path) -> list[int]:
    """Steps that have a safetensors file, newest first."""
    if not folder.is_dir():
        return []
    return sorted((int(m[1]) for p in folder.iterdir() if (m := NAME.fullmatch(p.name))), reverse=True)
