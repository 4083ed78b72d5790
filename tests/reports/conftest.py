"""Stand-ins: a textured picture with an oval face, and a small faceset with awkward names."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from curate.dataset.faceset import Faceset, create, write_selection
from curate.schema import COLUMNS, QUALITY
from curate.scores.expression import AXES
from curate.settings import Settings
from curate.types import Clip, Image, Subject
from tests.tables import write_rows

NASTY = '<script>alert("x")<script> "q" & \'s\' 日本 ünï.mp4'
SIZE = 240


@pytest.fixture(scope="session")
def artifacts() -> ModuleType:
    """The made-up artifact reports of findings.py: pytest's importlib mode does not put this folder on the path."""
    spec = importlib.util.spec_from_file_location("reports_findings", Path(__file__).with_name("findings.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def landmarks() -> NDArray[np.float32]:
    """(478, 3) points on an oval of 100 x 130 pixels in the middle of a frame of 240 x 240."""
    turn = np.linspace(0, 2 * np.pi, 478, endpoint=False)
    return np.stack([120 + 50 * np.cos(turn), 120 + 65 * np.sin(turn), 0 * turn], axis=1).astype(np.float32)


@pytest.fixture
def scene() -> Callable[[int], Image]:
    """scene(i): frame i of a scene, texture that drifts by a pixel a frame, skin in the middle; (240, 240, 3) uint8."""
    rng = np.random.default_rng(7)
    texture = cv2.GaussianBlur(rng.normal(0, 1, (SIZE, SIZE * 2, 3)).astype(np.float32), (0, 0), 1.2)
    texture = 128 + texture / texture.std() * 22
    oval = np.zeros((SIZE, SIZE), np.uint8)
    cv2.ellipse(oval, (120, 120), (50, 65), 0, 0, 360, 1, -1)

    def make(index: int) -> Image:
        image = texture[:, index : index + SIZE].copy()
        image[oval > 0] += (35, 5, -10)
        return np.clip(image, 0, 255).round().astype(np.uint8)

    return make


@pytest.fixture
def faceset(tmp_path: Path) -> Faceset:
    """60 faces of two clips, 50 kept, 20 chosen; every text that comes from outside is awkward."""
    rng = np.random.default_rng(3)
    clips = tuple(
        Clip(name, f"/footage/{name}", digest * 64, "video", 640, 360, 30, 30.0, 1.0)
        for name, digest in ((NASTY, "a"), ("plain", "b"))
    )
    made = create(tmp_path / "set", Subject(NASTY, "research"), Settings()).changed(clips=clips)
    table = _table(made, rng)
    write_rows(made, table)
    kept = table[table["kept"]]
    chosen = kept.iloc[rng.permutation(len(kept))[:20]]
    group = np.arange(20) % 3
    write_selection(
        made,
        pd.DataFrame(
            {
                "face_id": chosen["face_id"].to_numpy(),
                "rank": np.arange(20, dtype=np.int32),
                "gain": np.full(20, 0.01, np.float32),
                "cluster": group.astype(np.int32),
                "reason": [f"covers '<b>group {g}</b>'" for g in group],
            }
        ),
    )
    return made


def _table(made: Faceset, rng: np.random.Generator) -> pd.DataFrame:
    count = 60
    table = pd.DataFrame({c.name: [None] * count for c in COLUMNS if c.level != "part"})
    table["face_id"] = [f"{i:012x}-0" for i in range(count)]
    table["clip"] = [made.clips[i % 2].name for i in range(count)]
    table["frame"] = np.arange(count) // 2
    table["time"] = np.arange(count) / 60
    for name in ("segment", "shot", "track", "person"):
        table[name] = 0
    table["yaw"], table["pitch"], table["roll"] = rng.normal(0, (20, 8, 5), (count, 3)).astype(np.float32).T
    table.loc[5, ["yaw", "pitch", "roll"]] = None
    table["expression"] = list(rng.uniform(0, 1, (count, 52)).astype(np.float32))
    for name in AXES:
        table[name] = rng.uniform(-0.1, 0.9, count).astype(np.float32)
    table["gaze"] = list(rng.uniform(-1, 1, (count, 2)).astype(np.float32))
    table["lighting"] = list(rng.normal(0, 0.3, (count, 6)).astype(np.float32))
    light = rng.normal(0, 0.4, (count, 3))
    light[:, 2] = 1
    table[["light_x", "light_y", "light_z"]] = light / np.linalg.norm(light, axis=1, keepdims=True)
    table["detection_score"] = 0.9
    for column in QUALITY:
        table[column.name] = rng.uniform(0.2, 0.9, count).astype(np.float32)
    table["kept"] = [i % 6 != 0 for i in range(count)]
    table.loc[~table["kept"], "person"] = 1
    table["status"] = np.where(table["kept"], "ok", "another <i>person</i>")
    table["crop"] = [f"crops/{i}.jpg" for i in range(count)]
    (made.folder / "crops").mkdir()
    for i in range(count - 1):  # the last one is missing on purpose
        cv2.imwrite(str(made.folder / f"crops/{i}.jpg"), np.full((64, 64, 3), 4 * i, np.uint8))
    return table
