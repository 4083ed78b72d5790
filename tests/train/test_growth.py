"""Growth: a grown network begins with the small one's picture, enlarged, and its weights at the same resolutions."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from curate.dataset.faceset import Faceset, open_faceset
from curate.errors import UsageError
from tests.command import call
from train.config import FIXED_ON_RESUME, PRESETS, TrainConfig, check_resume, from_json
from train.data import load_side
from train.drive import NAMES
from train.fit import train
from train.growth import grown_config, grows
from train.model import Swap, build
from train.outlines import MAPS
from train.run import Run, load_swapper, open_run
from train.start import outlined

Pair = tuple[Path, Path]
STEP = 1e-8
"""Learning rate that changes nothing that can be seen."""


def grown(config: TrainConfig, **given: Any) -> TrainConfig:
    return grown_config("small run", config, "tiny", {"size": 2 * config.size, **given})


def trained(config: TrainConfig) -> Swap:
    """A network whose every weight is another than at the start."""
    model = build(config)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def taken(config: TrainConfig, small: Swap) -> Swap:
    model = build(config)
    missing, unexpected = model.load_state_dict(small.state_dict(), strict=False)
    assert not unexpected and missing and all(".finer." in name for name in missing)
    return model


def sizes(model: Swap, size: int, acts: Tensor | None) -> dict[str, tuple[int, int]]:
    """Of each convolution the sides of what it reads and draws, pixels."""
    found: dict[str, tuple[int, int]] = {}

    def note(name: str) -> Callable[..., None]:
        return lambda module, given, out: found.update({name: (given[0].shape[-1], out.shape[-1])})

    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note(name))
    model.through(torch.rand(1, 3, size, size), "source", acts)
    return found


@pytest.mark.parametrize("head", ["full", "shuffle"])
@pytest.mark.parametrize("drive", ["outlines", "scores", "picture"])
@pytest.mark.parametrize("arch", ["df", "liae"])
def test_a_grown_network_begins_with_the_small_ones_picture_enlarged(
    config: TrainConfig, arch: str, drive: str, head: str
) -> None:
    config = replace(config, arch=arch, drive=drive, head=head, modulation=drive == "scores", residuals=1)
    small = trained(config)
    twice, once = grown(grown(config)), grown(config)
    models = {128: taken(once, small), 256: taken(twice, small)}
    assert set(models[128].state_dict()) < set(models[256].state_dict())  # so that a grown run can grow
    for size, model in models.items():
        crops, maps = torch.rand(2, 3, size, size), (torch.rand(2, len(MAPS), size, size) > 0.5).float()
        acts = {"outlines": (F.avg_pool2d(maps, size // 64), maps), "scores": (torch.ones(2, len(NAMES)),) * 2}
        less, more = acts.get(drive, (None, None))
        with torch.no_grad():
            for side in ("source", "target"):
                drawn = small.through(F.avg_pool2d(crops, size // 64), side, less)
                for _ in range(int(np.log2(size // 64))):
                    drawn = F.interpolate(drawn, scale_factor=2, mode="bilinear")
                torch.testing.assert_close(model.through(crops, side, more), drawn, atol=1e-5, rtol=0)


def test_trained_levels_stay_at_their_resolutions(config: TrainConfig) -> None:
    small, large = trained(config), taken(grown(config), trained(config))
    before = sizes(small, 64, torch.rand(1, len(MAPS), 64, 64))
    after = sizes(large, 128, torch.rand(1, len(MAPS), 128, 128))
    assert before and {name: after[name] for name in before} == before
    assert after["encoder.finer.0.read"] == (128, 64) and after["source.finer.0.head"] == (128, 128)


def test_everything_that_was_added_learns(config: TrainConfig) -> None:
    """What starts at zero does not stay there, and after one step what lies before it learns too."""
    model = taken(grown(grown(config)), trained(config))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    maps = torch.rand(2, len(MAPS), 256, 256)
    for _ in range(3):
        optimizer.zero_grad()
        source, target = model(torch.rand(1, 3, 256, 256), torch.rand(1, 3, 256, 256), maps)
        (source.square().mean() + target.square().mean()).backward()
        optimizer.step()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert not still


@pytest.fixture(scope="module")
def small_run(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the fixture `config`. Not to be changed."""
    out = tmp_path_factory.mktemp("small") / "run"
    tiny = {"device": "cpu", "steps": 6, "batch": 2, "save_every": 3, "log_every": 2, "preview_every": 0, "identity": 0}
    shape = {"encoder_width": 4, "decoder_width": 4, "latent": 16, "residuals": 0, "performance": 0}
    train(replace(PRESETS["tiny"], **tiny, **shape), *pair, out)
    return out


def drawn(run: Run, pair: Pair, cache: Path) -> Tensor:
    """Swaps of held-out faces."""
    config = run.config
    sides = {
        n: load_side(n, open_faceset(p), config, cache, True, lambda *_: None)
        for n, p in zip(("source", "target"), pair, strict=True)
    }
    side = outlined(sides, config.size)["target"]
    held = side.split.held_out
    crops, _ = side.faces(held, config.size)
    return load_swapper(run, "cpu").swap(crops, marks=side.marks[held])[0]


def test_a_grown_run_begins_where_the_small_one_ended(small_run: Path, pair: Pair, tmp_path: Path) -> None:
    small = open_run(small_run)
    config = grown(small.config, steps=1, lr=STEP, device="cpu", batch=2, performance=0, identity=0)
    train(config, *pair, tmp_path / "run", init=small_run)
    run = open_run(tmp_path / "run")
    assert (run.size, run.config.grown, run.init) == (128, 1, str(small_run.resolve()))
    large = drawn(run, pair, tmp_path / "large")
    enlarged = F.interpolate(drawn(small, pair, tmp_path / "small"), scale_factor=2, mode="bilinear")
    # The cached crops are shrunk once to 64 px there, and twice here: by rounding, not by a level that draws.
    assert (large - enlarged).abs().max() < 0.02


def test_a_grown_run_resumes_bit_for_bit_and_from_before_its_first_checkpoint(
    small_run: Path, pair: Pair, tmp_path: Path
) -> None:
    fewer = {"device": "cpu", "batch": 2, "performance": 0, "identity": 0, "save_every": 2, "preview_every": 0}
    config = grown(open_run(small_run).config, steps=4, **fewer)
    train(config, *pair, tmp_path / "whole", init=small_run)

    def stopped(at: int) -> Callable[[str, int, int], None]:
        def progress(stage: str, done: int, total: int) -> None:
            if (stage, done) == ("train", at):
                raise KeyboardInterrupt

        return progress

    for name, at in (("early", 1), ("late", 3)):
        with pytest.raises(KeyboardInterrupt):
            train(config, *pair, tmp_path / name, init=small_run, progress=stopped(at))
        again = train(open_run(tmp_path / name).config, *pair, tmp_path / name, resume=True)
        assert again.resumed_from == (2 if at > 2 else None)
        one, other = (load_file(tmp_path / n / "checkpoints/step-4.safetensors") for n in ("whole", name))
        assert one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


def test_what_a_run_cannot_grow_to_is_refused(
    small_run: Path, pair: Pair, tmp_path: Path, make_faceset: Callable[..., Faceset]
) -> None:
    small = open_run(small_run).config
    with pytest.raises(UsageError, match="cannot grow to 384 px: give --size 128 or 256 or 512"):
        grown_config("RUN", small, "large", {})
    with pytest.raises(UsageError, match=r"its crops have 512 px, .*: there is no larger size"):
        grown_config("RUN", replace(small, size=512), None, {"size": 512})
    with pytest.raises(UsageError, match="--latent 99: --grow takes 16 from RUN"):
        grown_config("RUN", small, None, {"latent": 99})
    make_faceset(tmp_path / "c", "c")
    with pytest.raises(UsageError, match=f"the target of {small_run} is B, not C"):
        train(grown(small), pair[0], tmp_path / "c", tmp_path / "run", init=small_run)
    with pytest.raises(UsageError, match="another shape"):
        train(replace(grown(small), latent=8), *pair, tmp_path / "run", init=small_run)
    with pytest.raises(UsageError, match="--grow: a network of 128 px"):
        replace(small, size=128, grown=2)
    with pytest.raises(UsageError, match="started with --grow 1, not 0"):
        check_resume(grown(small), replace(grown(small), grown=0))
    assert not (tmp_path / "run").exists()


def test_held_out_faces_that_the_small_run_may_have_trained_on_are_named(
    small_run: Path, pair: Pair, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = grown(open_run(small_run).config, steps=1, device="cpu", batch=2, performance=0, identity=0)
    other = tmp_path / "small"
    shutil.copytree(small_run, other)
    changed = open_run(other)
    replace(changed, held_out={**changed.held_out, "source": changed.held_out["source"][1:]}).save()
    for small, told in ((small_run, False), (other, True)):
        caplog.clear()
        train(config, *pair, tmp_path / f"run-{told}", init=small)
        assert any(r.getMessage().startswith(f"{small}: its facesets changed") for r in caplog.records) == told


def test_options_of_a_grown_run(small_run: Path) -> None:
    """Without a preset the side doubles; rates and steps are the larger preset's, the network the small run's."""
    small = open_run(small_run).config
    found = grown_config("RUN", small, None, {"lr": 1e-3})
    assert (found.preset, found.size, found.grown, found.lr) == ("small", 128, 1, 1e-3)
    assert (found.steps, found.warmup) == (PRESETS["small"].steps, PRESETS["small"].warmup)
    own = [name for name in FIXED_ON_RESUME if name not in ("size", "grown", "seed")]
    assert [getattr(found, name) for name in own] == [getattr(small, name) for name in own]
    assert grows(small, found) and not grows(found, small) and not grows(small, small)
    assert from_json(found.to_json()) == found


def test_the_command(small_run: Path, pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["train", "--source", pair[0], "--target", pair[1], "--out", tmp_path / "run", "--grow", small_run]
    for other in (["--resume"], ["--init", small_run]):
        status, _, errors = call(capsys, *asked, *other)
        assert status == 2 and f"{other[0]} and --grow exclude each other" in errors
    less = ["--steps", 1, "--batch", 2, "--device", "cpu", "--performance", 0, "--identity", 0]
    status, _, errors = call(capsys, *asked, *less)
    assert status == 0, errors
    assert (open_run(tmp_path / "run").size, open_run(tmp_path / "run").config.preset) == (128, "small")
