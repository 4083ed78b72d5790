"""A kind of artifact is one row of KINDS: a made-up one reaches findings, page, JSON, remedies, docs and benchmarks."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from benchmarks import artifact_tables
from reports.artifact_page.page import write
from reports.artifact_page.remedies import Context, remedy
from reports.artifacts import kinds
from reports.artifacts.inspector import Inspector
from reports.artifacts.kinds import Kind, Limit
from reports.artifacts.parts import InspectedPart
from reports.artifacts.report import merge

ROOT = Path(__file__).parents[3]
BANDING = Kind(
    "banding", "colour banding", "bands of colour are visible", "render with 10 bits",
    Limit("band_height", "levels", 2.0, 4.0, 8.0, 2, "Height of the steps in smooth areas of the face", "forehead"),
    explains=("edge",), certain_from="low", own_advice="use --bits 10",
)  # fmt: skip


@pytest.fixture
def banding(monkeypatch: pytest.MonkeyPatch) -> Kind:
    """A kind that no other file knows, first of all kinds."""
    monkeypatch.setattr(kinds, "KINDS", (BANDING, *kinds.KINDS))
    return BANDING


@pytest.fixture
def part(scene, landmarks) -> InspectedPart:
    """20 frames of a clean video, to whose numbers a step around the face and the new measure are added in 5 to 9."""
    inspector = Inspector(25.0, has_reference=True)
    for i in range(20):
        inspector.add(i, i / 25, scene(i), scene(i), landmarks)
    rows = inspector.part().rows
    bad = [5 <= i < 10 for i in range(20)]
    return InspectedPart(tuple({**r, "band_height": 5.0 * b, "edge": 2.0 * b} for r, b in zip(rows, bad, strict=True)))


def test_a_new_kind_is_found_stored_explains_and_is_shown(banding: Kind, part: InspectedPart, tmp_path: Path) -> None:
    stored = InspectedPart.load(part.save(tmp_path / "part.parquet"))
    report = merge([stored], 25.0, has_reference=True)
    (found,) = report.findings
    assert (found.kind, found.severity, found.region_name, found.also) == ("banding", "medium", "forehead", ("edge",))
    assert (found.first_frame, found.last_frame, found.value) == (5, 9, 5.0)
    page = write(report, tmp_path / "out.html", {"settings": {"feather": 0.1}})
    data = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
    words = "Check one passage: 0:00.2–0:00.4 (bands of colour are visible at the forehead). Looked at 20 of 20 frames."
    assert (data["verdict"], data["looked_at"]) == (words, 20)
    assert data["findings"][0]["kind"] == "banding" and data["findings"][0]["remedy"] == "Use --bits 10."
    assert data["measures"]["band_height"] == {
        "median": 0, "p95": 5, "max": 5, "frames": 20, "unit": "levels", "threshold": 2,
    }  # fmt: skip
    html = page.read_text(encoding="utf-8")
    assert '<span class="name">Colour banding</span>' in html  # its lane of the timeline
    assert "Height of the steps in smooth areas of the face (levels)" in html
    assert remedy(found, Context()) == "Render with 10 bits."


def test_without_its_row_the_number_is_ignored(part: InspectedPart) -> None:
    report = merge([part], 25.0, has_reference=True)
    assert {f.kind for f in report.findings} == {"edge"} and "band_height" not in report.measures


def test_a_new_kind_stands_in_the_manual_and_in_the_benchmark(
    banding: Kind, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    tables = generate.kinds()
    row = "| `banding` | colour banding | `band_height` | levels | 2, 4, 8 | 2 | Height of the steps in smooth areas of"
    assert row in tables["full-reference"] and "banding" not in tables["no-reference"]
    artifact_tables.calibration([])
    assert "banding" in capsys.readouterr().out
