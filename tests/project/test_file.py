"""The project file: what init writes is what run reads; wrong values are one line that names the place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curate.errors import ConsentError, UsageError
from faceset.project.begin import Options, Side, begin, clips_in
from faceset.project.file import read_project

GOOD = """
format = 1
[subjects.a]
name = "A"
basis = "self"
footage = ["a.mp4"]
budget = 200
[subjects.b]
name = "B"
basis = "release"
evidence = "b.pdf"
footage = ["b.mp4@00:01-00:02"]
[[pairs]]
source = "a"
target = "b"
training = { lr = 1e-3 }
[training]
preset = "tiny"
steps = 50
[selection]
min_sharpness = 3
weight_pose = 2
[extraction]
every = "auto"
[rendering]
mask = "hull"
crf = 20
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.mp4", "b.mp4", "b.pdf"):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def written(folder: Path, text: str) -> Path:
    path = folder / "project.toml"
    path.write_text(text)
    return path


def test_options_of_every_stage_are_read(folder: Path) -> None:
    project = read_project(written(folder, GOOD))
    config = project.config(project.pairs[0])
    assert (config.size, config.steps, config.lr, config.save_every) == (64, 50, 1e-3, 5)
    chosen = project.choosing("a")
    assert (chosen.budget, chosen.floors.min_sharpness, chosen.weights.pose) == ("200", 3, 2)
    assert project.settings() == {"every": 0}
    options = project.render_options()
    assert (options.settings.mask.mode, options.crf) == ("hull", 20)
    assert project.pairs[0].name == "a-b"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("steps = 50", "stepz = 50", r"\[training\] has no option 'stepz'; did you mean 'steps'"),
        ("steps = 50", 'steps = "many"', r"\[training\] steps is 'many'"),
        ("steps = 50", "steps = 0", "--steps 0: must be"),
        ("crf = 20", "crf = 99", "--crf 99"),
        ("budget = 200", 'budget = "lots"', "--budget lots"),
        ('target = "b"', 'target = "c"', "'c' is none of the subjects"),
        ('target = "b"', 'target = "a"', "same subject"),
        ('evidence = "b.pdf"', 'evidence = "c.pdf"', r"\[subjects.b\] c.pdf: no such file"),
        ('footage = ["a.mp4"]', "footage = []", "footage is empty"),
        ('name = "A"', "", "name is missing"),
        ("[subjects.a]", '[subjects."../a"]', "cannot be the name of a folder"),
        ("format = 1", "format = 9", "format is 9"),
        ("format = 1", "format = ", "project.toml"),
        ("[extraction]", "force = true\n[extraction]", "no option 'force'"),
    ],
)
def test_a_wrong_value_is_named(folder: Path, old: str, new: str, words: str) -> None:
    assert old in GOOD
    with pytest.raises(UsageError, match=words) as caught:
        read_project(written(folder, GOOD.replace(old, new, 1)))
    assert str(folder / "project.toml") in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("old", "new"), [('basis = "self"', 'basis = "fun"'), ('evidence = "b.pdf"\n', "")])
def test_no_basis_no_work(folder: Path, old: str, new: str) -> None:
    with pytest.raises(ConsentError):
        read_project(written(folder, GOOD.replace(old, new)))


def test_init_writes_what_run_reads(folder: Path) -> None:
    (folder / 'her "new" clip.mp4').write_bytes(b"x")
    source = Side(('her "new" clip.mp4',), 'Jane "J" Doe', "release", "b.pdf")
    text = begin(folder, Options(source, Side(("a.mp4",), "", "self"), "9min", "small", 300, 2.5))
    project = read_project(written(folder, text))
    assert {key: p.name for key, p in project.subjects.items()} == {"jane-j-doe": 'Jane "J" Doe', "a": "A"}
    assert project.subjects["jane-j-doe"].footage == ('her "new" clip.mp4',)
    assert project.subjects["jane-j-doe"].evidence == "b.pdf"
    config = project.config(project.pairs[0])
    assert (config.preset, config.steps, config.price) == ("small", 300, 2.5)
    assert text.count("#") > 15


def test_the_other_clip_is_the_target(folder: Path) -> None:
    project = read_project(written(folder, begin(folder, Options(Side(("b.mp4",), basis="self"), Side(basis="self")))))
    assert [project.subjects[key].footage for key in ("b", "a")] == [("b.mp4",), ("a.mp4",)]


def test_files_that_are_called_so_are_source_and_target(tmp_path: Path) -> None:
    for name in ("target.mp4", "source.mp4"):
        (tmp_path / name).write_bytes(b"x")
    project = read_project(written(tmp_path, begin(tmp_path, Options(Side(basis="self"), Side(basis="self")))))
    assert project.pairs[0].source == "source"


def test_nobody_to_ask_is_told_the_flags(folder: Path) -> None:
    with pytest.raises(UsageError, match="--source FILE"):
        begin(folder, Options(Side(basis="self"), Side(basis="self")))
    with pytest.raises(UsageError, match="--basis is missing"):
        begin(folder, Options(Side(("a.mp4",))))
    with pytest.raises(UsageError, match="--evidence is missing"):
        begin(folder, Options(Side(("a.mp4",), basis="release")))
    with pytest.raises(UsageError, match="no such file"):
        begin(folder, Options(Side(("c.mp4",), basis="self")))
    with pytest.raises(UsageError, match="both source and target"):
        begin(folder, Options(Side(("a.mp4",), basis="self"), Side(("a.mp4",), basis="self")))


def test_a_person_is_asked_only_what_cannot_be_seen(folder: Path) -> None:
    asked: list[str] = []
    answers = iter(["2", "Jane", "self", "John", "release", "b.pdf"])

    def ask(question: str, default: str) -> str:
        asked.append(question)
        return next(answers)

    project = read_project(written(folder, begin(folder, Options(), ask)))
    assert [p.name for p in project.subjects.values()] == ["Jane", "John"]
    assert project.subjects["jane"].footage == ("b.mp4",)
    assert len(asked) == 6 and "a.mp4" in asked[0] and next(answers, None) is None


def test_results_are_no_footage(tmp_path: Path) -> None:
    for name in ("a.mp4", "day/b.mov", "photos/1.jpg", "facesets/a/crops/1.jpg", "her/faceset.toml", "her/crops/1.jpg",
                 "renders/a.mp4", ".hidden/a.mp4"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert clips_in(tmp_path) == ["a.mp4", "day/b.mov", "photos"]


def test_a_damaged_file_is_one_line(folder: Path) -> None:
    rng, refused = np.random.default_rng(0), 0
    pieces = ["nan", "inf", "-1", "[]", "{}", '"\\u0000"', "1979-05-27", "1e999", "[" * 3000, "true", "\x00", "'../..'"]
    for _ in range(300):
        text = GOOD
        for _ in range(int(rng.integers(1, 4))):
            at, length = int(rng.integers(len(text))), int(rng.integers(0, 12))
            text = text[:at] + str(rng.choice(pieces)) + text[at + length :]
        try:
            read_project(written(folder, text))
        except UsageError as error:
            refused += 1
            assert str(error).startswith(str(folder / "project.toml"))
    assert refused > 250
    (folder / "project.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"project\.toml"):
        read_project(folder)
