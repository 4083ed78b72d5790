from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from curate.dataset.consent import forgotten_name
from curate.dataset.faceset import Faceset
from curate.errors import ConsentError, UsageError
from curate.types import Subject
from train.config import TrainConfig
from train.fit import train
from train.forget import caches_of, forget_in_run, run_of
from train.model import Df
from train.pretrain import pretrain
from train.run import load_swapper, open_run

Make = Callable[..., Faceset]


@pytest.fixture
def people(make_faceset: Make, tmp_path: Path) -> list[Path]:
    """Facesets of three people, of 40, 24 and 16 faces."""
    made = [make_faceset(tmp_path / name, name, count=count) for name, count in (("a", 40), ("b", 24), ("c", 16))]
    return [faceset.folder for faceset in made]


def test_a_prior_draws_everyone_with_one_decoder_and_starts_a_training(
    people: list[Path], config: TrainConfig, tmp_path: Path
) -> None:
    done = pretrain(config, people, tmp_path / "prior")
    assert (done.steps, done.ended, done.nearer) == (6, "finished", None)
    prior = open_run(tmp_path / "prior")
    assert [side.subject.name for side in prior.people] == ["A", "B", "C"] and prior.source.faces == 80
    model = load_swapper(prior, "cpu").model
    assert isinstance(model, Df)
    assert all(torch.equal(a, b) for a, b in zip(model.source.parameters(), model.target.parameters(), strict=True))
    begun = train(replace(config, steps=1, lr=1e-8), people[0], people[1], tmp_path / "run", init=tmp_path / "prior")
    assert begun.steps == 1
    own = load_swapper(open_run(tmp_path / "run"), "cpu").model.state_dict()
    assert all(torch.allclose(value, own[name], atol=1e-5) for name, value in model.state_dict().items())


def test_a_prior_resumes_bit_for_bit(people: list[Path], config: TrainConfig, tmp_path: Path) -> None:
    pretrain(config, people, tmp_path / "whole")
    pretrain(replace(config, steps=3), people, tmp_path / "parts")
    again = pretrain(config, people, tmp_path / "parts", resume=True)
    assert again.resumed_from == 3
    # The learning rate of the first three steps differs with the length of the run, so only the step counts agree.
    assert open_run(tmp_path / "parts").step == open_run(tmp_path / "whole").step == 6


def test_a_prior_of_another_shape_is_refused(people: list[Path], config: TrainConfig, tmp_path: Path) -> None:
    pretrain(replace(config, steps=1), people[:2], tmp_path / "prior")
    with pytest.raises(UsageError, match="the prior has another shape"):
        train(replace(config, latent=24), people[0], people[1], tmp_path / "run", init=tmp_path / "prior")


def test_wrong_calls(people: list[Path], make_faceset: Make, config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 2 facesets"):
        pretrain(config, [people[0], people[0]], tmp_path / "prior")
    nobody = make_faceset(tmp_path / "n", "n", subject=Subject("N", None))
    with pytest.raises(ConsentError, match="no basis"):
        pretrain(config, [people[0], nobody.folder], tmp_path / "prior")
    make_faceset(tmp_path / "h", "h", framing="head")
    with pytest.raises(UsageError, match="framing"):
        pretrain(config, [people[0], tmp_path / "h"], tmp_path / "prior")
    assert not (tmp_path / "prior").exists()


def test_a_prior_is_forgotten_with_any_of_its_people(people: list[Path], config: TrainConfig, tmp_path: Path) -> None:
    pretrain(replace(config, steps=1), people, tmp_path / "prior")
    assert run_of(tmp_path / "prior", "Z") is None and run_of(tmp_path / "prior", "B") is not None
    assert caches_of(tmp_path / "prior") == ([], {}), "a new prior knows its caches"
    forget_in_run(tmp_path / "prior", "B")
    text = (tmp_path / "prior/run.json").read_text()
    assert forgotten_name("B") in text and '"B"' not in text and "A, B, C" not in text
    assert not (tmp_path / "prior/model.safetensors").exists()
    with pytest.raises(ConsentError, match="a subject who was forgotten"):
        train(config, people[0], people[1], tmp_path / "run", init=tmp_path / "prior")
    assert not (tmp_path / "run").exists()
    assert open_run(tmp_path / "prior").drive is None and open_run(tmp_path / "prior").outlines is None


def test_every_faceset_is_drawn_equally_often(people: list[Path], config: TrainConfig, tmp_path: Path) -> None:
    from curate.dataset.faceset import open_faceset
    from train.data import load_side
    from train.pretrain import pooled

    sides = [
        load_side(f"people-{i}", open_faceset(p), config, tmp_path, True, lambda *_: None) for i, p in enumerate(people)
    ]
    pixels = np.concatenate([side.pixels for side in sides])
    pool = pooled(sides, pixels, config)
    drawn = pool.draw(np.random.default_rng(0), 6000)
    shares = [np.isin(np.array(pool.ids)[drawn], side.ids).mean() for side in sides]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.03)
    assert not set(drawn) & set(pool.split.held_out)
    for place in (0, 45, 79):
        side = next(s for s in sides if pool.ids[place] in s.ids)
        assert np.array_equal(pool.pixels[place], side.pixels[side.ids.index(pool.ids[place])])
