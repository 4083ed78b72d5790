from __future__ import annotations

import numpy as np
import pytest

from render.compositing import label


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_the_text_stands_out_on_any_background(dtype, value):
    peak = np.iinfo(dtype).max
    image = np.full((720, 1280, 3), round(value * peak), dtype)
    out = label.draw(image)
    assert out.dtype == dtype and out.shape == image.shape
    box = out[-40:, :300].astype(float) / peak
    assert box.max() - box.min() >= 0.6, "white letters on a darkened box"
    assert (image == round(value * peak)).all(), "the frame that was given stays as it is"


def test_only_the_corner_changes():
    image = np.random.default_rng(0).integers(0, 256, (360, 640, 3), np.uint8)
    out = label.draw(image)
    changed = np.argwhere((out != image).any(axis=2))
    assert changed[:, 0].min() > 0.92 * 360
    assert changed[:, 1].min() == 0 and changed[:, 1].max() < 320


@pytest.mark.parametrize("size", [(480, 480), (720, 1280), (1280, 720), (1080, 1920)])
def test_letters_grow_with_the_frame(size):
    ink = label.draw(np.zeros((*size, 3), np.uint8)).max(axis=(1, 2)) > 128
    assert 0.8 <= ink.sum() / (0.022 * min(size)) <= 1.9, "capitals, and what hangs below the line"


def test_a_text_that_does_not_fit_is_drawn_smaller():
    out = label.draw(np.zeros((100, 60, 3), np.uint8), "Synthetic: the face in this video was replaced by a model")
    assert (out[-30:].max(axis=2) > 60).any()
    tiny = label.draw(np.zeros((4, 4, 3), np.uint8))
    assert tiny.shape == (4, 4, 3)


@pytest.mark.parametrize("text", ["", "  ", "künstlich", "two\nlines"])
def test_letters_that_the_font_lacks_are_a_bug(text):
    with pytest.raises(ValueError, match="ASCII"):
        label.draw(np.zeros((100, 100, 3), np.uint8), text)
