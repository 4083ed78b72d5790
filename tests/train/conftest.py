"""Small facesets of painted heads: an ellipse with moving eyes and mouth, known landmarks, 40 faces in 20 seconds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from curate.dataset import faceset as folder
from curate.dataset.faceset import Faceset
from curate.schema import part_schema, table_schema
from curate.settings import Framing, Settings
from curate.types import Clip, Subject
from tests.tables import write_rows
from train.config import TrainConfig, config_of

MakeFaceset = Callable[..., Faceset]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def config() -> TrainConfig:
    """The smallest network there is, on the CPU."""
    return replace(
        config_of(
            "tiny",
            device="cpu",
            steps=6,
            batch=2,
            save_every=3,
            log_every=2,
            preview_every=0,
            identity=0,
        ),
        encoder_width=4,
        decoder_width=4,
        latent=16,
        residuals=0,
    )


def face(number: int, size: int, skin: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Picture (size, size, 3) and landmarks (478, 3) in its pixels: the head's outline, then copies of its middle."""
    image = np.full((size, size, 3), (60, 90, 120), np.uint8)
    middle = np.array([size / 2 + size * 0.05 * np.sin(number), size / 2])
    axes = np.array([size * 0.27, size * 0.36])

    def ellipse(at: np.ndarray, radii: np.ndarray, colour: tuple[int, int, int]) -> None:
        cv2.ellipse(image, tuple(at.astype(int)), tuple(np.maximum(radii, 1).astype(int)), 0, 0, 360, colour, -1)

    ellipse(middle, axes, skin)
    for side in (-1, 1):
        ellipse(middle + axes * (0.4 * side, -0.25), axes * (0.18, 0.08), (245, 245, 245))
        ellipse(middle + axes * (0.4 * side + 0.08 * np.sin(number / 3), -0.25), axes * (0.07, 0.08), (20, 20, 30))
    ellipse(middle + axes * (0, 0.5), axes * (0.35, 0.05 + 0.15 * abs(np.sin(number / 2))), (150, 40, 40))
    points = np.zeros((478, 3), np.float32)
    turn = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    points[:, :2] = middle
    points[:36, :2] = middle + axes * np.stack([np.cos(turn), np.sin(turn)], 1)
    return image, points


def make(
    out: Path,
    name: str = "a",
    skin: tuple[int, int, int] = (210, 160, 130),
    count: int = 40,
    size: int = 128,
    framing: Framing = "full",
    subject: Subject | None = None,
) -> Faceset:
    """A faceset whose frames are twice as large as its crops and shifted, to test that the matrix is used."""
    made = folder.create(out, subject or Subject(name.upper(), "self"), Settings(crop_size=size, framing=framing))
    digest = hashlib.sha256(name.encode()).hexdigest()
    clip = Clip(name, f"/{name}.mp4", digest, "video", 4 * size, 4 * size, count, 2, count / 2)
    made = made.changed(clips=(clip,))
    (out / "crops" / name).mkdir(parents=True)
    rows = []
    for number in range(count):
        image, points = face(number, size, skin)
        crop = f"crops/{name}/{number:04d}.png"
        cv2.imwrite(str(out / crop), image[:, :, ::-1])
        points[:, :2] = (points[:, :2] + 10) * 2
        rows.append(
            {
                "face_id": f"{digest[:12]}-{number}-0",
                "clip": name,
                "segment": 0,
                "frame": number,
                "time": number / 2,
                "crop": crop,
                "matrix": np.array([0.5, 0, -10, 0, 0.5, -10], np.float32),
                "landmarks": points.ravel(),
                "identity": np.full(128, len(name) / 10, np.float32),
                "status": "ok",
                "kept": True,
            }
        )
    table = pd.DataFrame(rows)
    for column in {*part_schema().names, *table_schema().names} - set(table.columns):
        table[column] = None
    folder.write_table(made.part_path(f"{name}-0000"), pa.Table.from_pandas(table, part_schema(), preserve_index=False))
    write_rows(made, table)
    order = np.random.default_rng(0).permutation(count)
    chosen = {"face_id": table["face_id"].to_numpy()[order], "rank": np.arange(count), "gain": 1 / count, "reason": ""}
    folder.write_selection(made, pd.DataFrame({**chosen, "cluster": order % 4}))
    return made


@pytest.fixture(scope="session")
def make_faceset() -> MakeFaceset:
    return make


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Source and target. Not to be changed."""
    out = tmp_path_factory.mktemp("pair")
    make(out / "a", "a")
    make(out / "b", "b", (120, 80, 60))
    return out / "a", out / "b"
