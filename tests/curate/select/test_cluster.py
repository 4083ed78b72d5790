import numpy as np
import pandas as pd
import pytest

from curate.face.mesh import BLENDSHAPES
from curate.scores.expression import AXES, INDEX
from curate.select.cluster import cluster, map2d
from curate.select.space import Space


def table(groups) -> pd.DataFrame:
    """Rows of (count, yaw, pitch, blendshapes, light_x) with a little noise."""
    rng = np.random.default_rng(0)
    rows = []
    for count, yaw, pitch, shapes, light in groups:
        for _ in range(count):
            expression = np.clip(0.05 + rng.normal(0, 0.01, 52), 0, 1).astype(np.float32)
            for name, value in shapes.items():
                expression[BLENDSHAPES.index(name)] = value + rng.normal(0, 0.02)
            lighting = rng.normal(0, 0.01, 6).astype(np.float32)
            lighting[0] += light
            angles = np.array([yaw, pitch, 0]) + rng.normal(0, 1, 3)
            gaze = rng.normal(0, 0.01, 2).astype(np.float32)
            rows.append((f"{len(rows):05d}", *angles, expression, gaze, lighting))
    faces = pd.DataFrame(rows, columns=["face_id", "yaw", "pitch", "roll", "expression", "gaze", "lighting"])
    return faces.assign(
        **{n: [e[[INDEX[p] for p in parts]].mean() for e in faces["expression"]] for n, parts in AXES.items()}
    )


SMILE = {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8}
GROUPS = [
    (150, 0, 0, {}, 0.0),
    (60, 35, 0, SMILE, -0.5),
    (60, -35, 0, {}, 0.0),
    (50, 0, 0, {"jawOpen": 0.7}, 0.0),
    (40, 0, 25, {"eyeBlinkLeft": 0.8, "eyeBlinkRight": 0.8}, 0.5),
]


@pytest.fixture(scope="module")
def faces() -> pd.DataFrame:
    return table(GROUPS)


def run(faces, seed=0):
    space = Space.fit(faces)
    return cluster(space, space.embed(faces), faces, seed)


def test_groups_are_found_and_named(faces):
    found = run(faces)
    truth = np.repeat(np.arange(len(GROUPS)), [g[0] for g in GROUPS])
    names = [{found.names[g] for g in found.labels[truth == t]} for t in range(len(GROUPS))]
    assert names == [
        {"frontal"},
        {"left 35, smiling, lit from the right"},
        {"right 35"},
        {"frontal, mouth open"},
        {"down 25, eyes closed, lit from the left"},
    ]


def test_sizes_fall_and_every_face_has_a_group(faces):
    found = run(faces)
    assert found.labels.shape == (len(faces),)
    assert tuple(np.bincount(found.labels)) == found.sizes
    assert list(found.sizes) == sorted(found.sizes, reverse=True)
    assert len(set(found.names)) == len(found.names)


def test_row_order_does_not_matter(faces):
    shuffled = faces.sample(frac=1, random_state=1)
    a, b = run(faces), run(shuffled)
    assert a.names == b.names
    ours = dict(zip(faces["face_id"], a.labels.tolist(), strict=True))
    assert ours == dict(zip(shuffled["face_id"], b.labels.tolist(), strict=True))


def test_more_faces_than_the_sample_all_get_a_group():
    faces = pd.concat([table(GROUPS).assign(face_id=lambda t, i=i: t["face_id"] + f"-{i}") for i in range(8)])
    found = run(faces.reset_index(drop=True))
    assert len(found.labels) == len(faces) == sum(found.sizes)
    assert "left 35, smiling, lit from the right" in found.names


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_few_faces(count):
    faces = table([(7, 0, 0, {}, 0)])
    space = Space.fit(faces)
    few = faces.iloc[:count]
    found = cluster(space, space.embed(few), few)
    assert len(found.labels) == count and sum(found.sizes) == count


def test_equal_faces_are_one_group():
    faces = table([(1, 20, 0, {}, 0)])
    many = pd.concat([faces.assign(face_id=f"{i:03d}") for i in range(300)])
    assert run(many).sizes == (300,)


def test_small_maps_need_no_umap():
    points = np.random.default_rng(0).normal(size=(10, 5)).astype(np.float32)
    assert map2d(points).shape == (10, 2)
    assert map2d(points[:1]).shape == (1, 2) and map2d(points[:0]).shape == (0, 2)
    assert np.isfinite(map2d(np.repeat(points[:1], 5, axis=0))).all()
