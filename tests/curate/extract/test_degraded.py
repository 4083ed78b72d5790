"""Degraded tracks are compared like with like. The identity network is a stub: this tests the measure and the plumbing,
not how well a network knows faces (docs/evidence.md, "Whose face")."""

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from curate.dataset.faceset import Faceset
from curate.errors import WorkError
from curate.extract import degraded
from curate.extract.parts import chips
from curate.extract.segment import jpeg
from curate.extract.subject import find_people
from curate.extract.tracks import Track, Tracks
from curate.schema import part_schema
from curate.settings import Grouping, Settings
from curate.types import Floats, Image

PULL = 0.52
"""Distance by which a soft chip's vector is away from a sharp one's."""


def chip(person: float, blur: float = 0.0, seed: int = 0, beard: bool = False) -> Image:
    """Texture of all scales; its mean red is the person, in units of identity distance (0..0.7).

    A beard takes the green of the lower face.
    """
    rng, picture = np.random.default_rng(seed), np.zeros((150, 150), np.float32)
    for scale in (1, 2, 4, 8, 16):
        noise = cv2.GaussianBlur(rng.normal(size=(150, 150)).astype(np.float32), (0, 0), scale)
        picture += 12 * noise / noise.std()
    picture = (cv2.GaussianBlur(picture, (0, 0), blur) if blur else picture) - picture[:80].mean()
    found = np.clip(picture[..., None] + (80 + person * 100, 110, 110), 0, 255).astype(np.uint8)
    found[100:, :, 1] = np.where(beard, 55, 107)
    return found


class Stub:
    """Vectors of the mean red above the nose, of the fine detail, and of the lower face's green."""

    def __init__(self) -> None:
        self.read = 0

    def chip(self, image: Image, landmarks: Floats) -> Image:
        return image

    def identify(self, chip: Image) -> Floats:
        self.read += 1
        fine = min(max(float(degraded.detail(chip)[1]) / 1.2 + 1.05, 0.0), 1.0)
        lower = chip[110:, :, 1].mean() / 100
        return np.array([chip[:80, :, 0].mean() / 100, PULL * fine, lower, *[0.0] * 125], np.float32)


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Stub:
    made = Stub()
    monkeypatch.setitem(degraded.IDENTIFIERS, "dlib", lambda: made)
    return made


def tracks(folder: Path, *seen: tuple[float, float, int], beard: int | None = None) -> Tracks:
    """Tracks of (person, blur, frames) one after another, one with a `beard`; their chips in a part of `folder`."""
    part, first, found, rows = folder / "parts" / "a-0000.parquet", 0, [], []
    part.parent.mkdir(exist_ok=True)
    for number, (person, blur, frames) in enumerate(seen):
        pictures = [chip(person, blur, seed, number == beard) for seed in range(3)]
        faces = [f"{number}-{i}" for i in range(3)]
        rows += [{"face_id": face, "chip": jpeg(own)} for face, own in zip(faces, pictures, strict=True)]
        vector = np.mean([Stub().identify(own) for own in pictures], axis=0)
        found.append(Track(faces[0], "a", number, first, first + frames - 1, frames, 9.0 * frames, vector,
                           chips=tuple((part, face) for face in faces)))  # fmt: skip
        first += frames
    schema = part_schema()
    fields = pa.schema([schema.field("face_id"), schema.field("chip")])
    pa.parquet.write_table(pa.Table.from_pylist(rows, fields), part)
    return Tracks(found)


def kept(found: Tracks, **changes: float) -> set[int]:
    return set(find_people(found, Faceset(Path("set"), None, (), Settings(), grouping=Grouping(**changes))).kept)


def test_softness_is_the_blur_that_a_picture_has_had() -> None:
    sharp, other = chip(0), chip(0, seed=1)
    steps = degraded.ladder(sharp)
    for level in degraded.LEVELS:
        assert degraded.softness(steps, degraded.detail(degraded.blurred(other, level))) == level
    small = cv2.resize(cv2.resize(sharp, (50, 50), interpolation=cv2.INTER_AREA), (150, 150))
    assert 1 <= degraded.softness(steps, degraded.detail(small)) <= 2, "a small face, enlarged"
    assert degraded.detail(cv2.resize(sharp, (300, 300))) == pytest.approx(degraded.detail(sharp), abs=0.25), (
        "of any size"
    )


def test_the_lower_face_can_be_hidden() -> None:
    hidden = degraded.upper(chip(0))
    assert (hidden[100:] == 128).all() and (hidden[:75] == chip(0)[:75]).all()


def test_a_soft_track_joins_its_person(tmp_path: Path, stub: Stub) -> None:
    found = tracks(tmp_path, (0, 0, 90), (0.69, 0, 60), (0, 4, 40))
    apart = np.linalg.norm(found.tracks[0].vector - found.tracks[2].vector)
    assert 0.5 < apart < 0.7, "as they were read they are two people"
    assert kept(found) == {0, 2}
    assert kept(found, same_person=0.3) == {0}, "whoever asks for less is not given more"
    found.together.add((0, 2))
    assert kept(found) == {0}, "seen next to the subject"


def test_a_soft_stranger_does_not(tmp_path: Path, stub: Stub) -> None:
    assert kept(tracks(tmp_path, (0, 0, 90), (0.45, 4, 40))) == {0}
    assert stub.read
    assert kept(tracks(tmp_path, (0, 0, 90), (0.55, 0, 60), (0.25, 4, 40))) == {0}, "nor who is between two people"
    found = tracks(tmp_path, (0, 0, 90), (0.55, 0, 60), (0.25, 4, 40))
    part = found.tracks[1].chips[0][0]
    rows = pa.parquet.read_table(part)
    chips = [None if face.startswith("1-") else own for face, own in zip(*rows.to_pydict().values(), strict=True)]
    pa.parquet.write_table(rows.set_column(1, rows.schema.field(1), pa.array(chips, pa.binary())), part)
    assert kept(found) == {0}, "nor where the other person's pictures are gone"


def test_a_half_hidden_face_joins_its_person(tmp_path: Path, stub: Stub) -> None:
    found = tracks(tmp_path, (0, 0, 90), (0.6, 0, 60), (0.1, 0, 40), beard=2)
    assert 0.5 < np.linalg.norm(found.tracks[0].vector - found.tracks[2].vector) < 0.7
    assert kept(found) == {0, 2}
    assert kept(tracks(tmp_path, (0, 0, 90), (0.45, 0, 40), beard=1)) == {0}, "a stranger"


def test_nothing_is_read_again_where_all_are_clear_or_have_no_chips(tmp_path: Path, stub: Stub) -> None:
    assert kept(tracks(tmp_path, (0, 0, 90), (0.1, 0, 60))) == {0, 1}
    found = tracks(tmp_path, (0, 0, 90), (0, 4, 40))
    part = found.tracks[0].chips[0][0]
    pa.parquet.write_table(pa.parquet.read_table(part, columns=["face_id"]), part)
    assert kept(found) == {0} and stub.read == 0


def test_a_damaged_chip_is_named(tmp_path: Path) -> None:
    found = tracks(tmp_path, (0, 0, 9))
    part, face = found.tracks[0].chips[0]
    rows = pa.parquet.read_table(part).to_pylist()
    pa.parquet.write_table(pa.Table.from_pylist([{**row, "chip": b"no"} for row in rows]), part)
    with pytest.raises(WorkError, match=f"the chip of {face} cannot be read.*delete it"):
        chips([(part, face)])
