"""Check of a cluster before hours are spent: devices, versions, a shared folder, and the bandwidth between processes.

Start it as the training would be started: `torchrun --nnodes 2 ... -m faceset doctor --cluster FOLDER`.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object

from train.config import TrainConfig
from train.processes import together
from train.state import make_accelerator

PACKAGES = ("faceset", "torch", "accelerate", "numpy")
MEGABYTES = 32
"""Size of the tensor whose sum is timed."""
ROUNDS = 3
SEEN = 10.0
"""Seconds after which another machine's file has to be visible; network file systems show it late."""
SMALL = 0.133
"""Gradients of the preset `small` in GB, in float32."""


@dataclass(frozen=True)
class Finding:
    """One check of the cluster."""

    name: str
    state: str
    """ok or missing."""
    text: str


def check_cluster(folder: Path, device: str = "auto") -> list[Finding]:
    """Checks over all processes of this launch, the same in each; all of them have to call it.

    folder: what the machines should share, for example the parent of the run's folder.
    """
    accelerator = make_accelerator(TrainConfig(device=device, precision="fp32"))
    with together(accelerator):
        places: list[dict[str, Any]] = gather_object([_place(accelerator)])
        return [
            _processes(places),
            _versions(places),
            _shared(accelerator, folder),
            _bandwidth(accelerator),
        ]


def _place(accelerator: Accelerator) -> dict[str, Any]:
    """What one process runs on."""
    device = accelerator.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    found = {"rank": accelerator.process_index, "machine": socket.gethostname(), "device": name}
    return found | {"index": device.index or 0, "versions": {p: _version(p) for p in PACKAGES}}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "from source"


def _processes(places: list[dict[str, Any]]) -> Finding:
    """Every process needs a GPU of its own, if there are GPUs, and all should be of one kind."""
    text = "; ".join(f"{p['rank']}: {p['machine']}, {p['device']}" for p in places)
    cards = [(p["machine"], p["index"]) for p in places if p["device"] not in ("cpu", "mps")]
    kinds = {p["device"] for p in places}
    if len(set(cards)) < len(cards):
        return Finding("devices", "missing", f"{text}: several processes share a GPU, start one per GPU")
    if len(kinds) > 1:
        return Finding("devices", "missing", f"{text}: different devices, the slowest sets the pace of all")
    return Finding("devices", "ok", f"{len(places)} processes: {text}")


def _versions(places: list[dict[str, Any]]) -> Finding:
    """Processes with other versions may compute other weights."""
    wrong = {p: sorted({str(place["versions"][p]) for place in places}) for p in PACKAGES}
    text = "; ".join(f"{p} {', '.join(v)}" for p, v in wrong.items() if len(v) > 1)
    if text:
        return Finding("versions", "missing", f"{text}: install the same versions on all machines")
    return Finding("versions", "ok", "; ".join(f"{p} {v[0]}" for p, v in wrong.items()))


def _shared(accelerator: Accelerator, folder: Path) -> Finding:
    """Whether every process sees a file that rank 0 writes."""
    name = [f".faceset-{uuid4()}"]
    broadcast_object_list(name)
    mark, error = folder / name[0], ""
    if accelerator.is_main_process:
        try:
            mark.write_text("faceset doctor --cluster")
        except OSError as problem:
            error = f"{folder} cannot be written ({problem.strerror})"
    accelerator.wait_for_everyone()
    begun = time.monotonic()
    while not mark.is_file() and time.monotonic() - begun < SEEN and not error:
        os.listdir(folder) if folder.is_dir() else None  # makes some network file systems look again
        time.sleep(0.2)
    blind: list[str] = gather_object(
        [] if mark.is_file() else [f"{socket.gethostname()} ({accelerator.process_index})"]
    )
    errors: list[str] = gather_object([error] if error else [])
    if accelerator.is_main_process:
        mark.unlink(missing_ok=True)
    if errors:
        return Finding("folder", "missing", errors[0])
    if blind:
        text = f"{folder} is not shared: not seen by {', '.join(blind)}; only the first process can write a run there"
        return Finding("folder", "missing", text)
    return Finding("folder", "ok", f"{folder} is seen by all processes")


def _bandwidth(accelerator: Accelerator) -> Finding:
    """Speed at which gradients are summed over all processes: bytes of the tensor per second."""
    if accelerator.num_processes == 1:
        return Finding("bandwidth", "ok", "one process: nothing to send")
    tensor = torch.ones(MEGABYTES * 250_000, device=accelerator.device)
    times = []
    for _ in range(ROUNDS + 1):
        accelerator.wait_for_everyone()
        begun = time.perf_counter()
        float(accelerator.reduce(tensor, reduction="mean")[0])
        times.append(time.perf_counter() - begun)
    rate = [MEGABYTES / 1000 / min(times[1:])]
    broadcast_object_list(rate)
    seconds = SMALL / rate[0]
    return Finding(
        "bandwidth", "ok", f"{rate[0]:.2f} GB/s: {1000 * seconds:.0f} ms per step for the gradients of small in fp32"
    )
