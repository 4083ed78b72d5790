from __future__ import annotations

from dataclasses import replace

import pytest

from curate.errors import UsageError
from curate.options import option_of, options_of
from train.config import PRESETS, TrainConfig, check_resume, config_of, flag, from_json


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("batch", -1),
        ("lr", -1.0),
        ("size", 100),
        ("save_every", 0),
        ("held_out", 0.9),
        ("ema", 1.0),
        ("perceptual_weight", -1.0),
        ("adversarial_weight", 2e3),
    ],
)
def test_a_wrong_value_names_its_flag_and_itself(field: str, value: float) -> None:
    with pytest.raises(UsageError, match=rf"{flag(field)} {value}: must be"):
        config_of("tiny", **{field: value})


def test_nan_is_no_rate() -> None:
    with pytest.raises(UsageError, match="--lr nan"):
        config_of("tiny", lr=float("nan"))


@pytest.mark.parametrize(
    ("field", "value"),
    [("device", "tpu"), ("precision", "fp8"), ("sampling", "all"), ("flip", True), ("stop", "now"), ("arch", "hd")],
)
def test_a_wrong_word_names_what_is_allowed(field: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"--{field} {value}: must be one of"):
        config_of("tiny", **{field: value})


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="--preset huge: must be one of tiny, small, full"):
        config_of("huge")


def test_presets_keep_their_names_and_sizes() -> None:
    assert {name: (c.preset, c.size) for name, c in PRESETS.items()} == {
        "tiny": ("tiny", 64),
        "small": ("small", 128),
        "full": ("full", 256),
        "large": ("large", 384),
        "film": ("film", 512),
    }


def test_flags_that_were_not_given_leave_the_preset_alone() -> None:
    assert config_of("tiny", steps=None, seed=7) == replace(PRESETS["tiny"], seed=7)


def test_every_field_has_a_range_or_choices() -> None:
    options = options_of(TrainConfig)
    assert [one.name for one in options] == [n for n in TrainConfig.__dataclass_fields__ if n != "grown"]
    assert all(one.choices or one.kind is bool or None not in (one.low, one.high) for one in options)
    assert option_of(TrainConfig, "preset").choices == tuple(PRESETS)


def test_json_there_and_back_leaves_out_what_is_unknown() -> None:
    config = config_of("full", seed=3)
    assert from_json({**config.to_json(), "later": 1}) == config


@pytest.mark.parametrize(("was", "now"), [(False, "off"), (True, "all")])
def test_a_run_from_before_degradation_resumes_without(was: bool, now: str) -> None:
    values = config_of("tiny").to_json()
    old = {**{k: v for k, v in values.items() if k not in ("blur", "compress", "degrade")}, "flip": was}
    assert from_json(old) == replace(config_of("tiny"), blur=0.0, compress=0.0, flip=now)


def test_resume_may_save_more_often_but_not_change_the_network_or_what_is_held_out() -> None:
    begun = config_of("tiny")
    assert check_resume(begun, replace(begun, save_every=7, steps=9)) == ("steps", "save_every")
    for change in ({"latent": 99}, {"held_out": 0.2}, {"seed": 1}, {"size": 128}, {"arch": "liae"}):
        with pytest.raises(UsageError, match=f"--resume: the run was started with {flag(next(iter(change)))} "):
            check_resume(begun, replace(begun, **change))
