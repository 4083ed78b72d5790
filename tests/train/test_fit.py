from __future__ import annotations

import csv
import itertools
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from curate.dataset.faceset import Faceset, open_faceset
from curate.errors import ConsentError, MissingError, UsageError, WorkError
from curate.types import Subject
from train import checkpoint, health, schedule
from train import step as stepping
from train.config import TrainConfig
from train.feed import batch_of
from train.fit import Summary, train
from train.on_ray import train_on_ray
from train.run import load_swapper, open_run, resumed_config
from train.schedule import rate

Pair = tuple[Path, Path]
MakeFaceset = Callable[..., Faceset]


class Killed(BaseException):
    """Stands for kill -9: nothing in the trainer may handle it."""


def killed_at(step: int) -> Callable[[str, int, int], None]:
    def progress(stage: str, done: int, total: int) -> None:
        if stage == "train" and done == step:
            raise Killed

    return progress


def losses_of(run: Path) -> list[tuple[str, str]]:
    with (run / "log.csv").open() as stream:
        return [(row["step"], row["loss"]) for row in csv.DictReader(stream)]


@pytest.fixture(scope="module")
def undisturbed(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary, TrainConfig]:
    """A run of six steps. Not to be changed."""
    from train.config import config_of

    small = {
        "encoder_width": 4,
        "decoder_width": 4,
        "latent": 16,
        "residuals": 0,
        "batch": 2,
        "device": "cpu",
        "identity": 0,
    }
    config = config_of("tiny", steps=6, save_every=3, log_every=2, preview_every=0, **small)
    out = tmp_path_factory.mktemp("runs") / "run"
    return out, train(config, *pair, out), config


def test_what_a_run_leaves(undisturbed: tuple[Path, Summary, TrainConfig], pair: Pair) -> None:
    out, summary, config = undisturbed
    assert (summary.steps, summary.resumed_from) == (6, None)
    assert 0 < summary.loss < 2 and -1 < summary.ssim < 1 and summary.seconds > 0
    run = open_run(out)
    assert (run.step, run.size, run.framing, run.config) == (6, 64, "full", config)
    assert run.source.subject == Subject("A", "self") and run.target.faces == 40
    assert run.target.clips[0][0] == "b" and len(run.target.clips[0][1]) == 64
    assert len(run.source.identity) == 128
    assert run.results["ssim"] == summary.ssim == (run.results["ssim_source"] + run.results["ssim_target"]) / 2
    assert len(run.held_out["source"]) == 4 and run.guard == {"source": 0.5, "target": 0.5}
    assert [step for step, _ in losses_of(out)] == ["2", "4", "6"]
    assert cv2.imread(str(out / "previews/step-6.png")).shape[1] > 700
    assert {p.name for p in (out / "checkpoints").iterdir()} == {
        f"step-{n}.{kind}" for n in (3, 6) for kind in ("json", "safetensors")
    }
    assert list((out / "tensorboard").glob("events.*"))


def test_nothing_is_pickled(undisturbed: tuple[Path, Summary, TrainConfig]) -> None:
    for path in undisturbed[0].rglob("*"):
        if path.is_file():
            head = path.read_bytes()[:2]
            assert head != b"PK" and not (head[:1] == b"\x80" and 2 <= head[1] <= 5), path
            assert (
                path.suffix in {".json", ".safetensors", ".csv", ".png", ".u8", ".f32", ".html", ".lock"}
                or "tfevents" in path.name
            )


def test_the_swapper_is_the_mean_of_the_weights(undisturbed: tuple[Path, Summary, TrainConfig]) -> None:
    out = undisturbed[0]
    last = checkpoint.read(out / "checkpoints/step-6.safetensors")
    weights = load_file(out / "model.safetensors")
    assert all(torch.equal(v, weights[k]) for k, v in last.part("ema").items())
    swapper = load_swapper(open_run(out), "cpu")
    crops = torch.rand(3, 3, 64, 64)
    rgb, mask = swapper.swap(crops)
    assert rgb.shape == crops.shape and mask.shape == (3, 1, 64, 64) and rgb.dtype == mask.dtype == torch.float32
    assert rgb.min() >= 0 and rgb.max() <= 1
    assert not torch.equal(rgb, swapper.reconstruct(crops)[0])
    with pytest.raises(ValueError, match="must be"):
        swapper.swap(torch.rand(1, 3, 32, 32))


@pytest.mark.parametrize("step", [1, 4, 5])
def test_resume_is_exact(undisturbed: tuple[Path, Summary, TrainConfig], pair: Pair, tmp_path: Path, step: int) -> None:
    whole, summary, config = undisturbed
    out = tmp_path / "run"
    with pytest.raises(Killed):
        train(config, *pair, out, progress=killed_at(step))
    assert not (out / "model.safetensors").exists()
    again = train(replace(config, save_every=2), *pair, out, resume=True)
    assert again.resumed_from == (None if step < 3 else 3)
    assert (again.loss, again.ssim) == (summary.loss, summary.ssim)
    for name in ("model.safetensors", "checkpoints/step-6.safetensors"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    assert losses_of(out) == losses_of(whole)


def test_every_option_together_resumes_exactly(pair: Pair, config: TrainConfig, tmp_path: Path) -> None:
    every = replace(
        config, arch="liae", steps=5, batch=4, accumulate=2, flip="all", perceptual_weight=0.1, adversarial_weight=0.01
    )
    train(every, *pair, tmp_path / "whole")
    with pytest.raises(Killed):
        train(every, *pair, tmp_path / "killed", progress=killed_at(4))
    train(every, *pair, tmp_path / "killed", resume=True)
    last = "checkpoints/step-5.safetensors"
    assert (tmp_path / "whole" / last).read_bytes() == (tmp_path / "killed" / last).read_bytes()
    assert any(k.startswith("adversary.") for k in checkpoint.read(tmp_path / "whole" / last).tensors)


def test_processes_that_torchrun_restarted_resume(
    undisturbed: tuple[Path, Summary, TrainConfig], pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _summary, config = undisturbed
    out = tmp_path / "run"
    with pytest.raises(Killed):
        train(config, *pair, out, progress=killed_at(4))
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    with pytest.raises(UsageError, match="already exists: use --resume"):
        train(config, *pair, out)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert train(config, *pair, out).resumed_from == 3
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_the_cache_may_lie_on_the_machines_own_disk(pair: Pair, config: TrainConfig, tmp_path: Path) -> None:
    train(replace(config, steps=1), *pair, tmp_path / "run", cache=tmp_path / "own" / "disk")
    assert (tmp_path / "own/disk/source.u8").is_file() and not list((tmp_path / "run/cache").iterdir())


def test_without_ray_the_error_names_the_command(
    pair: Pair, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingError, match=r"pip install 'faceset\[cluster\]'"):
        train_on_ray(config, *pair, tmp_path / "run")


def test_a_truncated_checkpoint_is_refused_and_the_one_before_used(
    undisturbed: tuple[Path, Summary, TrainConfig], pair: Pair, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole, _, config = undisturbed
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    last = out / "checkpoints/step-6.safetensors"
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    with caplog.at_level(logging.WARNING):
        assert train(config, *pair, out, resume=True).resumed_from == 3
    assert "step-6.safetensors is damaged" in caplog.text and "using the previous checkpoint" in caplog.text
    assert last.read_bytes() == (whole / "checkpoints/step-6.safetensors").read_bytes()


def test_resuming_a_finished_run(undisturbed: tuple[Path, Summary, TrainConfig], pair: Pair, tmp_path: Path) -> None:
    whole, summary, config = undisturbed
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    same = train(config, *pair, out, resume=True)
    assert (same.steps, same.resumed_from, same.loss, same.ssim) == (6, 6, summary.loss, summary.ssim)
    assert same.ended == summary.ended == "finished"
    longer = train(resumed_config(out, steps=8), *pair, out, resume=True)
    assert (longer.steps, longer.resumed_from, open_run(out).step) == (8, 6, 8)
    with pytest.raises(UsageError, match="--steps 7: the run is already at step 8"):
        train(resumed_config(out, steps=7), *pair, out, resume=True)
    with pytest.raises(UsageError, match=r"--preset small: the run in .* was started with tiny"):
        resumed_config(out, "small")


def test_an_existing_folder_is_not_touched_without_force(
    undisturbed: tuple[Path, Summary, TrainConfig], pair: Pair, tmp_path: Path
) -> None:
    whole, _, config = undisturbed
    with pytest.raises(UsageError, match="already exists: use --resume to continue it or --force to replace it"):
        train(config, *pair, whole)
    other = tmp_path / "photos"
    other.mkdir()
    (other / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="already exists and is not a run: give another folder"):
        train(config, *pair, other)
    with pytest.raises(UsageError, match="is no run"):
        train(config, *pair, other, resume=True)
    (other / "reports").mkdir()
    (other / "reports" / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="already exists and is not a run: give another folder"):
        train(config, *pair, other, force=True)
    with pytest.raises(UsageError, match="already exists and is not a run: give another folder"):
        train(config, *pair, pair[0], force=True)
    assert (other / "mine.txt").read_text() == (other / "reports" / "mine.txt").read_text() == "keep"
    with pytest.raises(UsageError, match="is a file"):
        train(config, *pair, other / "mine.txt")


def test_init_takes_the_encoder_only(
    undisturbed: tuple[Path, Summary, TrainConfig], pair: Pair, tmp_path: Path
) -> None:
    whole, _, config = undisturbed
    one = replace(config, steps=1, lr=1e-8)
    train(one, *pair, tmp_path / "run", init=whole)
    old, new = load_file(whole / "model.safetensors"), load_file(tmp_path / "run/model.safetensors")
    assert torch.allclose(old["encoder.squeeze.weight"], new["encoder.squeeze.weight"], atol=1e-6)
    assert not torch.allclose(old["source.head.weight"], new["source.head.weight"], atol=1e-6)
    assert open_run(tmp_path / "run").init == str(whole.resolve())
    with pytest.raises(UsageError, match="another shape"):
        train(replace(one, latent=8), *pair, tmp_path / "other", init=whole)


@pytest.mark.parametrize("subject", [None, Subject("B", None), Subject("B", "release")])
def test_no_consent_no_training(
    make_faceset: MakeFaceset, pair: Pair, config: TrainConfig, tmp_path: Path, subject: Subject | None
) -> None:
    made = make_faceset(tmp_path / "b", "b")
    made.changed(subject=subject)
    for source, target in ((pair[0], tmp_path / "b"), (tmp_path / "b", pair[0])):
        with pytest.raises(ConsentError, match=str(tmp_path / "b")):
            train(config, source, target, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_wrong_calls(make_faceset: MakeFaceset, pair: Pair, config: TrainConfig, tmp_path: Path) -> None:
    make_faceset(tmp_path / "b", "b", framing="head")
    with pytest.raises(UsageError, match=r"has framing full, .* has head: curate one of them again"):
        train(config, pair[0], tmp_path / "b", tmp_path / "run")
    with pytest.raises(UsageError, match="is not a faceset"):
        train(config, pair[0], tmp_path / "nothing", tmp_path / "run")
    shutil.copytree(pair[1], tmp_path / "unselected")
    (tmp_path / "unselected/selection.parquet").unlink()
    with pytest.raises(WorkError, match=r"has no selection: .*faceset select"):
        train(config, pair[0], tmp_path / "unselected", tmp_path / "run", force=True)
    with pytest.raises(UsageError, match="--resume and --force"):
        train(config, *pair, tmp_path / "run", resume=True, force=True)
    with pytest.raises(UsageError, match="--precision fp16 needs a CUDA device"):
        train(replace(config, precision="fp16"), *pair, tmp_path / "run")
    with pytest.raises(WorkError, match="cannot be written"):
        train(config, *pair, Path("/proc/nowhere"))
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_resumed_with_another_subject(
    undisturbed: tuple[Path, Summary, TrainConfig], make_faceset: MakeFaceset, pair: Pair, tmp_path: Path
) -> None:
    whole, _, config = undisturbed
    make_faceset(tmp_path / "c", "c")
    with pytest.raises(UsageError, match=r"the source of .* is A, not C"):
        train(config, tmp_path / "c", pair[1], whole, resume=True)


def spoiled(monkeypatch: pytest.MonkeyPatch, steps: Callable[[int], bool]) -> None:
    """Make the loss no number in the steps for which `steps` is true; they are counted as they are done."""
    honest, done = stepping.losses, itertools.count(2)  # two sides a step

    def losses(*args: Any) -> dict[str, torch.Tensor]:
        wrong = steps(next(done) // 2)
        return {k: v * float("nan") if wrong else v for k, v in honest(*args).items()}

    monkeypatch.setattr(stepping, "losses", losses)


def test_a_step_that_is_not_finite_is_skipped(
    pair: Pair, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spoiled(monkeypatch, lambda step: step == 4)
    with caplog.at_level(logging.WARNING):
        assert train(config, *pair, tmp_path / "run").steps == 6
    assert "l1_source is nan at step 4: this step is skipped" in caplog.text
    weights = load_file(tmp_path / "run/model.safetensors")
    assert all(v.isfinite().all() for v in weights.values())


def test_after_several_the_last_good_state_returns_with_half_the_rate(
    pair: Pair, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spoiled(monkeypatch, lambda step: 5 <= step < 5 + health.MAX_SKIPPED)  # step 6 would be saved
    with caplog.at_level(logging.WARNING):
        assert train(replace(config, steps=12), *pair, tmp_path / "run").steps == 12
    assert "returning to step 3 at half the learning rate" in caplog.text
    last = checkpoint.read(tmp_path / "run/checkpoints/step-12.safetensors")
    assert (last.facts["slow"], last.facts["returns"]) == (0.5, 1)
    with (tmp_path / "run/log.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["step"] for row in rows] == ["2", "4", "6", "8", "10", "12"]
    assert float(rows[-1]["lr"]) == pytest.approx(0.5 * rate(replace(config, steps=12), 11))


def test_a_loss_that_stays_no_number_ends_it_and_is_named(
    pair: Pair, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoiled(monkeypatch, lambda step: True)
    with pytest.raises(
        WorkError, match=r"l1_source is nan at step 5, even after .* good state 3 times.* an --lr below 0.002"
    ):
        train(replace(config, steps=20), *pair, tmp_path / "run")
    assert checkpoint.newest(tmp_path / "run/checkpoints") is None


@pytest.mark.parametrize(("most", "said"), [(1, "1 would: use --batch 1, or --accumulate 4"), (0, "neither does one")])
def test_too_little_memory_names_the_batch_that_fits(
    pair: Pair, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, said: str
) -> None:
    """Simulated: the losses of more than `most` faces find no memory."""
    honest = stepping.losses

    def losses(output: torch.Tensor, *args: Any) -> dict[str, torch.Tensor]:
        if len(output) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return honest(output, *args)

    monkeypatch.setattr(stepping, "losses", losses)
    with pytest.raises(WorkError, match=rf"4 faces per side and pass at 64 px \(--batch 4\) do not fit.*{said}"):
        train(replace(config, batch=4), *pair, tmp_path / "run")


def test_a_batch_in_passes_learns_the_same(pair: Pair, config: TrainConfig, tmp_path: Path) -> None:
    for passes in (1, 4):
        train(replace(config, steps=3, batch=4, accumulate=passes), *pair, tmp_path / str(passes))
    one, four = (checkpoint.read(tmp_path / f"{n}/checkpoints/step-3.safetensors") for n in (1, 4))
    moved = [(one.tensors[k] - v).abs().max().item() for k, v in four.tensors.items() if k.startswith("model.")]
    assert max(moved) < 1e-4


def test_a_plateau_ends_it_after_a_cool_down(
    pair: Pair, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "on_plateau", lambda log: len(log) >= 3)
    plain = replace(config, steps=1000, stop="auto", preview_every=4, log_every=4, save_every=5, price=360.0)
    whole = train(plain, *pair, tmp_path / "run")
    assert (whole.steps, whole.ended) == (14, "plateau")  # found at 12, 15 % more
    assert whole.cost == pytest.approx(360 * whole.device_hours) and 0 < whole.device_hours < 1
    with pytest.raises(Killed):
        train(plain, *pair, tmp_path / "killed", progress=killed_at(13))
    assert train(plain, *pair, tmp_path / "killed", resume=True).steps == 14
    one, two = (load_file(tmp_path / f"{n}/model.safetensors") for n in ("run", "killed"))
    assert all(torch.equal(v, two[k]) for k, v in one.items())


def test_overfits_a_few_faces(pair: Pair, config: TrainConfig, tmp_path: Path) -> None:
    small = replace(config, steps=120, batch=4, encoder_width=8, decoder_width=8, latent=64, log_every=5, lr=3e-3)
    done = train(replace(small, save_every=1000, warmup=10), *pair, tmp_path / "run")
    curve = [float(loss) for _, loss in losses_of(tmp_path / "run")]
    assert curve[-1] < 0.5 * curve[0]
    assert done.ssim > 0.6


def test_two_processes_share_what_one_would_do(pair: Pair, config: TrainConfig, tmp_path: Path) -> None:
    train(replace(config, steps=1), *pair, tmp_path / "run")
    from train.data import load_side

    sides = {"source": load_side("source", open_faceset(pair[0]), config, tmp_path / "run/cache", False, print)}

    def share(size: int, rank: int, world: int) -> torch.Tensor:
        batch = batch_of(sides["source"], 9, replace(config, batch=size), rank, world)
        return batch.part(slice(None)).pictures(config.size)[0]

    assert torch.equal(share(4, 0, 1), torch.cat([share(2, 0, 2), share(2, 1, 2)]))


def test_rate_rises_then_falls(config: TrainConfig) -> None:
    plain = replace(config, lr=1e-3, warmup=10, steps=110, final_lr=0.1)
    rates = np.array([rate(plain, step) for step in range(110)])
    assert rates[0] == pytest.approx(1e-4) and rates[9] == pytest.approx(1e-3) == rates.max()
    assert (np.diff(rates[10:]) < 0).all() and rates[-1] == pytest.approx(1e-4, rel=0.01)


PROGRAM = """
import os, signal, sys, threading
from dataclasses import replace
from pathlib import Path
import torch
from curate.errors import WorkError
from train.config import from_json
from train.fit import train
import json
torch.set_num_threads(1)
def progress(stage, done, total):
    if stage == "train" and done == 3:
        print("running", flush=True)
        if os.environ["KILL_AFTER"]:
            threading.Timer(float(os.environ["KILL_AFTER"]), os.kill, (os.getpid(), signal.SIGKILL)).start()
try:
    train(from_json(json.loads(sys.argv[4])), *map(Path, sys.argv[1:4]), progress=progress)
except WorkError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


def launched(arguments: list[str], seconds: float | None = None) -> subprocess.Popen[str]:
    """PROGRAM in a process of its own; it kills itself (SIGKILL) so many seconds after its third step."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "KILL_AFTER": str(seconds or "")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], env=environment, **pipes)


@pytest.fixture(scope="module")
def long_run(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainConfig, float]:
    """A run of 150 steps that saves every third, and its seconds. Not to be changed."""
    from train.config import config_of

    small = {"encoder_width": 4, "decoder_width": 4, "latent": 16, "residuals": 0, "batch": 2, "device": "cpu"}
    config = config_of("tiny", steps=150, save_every=3, log_every=10, preview_every=0, identity=0, **small)
    out = tmp_path_factory.mktemp("long") / "run"
    return out, config, train(config, *pair, out).seconds


@pytest.mark.parametrize("chance", range(3))
def test_killed_at_a_random_moment_it_resumes_bit_for_bit(
    long_run: tuple[Path, TrainConfig, float], pair: Pair, tmp_path: Path, chance: int
) -> None:
    whole, config, duration = long_run
    seconds = random.uniform(0, duration / 3)  # it must not end before
    with launched([*map(str, (*pair, tmp_path / "run")), json.dumps(config.to_json())], seconds) as process:
        _, errors = process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL, errors[-2000:]
    done = train(config, *pair, tmp_path / "run", resume=True)
    last = "checkpoints/step-150.safetensors"
    assert (tmp_path / "run" / last).read_bytes() == (whole / last).read_bytes(), (seconds, done.resumed_from)
    assert losses_of(tmp_path / "run") == losses_of(whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_leaves(pair: Pair, config: TrainConfig, tmp_path: Path, number: signal.Signals) -> None:
    endless = replace(config, steps=1_000_000, save_every=1_000_000, log_every=1000)
    out = tmp_path / "run"
    with launched([*map(str, (*pair, out)), json.dumps(endless.to_json())]) as process:
        assert process.stdout is not None and process.stdout.readline() == "running\n"
        time.sleep(0.2)
        process.send_signal(number)
        _, errors = process.communicate(timeout=300)
    assert process.returncode == {signal.SIGTERM: 1, signal.SIGINT: 130}[number]
    assert f"stopped by {number.name} at step" in errors and "--resume" in errors and "Traceback" not in errors
    step = open_run(out).step
    assert step >= 3
    done = train(resumed_config(out, steps=step + 2), *pair, out, resume=True)
    assert (done.resumed_from, done.steps) == (step, step + 2)
