"""State of a running training: set up, saved to checkpoints, restored, rewound."""

from __future__ import annotations

import atexit
import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import DDPCommunicationHookType, DistributedDataParallelKwargs, InitProcessGroupKwargs
from torch import Tensor, nn

from curate.dataset.consent import FORGOTTEN
from curate.errors import ConsentError, UsageError, WorkError
from curate.safe_io import DAMAGED, one_line
from train import checkpoint
from train.adversary import Adversary, make
from train.config import TrainConfig, same_encoder
from train.data import Side
from train.feed import Feed
from train.growth import grows
from train.journal import TERMS
from train.meeting import own_store
from train.memory import estimate
from train.model import SIDES, Swap, build, parameter_counts, share_decoder
from train.processes import PATIENCE, check_equal, leave, newest, same_everywhere
from train.run import Run, is_run, load_swapper, open_run, resolve_device

log = logging.getLogger(__name__)

KEPT = {"slow": "lr_factor", "returns": "rewinds", "cooling": "cooling", "failed": "failed_at"}
"""Plain values of the state in a checkpoint: their names there and here."""
READ_EVERY = 25
"""Steps between reads of a CUDA device's counts of skipped steps."""
WINDOW = (*(f"{term}_{side}" for side in SIDES for term in TERMS), "gradient")
"""Values that are summed between two log lines."""


@dataclass
class Training:
    """The state of a run in one process."""

    config: TrainConfig
    accelerator: Accelerator
    model: Swap
    wrapped: nn.Module
    """`model`, wrapped by Accelerate, and compiled where that pays (`train.compiling`)."""
    ema: Swap
    """Exponential moving average of the weights."""
    optimizer: torch.optim.Optimizer
    prepared: Any
    """`optimizer`, wrapped by Accelerate."""
    sides: dict[str, Side]
    feed: Feed
    adversary: Adversary | None = None
    step: int = 0
    """Number of steps done."""
    seconds: float = 0.0
    """Training time before this call, seconds."""
    sums: Tensor | None = None
    """(len(WINDOW),) sums of this process since the last log line."""
    counted: int = 0
    """Number of steps in `sums`; skipped ones are taken off when `health` is read."""
    lr_factor: float = 1.0
    """Factor of the learning rate; halved at every rewind."""
    rewinds: int = 0
    """How often the training diverged and returned to its last good state, since it last recovered."""
    failed_at: int = 0
    """Step at which it last diverged."""
    health: Tensor | None = None
    """(3 + len(WINDOW),) on the device: steps skipped in a row, skipped since the last read, since the last skipped one
    with its values; None before the first step."""
    read_every: int = 1
    """Steps between reads of `health`."""
    skipped: int = 0
    """Steps skipped in a row, when last read."""
    plain: nn.Module | None = None
    """`wrapped` as it is where `wrapped` is compiled."""
    cooling: int | None = None
    """Step at which the cool-down of `--stop auto` began, if it has."""


def make_accelerator(config: TrainConfig) -> Accelerator:
    """Accelerate's handle on processes, device and precision; raises UsageError if the device is not available."""
    device = resolve_device(config.device)
    precision = precision_of(config, device)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32, where autocast leaves float32
        torch.backends.cudnn.allow_tf32 = True
    if advice := told_of_gpus(config, device, int(os.environ.get("WORLD_SIZE", "1"))):
        log.info("%s", advice)
    if store := own_store(PATIENCE):
        PartialState(cpu=device.type == "cpu", timeout=PATIENCE, **store)
    atexit.register(leave)
    return Accelerator(
        cpu=device.type == "cpu",
        mixed_precision="no" if precision == "fp32" else precision,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE), gradients(config, precision)],
    )


def gradients(config: TrainConfig, precision: str) -> DistributedDataParallelKwargs:
    """How gradients travel between processes: buckets are the gradients themselves, in bf16 where the network is."""
    half = config.gradients == "bf16" or (config.gradients == "auto" and precision == "bf16")
    hook = DDPCommunicationHookType.BF16 if half else DDPCommunicationHookType.NO
    return DistributedDataParallelKwargs(gradient_as_bucket_view=True, comm_hook=hook)


def told_of_gpus(config: TrainConfig, device: torch.device, processes: int) -> str:
    """The command that uses all GPUs of this machine; empty where this call uses them, or names a device itself."""
    count = torch.cuda.device_count() if device.type == "cuda" else 0
    if config.device != "auto" or processes > 1 or count < 2:
        return ""
    return (
        f"this machine has {count} GPUs and this call uses one: torchrun --nproc-per-node {count} -m faceset train ... "
        "uses all"
    )


def precision_of(config: TrainConfig, device: torch.device) -> str:
    """fp32, bf16 or fp16; auto is bf16 on CUDA devices that compute in it, and does not take emulation for that.

    Raises UsageError if the device does not have the precision.
    """
    if config.precision == "fp16" and device.type != "cuda":
        raise UsageError("--precision fp16 needs a CUDA device; use bf16 or fp32")
    if config.precision != "auto":
        return config.precision
    fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if fast else "fp32"


def precision_name(accelerator: Accelerator) -> str:
    """fp32, bf16 or fp16."""
    return "fp32" if accelerator.mixed_precision == "no" else str(accelerator.mixed_precision)


def setup(config: TrainConfig, accelerator: Accelerator, sides: dict[str, Side], one_decoder: bool = False) -> Training:
    """State with new weights, their moving average and an optimiser; `one_decoder`: both sides share it.

    With `--batch auto`, for one face per pass: see `train.room.choose`.
    """
    config = config if config.batch else replace(config, batch=config.accumulate)
    device = accelerator.device
    model, ema = build(config).to(device), build(config).to(device).requires_grad_(False)
    if one_decoder:
        share_decoder(model)
        share_decoder(ema)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=config.lr,
        betas=(0.9, 0.99),
        weight_decay=config.weight_decay,
        fused=device.type != "mps",
    )
    wrapped, prepared = accelerator.prepare(model, optimizer)
    millions = {k: v / 1e6 for k, v in parameter_counts(model).items()}
    log.log(
        logging.INFO if accelerator.is_main_process else logging.DEBUG,
        "%.2f M parameters (encoder %.2f M, each decoder %.2f M), %d px, %s, precision %s, "
        "processes: %d, memory: about %.1f GB each",
        millions["all"], millions["encoder"], millions["source"],
        config.size, device, precision_name(accelerator), accelerator.num_processes, estimate(config) / 1e9,
    )  # fmt: skip
    feed, adversary = new_feed(sides, config, accelerator), make(config, device)
    training = Training(config, accelerator, model, wrapped, ema, optimizer, prepared, sides, feed, adversary)
    training.read_every = READ_EVERY if device.type == "cuda" else 1
    return training


def new_feed(sides: dict[str, Side], config: TrainConfig, accelerator: Accelerator) -> Feed:
    """Batches of this process."""
    pin = accelerator.device.type == "cuda"
    return Feed(sides, config, accelerator.process_index, accelerator.num_processes, pin)


def check_init(init: Path, config: TrainConfig) -> Run:
    """The run or prior of --init or --grow. Raises UsageError if there is none, or its encoder has another shape."""
    if not is_run(init):
        raise UsageError(f"--init {init}: is neither a run nor a prior (it has no run.json)")
    run = open_run(init)
    check_known(run, "--init")
    if not run.people and not same_encoder(run.config, config) and not grows(run.config, config):
        raise UsageError(
            f"--init {init}: its encoder has another shape ({run.config.preset}, {run.size} px): use that preset"
        )
    return run


def check_known(run: Run, flag: str) -> None:
    """Raise ConsentError for a run of somebody who was forgotten: nothing is left of its network."""
    if any(side.subject.name.startswith(FORGOTTEN) for side in (run.source, run.target, *run.people)):
        raise ConsentError(
            f"{flag} {run.path}: belonged to a subject who was forgotten, so it cannot be used: train a new run"
        )


def take_encoder(training: Training, init: Path) -> None:
    """Initialise the encoder from another run; its decoders are left out, since they draw other people.

    From a prior the whole network, and from a smaller run that the network was grown from (`train.growth`) all of it.
    Raises UsageError if the weights have another shape.
    """
    run = check_init(init, training.config)
    if run.people:
        _take_all(training, run)
        return
    if grows(run.config, training.config):
        weights = load_swapper(run, "cpu").model.state_dict()
        for model in (training.model, training.ema):
            model.load_state_dict(weights, strict=False)  # what is added stays as it was built
        return
    found = load_swapper(run, "cpu").model
    for model in (training.model, training.ema):
        model.encoder.load_state_dict(found.encoder.state_dict())
        if model.performance is not None and found.performance is not None:
            model.performance.load_state_dict(found.performance.state_dict())


def _take_all(training: Training, prior: Run) -> None:
    weights = load_swapper(prior, "cpu").model.state_dict()
    for model in (training.model, training.ema):
        if {k: v.shape for k, v in model.state_dict().items()} != {k: v.shape for k, v in weights.items()}:
            raise UsageError(
                f"--init {prior.path}: the prior has another shape ({prior.config.preset}, {prior.size} px, --arch "
                f"{prior.config.arch}, --drive {prior.config.drive}): use the same options"
            )
        model.load_state_dict(weights)


def weights_of(training: Training) -> dict[str, Tensor]:
    """All that has to be the same in every process: weights, their mean, the discriminators."""
    found = {f"model.{k}": v for k, v in training.model.state_dict().items()}
    found |= {f"ema.{k}": v for k, v in training.ema.state_dict().items()}
    if training.adversary is not None:
        found |= {f"adversary.{k}": v for k, v in training.adversary.networks.state_dict().items()}
    return found


def synchronise(training: Training) -> None:
    """Give every process the weights of rank 0; all processes have to call it."""
    same_everywhere(training.accelerator, list(weights_of(training).values()))


def means(training: Training) -> dict[str, float]:
    """Means over the steps since the last log line and over all processes; every process has to call it."""
    if training.sums is None or not training.counted:
        return {}
    sums = training.accelerator.reduce(training.sums, reduction="mean").tolist()
    return {name: value / training.counted for name, value in zip(WINDOW, sums, strict=True)}


def save(training: Training, run: Run, seconds: float) -> Run:
    """Write a checkpoint and run.json; returns the run as written. Every process has to call it; rank 0 writes."""
    sums = None if training.sums is None else training.accelerator.reduce(training.sums, reduction="mean").tolist()
    run = replace(run, step=training.step)
    check_equal(training.accelerator, weights_of(training))
    if not training.accelerator.is_main_process:
        return run
    tensors = {f"model.{k}": v for k, v in training.model.state_dict().items()}
    tensors |= {f"ema.{k}": v for k, v in training.ema.state_dict().items()}
    tensors |= {f"optimizer.{k}": v for k, v in checkpoint.optimizer_tensors(training.model, training.optimizer)}
    if training.adversary is not None:
        tensors |= {f"adversary.{k}": v for k, v in training.adversary.tensors().items()}
    facts: dict[str, Any] = {"seconds": training.seconds + seconds, "sums": sums, "counted": training.counted}
    facts |= {key: getattr(training, name) for key, name in KEPT.items()}
    if training.accelerator.scaler is not None:
        facts["scaler"] = training.accelerator.scaler.state_dict()
    checkpoint.write(run.path / "checkpoints", training.step, tensors, facts, training.config.keep)
    run.save()
    return run


def restore(training: Training, saved: checkpoint.Checkpoint) -> None:
    """Load a checkpoint; raises WorkError if its network has another shape, UsageError if it is past `--steps`."""
    if saved.step > training.config.steps:
        raise UsageError(
            f"--steps {training.config.steps}: the run is already at step {saved.step}; give a higher number"
        )
    try:
        training.model.load_state_dict(saved.part("model"))
        training.ema.load_state_dict(saved.part("ema"))
        if training.adversary is not None and (discriminators := saved.part("adversary")):
            training.adversary.restore(discriminators)
        checkpoint.restore_optimizer(training.model, training.optimizer, saved.part("optimizer"))
        _restore_facts(training, saved)
    except DAMAGED as error:
        raise WorkError(f"checkpoint of step {saved.step}: {one_line(error)}: start a new run") from None
    log.info("resuming after step %d", training.step)


def _restore_facts(training: Training, saved: checkpoint.Checkpoint) -> None:
    if training.accelerator.scaler is not None and "scaler" in saved.facts:
        training.accelerator.scaler.load_state_dict(saved.facts["scaler"])
    training.step = saved.step
    training.seconds = float(saved.facts["seconds"])
    training.counted = int(saved.facts["counted"])
    for key, name in KEPT.items():
        if key in saved.facts:
            setattr(training, name, saved.facts[key])
    if saved.facts["sums"] is not None:
        training.sums = torch.tensor(saved.facts["sums"], device=training.accelerator.device)


def rewind(training: Training, folder: Path, init: Path | None) -> None:
    """Return to the last checkpoint, or to the beginning if there is none, at half the learning rate."""
    lr_factor, rewinds = training.lr_factor / 2, training.rewinds + 1
    failed_at = training.step + 1
    last = newest(training.accelerator, folder)
    training.sums, training.counted, training.skipped, training.health = None, 0, 0, None
    if last is not None:
        restore(training, last)
    else:
        fresh = build(training.config).state_dict()
        training.model.load_state_dict(fresh)
        training.ema.load_state_dict(fresh)
        training.optimizer.state.clear()
        training.adversary = make(training.config, training.accelerator.device)
        training.step, training.cooling = 0, None
        if init is not None:
            take_encoder(training, init)
    synchronise(training)
    training.lr_factor, training.rewinds, training.failed_at = lr_factor, rewinds, failed_at
