"""A face that is seen twice: each layer is composited alone, and both are in the frame."""

import numpy as np

from render.compositing.compose import Composed
from render.compositing.layers import in_layers, laid


def composed(value: int | None, left: int) -> Composed:
    """A grey frame of 4 x 8 pixels with a face of this value in two columns; None: no face."""
    image, mask = np.full((4, 8, 3), 100, np.uint8), np.zeros((4, 8), np.float32)
    if value is None:
        return Composed(None, image, None, None)  # type: ignore[arg-type]
    image[:, left : left + 2], mask[:, left : left + 2] = value, 0.5
    return Composed(None, image, object(), mask)  # type: ignore[arg-type]


def test_faces_are_laid_together() -> None:
    both = laid([composed(10, 0), composed(20, 5)])
    assert both.image[0, :, 0].tolist() == [10, 10, 100, 100, 100, 20, 20, 100]
    assert both.mask is not None and (both.mask > 0).sum() == 16 and both.more == 1
    over = laid([composed(10, 0), composed(20, 1)])
    assert over.image[0, :3, 0].tolist() == [10, 20, 20]


def test_a_layer_without_a_face_changes_nothing() -> None:
    one, none = composed(10, 0), composed(None, 0)
    assert laid([one, none]) is one
    assert laid([none, one]) is one
    assert laid([none, none]).mask is None and laid([one]).more == 0


def test_every_layer_sees_every_frame() -> None:
    seen: list[list[int]] = [[], []]

    def layer(number: int):
        def run(frames):
            for frame in frames:
                seen[number].append(frame)
                yield composed(frame, 4 * number)

        return run

    found = list(in_layers(iter([1, 2, 3]), [layer(0), layer(1)]))  # type: ignore[list-item]
    assert seen == [[1, 2, 3], [1, 2, 3]] and [f.image[0, 4, 0] for f in found] == [1, 2, 3]
