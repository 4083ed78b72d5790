"""The face alone: laid over the footage it gives the render again."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from curate.footage import video
from curate.footage.picture import Colorspace
from render import part, pipeline
from render.options import RenderOptions
from render.output import exr
from render.output.footage_format import FootageFormat
from render.output.sequence import SequenceWriter
from render.output.unmix import Layers, st_map, unmixed

LOOK = FootageFormat(Colorspace.ITU709, 1, 1, 1, 1, "yuv420p", Fraction(1), 10)


def layers(kind: type, mixed: bool = True) -> Layers:
    """A noisy plate, a face that differs from it, and a soft matte; not `mixed`: a render that no matte explains."""
    rng = np.random.default_rng(0)
    most = np.iinfo(kind).max
    plate = rng.integers(0, most, (40, 60, 3), endpoint=True).astype(kind)
    face = rng.integers(0, most, (40, 60, 3), endpoint=True)
    y, x = np.mgrid[:40, :60]
    mask = np.clip(1.4 - np.hypot(x - 30, y - 20) / 14, 0, 1).astype(np.float32)
    alpha = mask[..., None] if mixed else (mask[..., None] > 0) * 0.9
    shown = np.rint(plate + alpha * (face - plate)).astype(kind)
    return Layers(plate, shown, mask, np.zeros((40, 60, 2), np.float32), 1.0)


@pytest.mark.parametrize("mixed", [True, False])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_the_face_over_the_plate_is_the_render_within_one_level(kind, mixed) -> None:
    given = layers(kind, mixed)
    levels = int(np.iinfo(kind).max)
    face, alpha = unmixed(given, given.unmarked, levels)
    over = alpha[..., None] * face + (1 - alpha[..., None]) * given.plate
    assert np.abs(over - given.unmarked.astype(float)).max() <= 1
    assert (alpha[given.mask == 0] == 0).all()
    assert np.abs(np.rint(alpha * levels) - alpha * levels).max() < 1e-6
    if mixed:
        assert np.abs(alpha - given.mask).mean() < 1.5 / 255


def test_pictures_of_a_render_are_the_face_alone(clip, stub, tmp_path: Path, monkeypatch) -> None:
    """Blended twice, the edge was up to 40 levels off."""
    monkeypatch.setattr(part.Marker, "mark", lambda self, image: image)
    options = {"workers": 1, "preset": "ultrafast"}
    pipeline.render(stub.path, clip, tmp_path / "a.mp4", RenderOptions(frames=tmp_path / "a", alpha=True, **options))
    pipeline.render(stub.path, clip, tmp_path / "b.mp4", RenderOptions(frames=tmp_path / "b", **options))
    plates = {f.index: f.image for f in video.decode(video.probe(clip))}
    for index, plate in plates.items():
        name = f"frame_{index:06d}.png"
        face, shown = (cv2.imread(str(tmp_path / k / name), cv2.IMREAD_UNCHANGED) for k in ("a", "b"))
        alpha = face[..., 3:] / 255
        over = alpha * face[..., :3] + (1 - alpha) * plate[..., ::-1]
        assert np.abs(over - shown).max() <= 1, index
        assert face[..., 3].any() == (index in stub.frames)


def test_an_st_map_says_where_in_the_crop_a_pixel_comes_from() -> None:
    mask = np.zeros((10, 20), np.float32)
    mask[2:8, 4:14] = 1
    found = st_map(np.array([[2.0, 0, -8], [0, 2.0, -4]]), 32, mask)
    assert found[2, 4] == pytest.approx((0.5 / 32, 1 - 0.5 / 32))
    assert found[7, 13] == pytest.approx((18.5 / 32, 1 - 10.5 / 32))
    assert not found[0, 0].any()


@pytest.mark.parametrize("space", ["rec709", "aces"])
def test_an_exr_of_layers_holds_them_all_in_linear_light(tmp_path: Path, space) -> None:
    openexr = pytest.importorskip("OpenEXR")
    given = layers(np.uint16)
    writer = SequenceWriter(tmp_path, LOOK, "exr", layers=True, space=space)
    path = writer.write(3, given.unmarked, given.mask, given)
    assert writer.done(3)
    with openexr.File(str(path), separate_channels=True) as file:
        found = {name: channel.pixels.astype(np.float64) for name, channel in file.channels().items()}
        header = dict(file.header())
    assert set(found) == {
        *"RGBA", *(f"face.{c}" for c in "RGBA"), *(f"plate.{c}" for c in "RGB"), "matte.A", "st.R", "st.G", "blend.A",
    }  # fmt: skip
    result, face, plate = (np.dstack([found[f"{p}{c}"] for c in "RGB"]) for p in ("", "face.", "plate."))
    over = face + (1 - found["face.A"][..., None]) * plate
    assert np.abs(over - result).max() < 0.003, "half floats"
    assert (found["A"] == 1).all()
    assert np.abs(found["matte.A"] - given.mask).max() < 0.001
    wanted = exr.to_linear(1)[given.plate].astype(np.float64)
    if space == "aces":  # linear Rec.709 to ACES2065-1, Bradford, as OpenColorIO has it
        wanted = wanted @ np.array([[0.4397010, 0.3829780, 0.1773350], [0.0897923, 0.8134230, 0.0967616],
                                    [0.0175440, 0.1115440, 0.8707040]]).T  # fmt: skip
        assert header["acesImageContainerFlag"] == 1
    assert np.abs(plate - wanted).max() < 0.002
    assert header["colorSpace"] == {"rec709": "scene-linear Rec.709", "aces": "ACES2065-1"}[space]
    assert header["chromaticities"][:2] == pytest.approx({"rec709": (0.64, 0.33), "aces": (0.7347, 0.2653)}[space])


def test_alpha_is_there_on_frames_without_a_face_too(tmp_path: Path) -> None:
    openexr = pytest.importorskip("OpenEXR")
    given = layers(np.uint16)
    none = Layers(given.plate, given.plate, np.zeros_like(given.mask), given.st, 0.0)
    writer = SequenceWriter(tmp_path, LOOK, "exr", with_alpha=True)
    path = writer.write(0, given.plate, None, none)
    with openexr.File(str(path)) as file:
        assert file.channels()["RGBA"].pixels.shape == (40, 60, 4)
        assert not file.channels()["RGBA"].pixels.any()
