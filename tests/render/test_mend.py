"""Settings of single stretches, and renders that mend themselves, with a stub network."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from curate.errors import UsageError
from curate.footage import video
from render import mend, pipeline, stretches
from render.compositing.schedule import RAMP, Schedule, Stretch
from render.compositing.settings import MaskSettings, RenderSettings
from render.options import RenderOptions

BLUE = RenderSettings(colour="none", relight=0, blend="feather", grain=False)
"""Nothing takes the stub's blue cast away."""
TIMES = [i / 25 for i in range(30)]


def render(run, footage, out, **options):
    return pipeline.render(run, footage, out, RenderOptions(**{"workers": 1, "crf": 4, **options}))


def kinds_in(out: Path) -> dict[str, int]:
    """Flagged frames by kind, from the report next to a render."""
    found = json.loads(out.with_suffix(".artifacts.json").read_text())["findings"]
    return {f["kind"]: f["flagged"] for f in found}


def test_a_render_that_mends_itself_leaves_less_and_says_what_it_changed(clip, stub, tmp_path):
    plain, out = tmp_path / "plain.mp4", tmp_path / "out.mp4"
    render(stub.path, clip, plain, settings=BLUE)
    done = render(stub.path, clip, out, settings=BLUE, mend=True)
    before, after = kinds_in(plain), kinds_in(out)
    assert before["colour"] >= 10, before
    assert sum(after.values()) <= sum(before.values()) / 2 and set(after) <= set(before)
    assert all(one.settings.startswith("colour ") and one.after <= one.before for one in done.mended)
    assert sum(one.after for one in done.mended) <= sum(one.before for one in done.mended) / 2
    assert "colour" in {kind for one in done.mended for kind in one.kinds}
    assert json.dumps(asdict(done)) and not any("--mend did not" in note for note in done.notes)
    again = tmp_path / "again.mp4"
    assert (
        render(stub.path, clip, again, settings=BLUE, stretches=Path(done.settings)).pixels_sha256 == done.pixels_sha256
    )


def test_what_helps_is_also_tried_together():
    now = RenderSettings(sharpen=0.0)
    made = SimpleNamespace(schedule=Schedule(now, ()))

    def ranked(left: float, settings: RenderSettings) -> tuple[float, float, SimpleNamespace]:
        return left, 9.0, SimpleNamespace(own=Stretch(0, 9, settings))

    helpful = {(0, 9): [ranked(3, replace(now, sharpen=0.5)), ranked(5, replace(now, colour="mkl")),
                        ranked(4, replace(now, colour="sot")), ranked(0, replace(now, opacity=0.0))]}  # fmt: skip
    assert mend._together(made, helpful) == [(0, 9, replace(now, sharpen=0.5, colour="sot"))]
    assert mend._together(made, {(0, 9): helpful[0, 9][:1]}) == []


def test_a_mask_that_hides_the_swap_mends_nothing(clip, stub, tmp_path, monkeypatch):
    """The model's own mask is empty: with it there would be nothing to find, and no swap."""
    monkeypatch.setitem(mend.REMEDIES, "colour", ("other mask",))
    monkeypatch.setattr(mend, "FADED", 0.0)
    swap = stub.network.swap
    stub.network.swap = lambda *given: (swap(*given)[0], 0 * swap(*given)[1])
    hull = replace(BLUE, mask=MaskSettings(mode="hull"))
    done = render(stub.path, clip, tmp_path / "out.mp4", settings=hull, mend=True)
    assert kinds_in(tmp_path / "out.mp4")["colour"] >= 10
    assert done.mended == () and done.swapped > 0
    assert any("--mend did not" in note for note in done.notes)


def test_a_stretch_that_shows_the_footage_fades_to_it(clip, stub, tmp_path):
    path = tmp_path / "own.toml"
    path.write_text("[[stretch]]\nstart = 0.8\nend = 0.9\nopacity = 0.0\n")
    first = next(i for i, t in enumerate(_times(clip)) if t >= 0.8)
    out = tmp_path / "out.mp4"
    render(stub.path, clip, out, settings=BLUE, stretches=path)
    before, after = (list(video.decode(video.probe(p))) for p in (clip, out))
    change = [float(np.abs(a.image.astype(int) - b.image).mean()) for a, b in zip(before, after, strict=True)]
    assert change[first] < 0.3 * change[first + RAMP + 2]
    assert change[first] < change[first + 2] < change[first + RAMP + 2]


def _times(clip: Path) -> list[float]:
    frames = [float(f.time) for f in video.decode(video.probe(clip))]
    return [t - frames[0] for t in frames]


def test_numbers_change_gradually_around_a_stretch_and_methods_do_not():
    base, own = RenderSettings(), RenderSettings(MaskSettings(feather=0.4), colour="sot", sharpen=0.0)
    at = Schedule(base, (Stretch(20, 30, own),)).at
    assert at(20) == at(29) == own and at(20 - RAMP) == at(29 + RAMP) == base
    assert [at(i).mask.feather for i in range(14, 21)] == pytest.approx(np.linspace(0.1, 0.4, 7))
    assert {at(i).colour for i in (*range(14, 20), *range(30, 36))} == {"reinhard"}


def test_the_file_gives_back_what_was_written(tmp_path):
    base = RenderSettings()
    own = RenderSettings(MaskSettings(mode="hull", keep=("eyes", "mouth")), grain=False, smooth=15, opacity=0.25)
    path, made = tmp_path / "s.toml", (Stretch(3, 9, own), Stretch(20, 30, RenderSettings(colour="mkl")))
    stretches.write(path, made, base, TIMES)
    assert stretches.read(path, base, TIMES) == made


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("start = 1", "must contain"),
        ("[[stretch]]\nend = 1", "stretch 1: start must be a time in seconds"),
        ("[[stretch]]\nstart = 0\nend = true", "end must be a time in seconds"),
        ("[[stretch]]\nstart = 0\nend = nan", "end must be a time in seconds"),
        (f"[[stretch]]\nstart = 0\nend = 1{'0' * 400}", "end must be a time in seconds"),
        ("[[stretch]]\nstart = 7\nend = 9", "7.0 to 9.0 s contains no frame; the last one is shown at 1.16 s"),
        ("[[stretch]]\nstart = 0\nend = 1\nfether = 1", "unknown setting fether; use start, end, mask, erode"),
        ("[[stretch]]\nstart = 0\nend = 1\nfeather = 7", "--feather 7: must be"),
        ("[[stretch]]\nstart = 0\nend = 1\nfeather = 'wide'", "feather is"),
        ("[[stretch]]\nstart = 0\nend = 1\ncolour = 'rainbow'", "--colour rainbow: must be one of"),
        ("[[stretch]]\nstart = 0\nend = 1\n[[stretch]]\nstart = 0.5\nend = 1.1", "two stretches overlap at 0.52 s"),
        ("[[stretch", "is not TOML"),
        ("\udcff", "is not TOML"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(tmp_path, text, said):
    path = tmp_path / "s.toml"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(UsageError) as caught:
        stretches.read(path, RenderSettings(), TIMES)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        stretches.read(tmp_path / "none.toml", RenderSettings(), TIMES)


def test_every_kind_that_settings_can_help_has_remedies_and_each_changes_something():
    from reports.artifacts.kinds import KINDS

    assert {kind.name for kind in KINDS if kind.full_reference} - set(mend.REMEDIES) == {"identity"}
    for kind in mend.REMEDIES:
        assert mend.candidates([kind], RenderSettings(), 9.0)


def test_what_no_setting_removes_is_said_with_what_helps():
    from reports.artifacts.events import Finding
    from reports.artifacts.report import ArtifactReport

    values = {"first_frame": 3, "last_frame": 9, "worst_frame": 5, "measure": "geometry", "unit": "", "value": 5.0}
    found = Finding(
        "geometry", "face distorted", "medium", 0.1, 0.4, threshold=2.5, flagged=6, region=(0, 0, 9, 9), **values
    )
    said = mend.left(ArtifactReport(25.0, True, 30, 30, None, (found, found), {}))
    assert len(said) == 1 and "the face is distorted" in said[0] and "train longer" in said[0]
