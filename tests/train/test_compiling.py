"""Compilation: where it pays, and a compiler that fails costs one line and no step."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._inductor.exc
from torch import nn

from train.compiling import ENOUGH, is_compilers, pays
from train.config import PRESETS, TrainConfig, from_json
from train.fit import train

Pair = tuple[Path, Path]
CPU, CUDA = torch.device("cpu"), torch.device("cuda", 1)


def test_where_it_pays() -> None:
    auto = PRESETS["small"]
    assert auto.compile == "auto" and PRESETS["small"].steps >= ENOUGH > PRESETS["tiny"].steps
    assert [pays(auto, CUDA, left) for left in (ENOUGH, ENOUGH - 1)] == [True, False]
    assert not pays(auto, CPU, 10**6) and not pays(auto, torch.device("mps"), 10**6)
    assert pays(replace(auto, compile="on"), CPU, 1) and not pays(replace(auto, compile="off"), CUDA, 10**6)


@pytest.mark.parametrize(("was", "now"), [(False, "off"), (True, "on"), ("auto", "auto")])
def test_a_run_from_before_auto_resumes_as_it_began(was: object, now: str) -> None:
    assert from_json({**PRESETS["small"].to_json(), "compile": was}).compile == now


def compiled_by(monkeypatch: pytest.MonkeyPatch, backend: Callable[..., Any]) -> None:
    """torch compiles with another backend, which works without a compiler or fails as one."""
    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))


def weights(run: Path, step: int) -> bytes:
    return (run / f"checkpoints/step-{step}.safetensors").read_bytes()


def test_a_compiler_that_fails_costs_one_line_and_no_step(
    pair: Pair, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = replace(config, adversarial_weight=0.1, accumulate=2)
    train(replace(config, compile="off"), *pair, tmp_path / "plain")
    calls = []

    def backend(graph: Any, inputs: Any) -> Any:
        calls.append(graph)
        raise OSError("no compiler here\nbut a long trace")

    compiled_by(monkeypatch, backend)
    with caplog.at_level(logging.WARNING):
        train(replace(config, compile="on"), *pair, tmp_path / "run")
    told = [r.getMessage() for r in caplog.records if "--compile" in r.getMessage()]
    assert len(calls) == 1 and len(told) == 1 and "\n" not in told[0] and "no compiler here" in told[0]
    assert weights(tmp_path / "run", 6) == weights(tmp_path / "plain", 6)


def test_a_compiled_network_trains_and_resumes(
    pair: Pair, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def backend(graph: Any, inputs: Any) -> Any:
        calls.append(graph)
        return graph.forward

    train(replace(config, compile="off"), *pair, tmp_path / "plain")
    compiled_by(monkeypatch, backend)
    train(replace(config, compile="on"), *pair, tmp_path / "run")
    assert calls and weights(tmp_path / "run", 6) == weights(tmp_path / "plain", 6)
    calls.clear()
    train(replace(config, compile="on"), *pair, tmp_path / "run", resume=True)
    assert not calls  # no step is left


def test_other_errors_are_raised(
    pair: Pair, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(nn.Module):
        def forward(self, *_: Any) -> Any:
            raise ZeroDivisionError("a bug")

    monkeypatch.setattr(torch, "compile", lambda network: Broken())
    with pytest.raises(ZeroDivisionError, match="a bug"):
        train(replace(config, compile="on"), *pair, tmp_path / "run")


def test_errors_of_a_compiler_are_known() -> None:
    class CompilationError(Exception):
        pass

    CompilationError.__module__ = "triton.compiler.errors"
    outer = RuntimeError("in backward")
    outer.__cause__ = CompilationError("at 3:4")
    assert is_compilers(outer) and is_compilers(torch._inductor.exc.CppCompileError(["g++"], "bad"))
    assert not is_compilers(RuntimeError("CUDA error: device-side assert triggered"))
