"""What is due, done and kept: stages that write a few bytes instead of working; one real run at the end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from curate.errors import UsageError, WorkError
from curate.types import no_progress
from faceset.project import work as module
from faceset.project.file import Project, read_project
from faceset.project.plan import plan, summary
from faceset.project.state import locked, read_state
from faceset.project.steps import Step, folder_of, outputs
from faceset.project.work import work
from tests.command import call

TEXT = """
format = 1
price = 3.0
[subjects.a]
name = "A"
basis = "self"
footage = ["a.mp4"]
[subjects.b]
name = "B"
basis = "self"
footage = ["b.mp4"]
[subjects.c]
name = "C"
basis = "self"
footage = ["c.mp4"]
[[pairs]]
source = "a"
target = "b"
[[pairs]]
source = "c"
target = "b"
[training]
preset = "tiny"
steps = 20
"""


class Stages:
    """Stages that note what they are asked, and write small outputs."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fails: dict[str, BaseException] = {}

    def do(self, project: Project, step: Step, progress: object) -> float:
        self.calls.append(step.name)
        folder = folder_of(project, step)
        if step.kind == "train":
            self.train(project, step, folder)
        problem = self.fails.pop(step.name, None)
        if problem is not None:
            raise problem
        for path in outputs(project, step):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.name == "selection.parquet":
                faces = [f"{step.of}-{project.subjects[step.of].budget}-{n}" for n in range(3)]
                pd.DataFrame({"face_id": faces, "rank": range(3)}).to_parquet(path)
            elif path.name != "run.json":
                path.write_text(step.name)
        return 10.0

    def train(self, project: Project, step: Step, folder: Path) -> None:
        config = project.config(project.pair(step.of))
        folder.mkdir(parents=True, exist_ok=True)
        ended = "" if step.name in self.fails else "finished"
        values = {"config": config.to_json(), "step": config.steps, "ended": ended, "weights_sha256": str(config.lr)}
        (folder / "run.json").write_text(json.dumps(values))

    def new(self) -> list[str]:
        """Calls since the last time."""
        calls, self.calls = self.calls, []
        return calls


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Stages:
    made = Stages()
    monkeypatch.setattr(module, "DO", dict.fromkeys(module.DO, made.do))
    return made


Opened = Callable[..., Project]


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    """The project, with words of its file replaced."""
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        (tmp_path / name).write_bytes(name.encode())

    def again(*changes: tuple[str, str]) -> Project:
        text = TEXT
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        (tmp_path / "project.toml").write_text(text)
        return read_project(tmp_path / "project.toml")

    return again


def states(outcomes: list[module.Outcome]) -> set[str]:
    return {o.state for o in outcomes}


def test_everything_once_then_nothing(stages: Stages, opened: Opened) -> None:
    assert states(work(opened())) == {"done"}
    calls = stages.new()
    assert calls[:3] == ["curate a", "curate b", "curate c"] and len(calls) == len(set(calls)) == 15
    assert calls[-6:] == ["compare a-b", "train a-b", "render a-b/b.mp4", "compare c-b", "train c-b",
                          "render c-b/b.mp4"]  # fmt: skip
    assert states(work(opened())) == {"current"} and not stages.new()
    assert not summary(opened(), plan(opened()))["due"]


def test_only_what_changed_is_done(stages: Stages, opened: Opened, tmp_path: Path) -> None:
    work(opened())
    stages.new()
    fewer = ('footage = ["a.mp4"]', 'footage = ["a.mp4"]\nbudget = 7')
    work(opened(fewer))
    assert stages.new() == ["select a", "report a", "compare a-b", "train a-b"]  # the weights came out the same
    work(opened(fewer, ("steps = 20", "steps = 20\nsave_every = 3")))
    assert not stages.new()
    (tmp_path / "c.mp4").write_bytes(b"longer than before")
    work(opened(fewer))
    assert stages.new() == ["curate c", "select c", "report c", "compare c-b"]  # the same faces: the run stays


def test_other_gains_of_the_same_weights_are_rendered(stages: Stages, opened: Opened, tmp_path: Path) -> None:
    work(opened())
    stages.new()
    path = tmp_path / "runs/a-b/run.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "outlines": {"gains": {"brows": 1.0, "gaze_side": 1.0}}}))
    assert states(work(opened())) == {"current"}
    path.write_text(json.dumps({**values, "outlines": {"gains": {"brows": 1.3, "gaze_side": 1.0}}}))
    work(opened())
    assert stages.new() == ["render a-b/b.mp4"]


def test_a_replaced_run_and_render_are_kept(stages: Stages, opened: Opened, tmp_path: Path) -> None:
    work(opened())
    before = (tmp_path / "runs/a-b/run.json").read_text()
    (tmp_path / "renders/a-b/b.c2pa").write_text("manifest")
    (tmp_path / "renders/a-b/b2.mp4").write_text("another video")
    work(opened(("steps = 20", "steps = 20\nlr = 0.001")))
    assert (tmp_path / "earlier/1/runs/a-b/run.json").read_text() == before
    moved = sorted(p.name for p in (tmp_path / "earlier").glob("*/renders/a-b/*"))
    assert moved == ["b.artifacts.json", "b.c2pa", "b.mp4"]
    assert (tmp_path / "renders/a-b/b2.mp4").is_file() and (tmp_path / "renders/a-b/b.mp4").is_file()


def test_more_steps_go_on_in_the_run(stages: Stages, opened: Opened, tmp_path: Path) -> None:
    work(opened())
    stages.new()
    longer = opened(("steps = 20", "steps = 40"))
    assert [p.name for p in plan(longer) if p.why == "more steps"] == ["train a-b", "train c-b"]
    work(longer)
    assert stages.new()[0] == "train a-b" and not (tmp_path / "earlier").exists()
    work(opened())  # fewer than the run has
    assert not [c for c in stages.new() if c.startswith("train")]


@pytest.mark.parametrize("step", ["curate b", "select a", "train a-b", "render a-b/b.mp4", "render c-b/b.mp4"])
def test_killed_at_any_step_it_goes_on_there(stages: Stages, opened: Opened, tmp_path: Path, step: str) -> None:
    stages.fails[step] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        work(opened())
    first = stages.new()
    assert first[-1] == step
    assert states(work(opened())) <= {"done", "current"}
    assert stages.new()[0] == step and not (tmp_path / "earlier").exists()


def test_a_failed_pair_does_not_stop_the_others(stages: Stages, opened: Opened) -> None:
    stages.fails["train a-b"] = WorkError("no memory: try a smaller --batch")
    outcomes = {o.step.name: o for o in work(opened())}
    assert outcomes["train a-b"].state == "failed" and "--batch" in outcomes["train a-b"].problem
    assert outcomes["render a-b/b.mp4"].state == "waiting" and outcomes["render c-b/b.mp4"].state == "done"
    stages.new()
    assert states(work(opened())) == {"done", "current"}
    assert stages.new() == ["train a-b", "render a-b/b.mp4"]


def test_missing_footage_costs_only_its_pairs(stages: Stages, opened: Opened, tmp_path: Path) -> None:
    project = opened()
    (tmp_path / "a.mp4").unlink()
    outcomes = {o.step.name: o for o in work(project)}
    assert outcomes["curate a"].state == "failed" and "a.mp4: no such file" in outcomes["curate a"].problem
    assert outcomes["render c-b/b.mp4"].state == "done"


def test_a_deleted_result_is_made_again(stages: Stages, opened: Opened, tmp_path: Path) -> None:
    work(opened())
    stages.new()
    (tmp_path / "renders/a-b/b.mp4").unlink()
    work(opened())
    assert stages.new() == ["render a-b/b.mp4"]


def test_one_process_at_a_time(opened: Opened) -> None:
    project = opened()
    with locked(project.results), pytest.raises(UsageError, match="another faceset run"):
        work(project)


def test_a_damaged_state_is_one_line(opened: Opened, tmp_path: Path) -> None:
    project = opened()
    (tmp_path / ".project").mkdir()
    for text in ("{", '{"format": 1, "steps": {"a": 3}}', '{"format": 2, "steps": {}}'):
        (tmp_path / ".project" / "state.json").write_text(text)
        with pytest.raises(WorkError, match="damaged"):
            read_state(project.results)


def test_the_plan_has_time_space_and_money(
    opened: Opened, head_clips: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.pace.seconds_per_step", lambda config: 2.0)
    (tmp_path / "b.mp4").write_bytes(head_clips["target"].read_bytes())
    found = plan(opened())
    by = {p.name: p for p in found}
    assert by["train a-b"].seconds == 40 and by["train a-b"].size > 1e6
    assert by["curate b"].seconds > 0 and by["curate b"].size > 40 * 10_000 and by["curate b"].why == "missing"
    assert by["render a-b/b.mp4"].seconds > by["curate b"].seconds
    total = summary(opened(), found)
    assert total["due"] == 15 and total["cost"] == round(total["seconds"] / 3600 * 3, 2)
    assert not list(tmp_path.glob("facesets")) and not list(tmp_path.glob("runs"))


def test_one_real_project(head_clips: dict[str, Path], tmp_path: Path) -> None:
    from faceset.project.begin import Options, Side, begin
    from faceset.project.overview import write_overview

    for side, clip in head_clips.items():
        (tmp_path / f"{side}.mp4").symlink_to(clip)
    me = Side(basis="public-domain")
    (tmp_path / "project.toml").write_text(begin(tmp_path, Options(me, me, "12", "tiny", 3)))
    project = read_project(tmp_path)
    outcomes = work(project, no_progress)
    assert states(outcomes) == {"done"}, [o.problem for o in outcomes]
    index = write_overview(project, "test", outcomes)
    page, figures = index.read_text(), json.loads(index.with_suffix(".json").read_text())
    assert figures["verdict"] == "The pair is trained and rendered."
    shown = [card["pictures"] for card in (*figures["pairs"], *figures["subjects"])]
    assert shown[:2] == [2, 12] and shown[2] > 4  # the budget is the source's
    hrefs = [n["link"]["href"] for c in figures["pairs"] for n in c["notes"] if n["link"]]
    hrefs += [link["href"] for c in figures["pairs"] for link in c["links"]]
    assert len(hrefs) == 4 and all((tmp_path / href).is_file() and f'href="{href}"' in page for href in hrefs)
    model = (tmp_path / "runs/source-target/model.safetensors").stat()
    assert states(work(project)) == {"current"}
    assert (tmp_path / "runs/source-target/model.safetensors").stat() == model


def test_the_command_line(
    stages: Stages, opened: Opened, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "clips"
    path.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (path / name).write_bytes(name.encode())
    code, out, _ = call(capsys, "init", path, "--source", "a.mp4", "--basis", "self", "--json")
    assert code == 0 and json.loads(out)["subjects"] == {"a": "A", "b": "B"}
    code, _, err = call(capsys, "init", path, "--source", "a.mp4", "--basis", "self")
    assert code == 2 and "already exists" in err
    monkeypatch.setattr("train.pace.seconds_per_step", lambda config: 2.0)
    code, out, _ = call(capsys, "run", path / "project.toml", "--dry-run", "--json")
    assert code == 0 and json.loads(out)["due"] == 9 and not stages.calls
    stages.fails["train a-b"] = WorkError("no memory")
    code, out, err = call(capsys, "run", path / "project.toml")
    assert code == 1 and "failed  train a-b: no memory" in out and "1 of 9 steps failed" in err
    assert "no memory" in (path / "index.html").read_text()
    code, out, _ = call(capsys, "run", path / "project.toml", "--json")
    assert code == 0 and [s["state"] for s in json.loads(out)["steps"]][-2:] == ["done", "done"]
    code, out, _ = call(capsys, "run", path / "project.toml")
    assert code == 0 and out.startswith("nothing to do: every result is up to date")
