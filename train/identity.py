"""Identity of swaps: face recognition on held-out crops of the target with the swap pasted in."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from curate.dataset.faceset import Faceset
from curate.errors import MissingError, WorkError
from curate.face import align
from curate.face.backends import IDENTIFIERS, Identifier, make
from curate.scores.identity import distances
from curate.types import Floats, Image
from train.config import TrainConfig
from train.data import Side
from train.model import Swap, picture

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judge:
    """Held-out faces of the target, and the two identities to which their swaps are compared."""

    identifier: Identifier
    source: Floats
    target: Floats
    """(L, 128) mean identity vector of each look of either faceset's subject; the nearest counts."""
    crops: tuple[Image, ...]
    landmarks: tuple[Floats, ...]
    """(478, 3) or (68, 3) in each crop's pixels."""
    inputs: Tensor | None = None
    """(N, K) scores, or outlines, that drive the swaps; None: the picture does."""

    def evaluate(self, model: Swap, size: int, device: torch.device) -> dict[str, float]:
        """Identity figures of the swaps of all crops.

        nearer: share of swaps whose identity vector is closer to the source than to the target (Euclidean);
        identity_source, identity_target: mean distance to either. Faces of one person are about 0.3 apart, faces of two
        people about 0.8.
        """
        scores = [None] * len(self.crops) if self.inputs is None else self.inputs[:, None]
        swaps = [paste(model, crop, size, device, own) for crop, own in zip(self.crops, scores, strict=True)]
        chips = [self.identifier.chip(s, points) for s, points in zip(swaps, self.landmarks, strict=True)]
        vectors = np.stack([self.identifier.identify(chip) for chip in chips])
        own, other = (distances(vectors, looks).min(axis=1) for looks in (self.source, self.target))
        return {
            "nearer": float((own < other).mean()),
            "identity_source": float(own.mean()),
            "identity_target": float(other.mean()),
        }


def paste(model: Swap, crop: Image, size: int, device: torch.device, scores: Tensor | None = None) -> Image:
    """Crop (S, S, 3) with its swap blended in under the predicted mask, at the crop's own size.

    scores: (1, K) inputs that drive the network; None: unknown, or driven by the picture.
    """
    small = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    read = torch.from_numpy(small).permute(2, 0, 1)[None].to(device).float() / 255
    with torch.inference_mode():
        rgb, mask = picture(model.through(read, "source", None if scores is None else scores.to(device)))
    drawn = torch.cat([rgb, mask], 1)[0].permute(1, 2, 0).cpu().numpy()
    large = cv2.resize(drawn, crop.shape[1::-1], interpolation=cv2.INTER_CUBIC).clip(0, 1)
    return np.asarray(np.round(crop * (1 - large[..., 3:]) + 255 * large[..., :3] * large[..., 3:]), np.uint8)


def judge_for(
    facesets: dict[str, Faceset], side: Side, config: TrainConfig, identifier: Identifier | None = None
) -> Judge | None:
    """Judge of `config.identity` held-out target faces; None, with a warning, if it lacks a model or data."""
    if not config.identity:
        return None
    held = side.split.held_out
    places = np.unique(np.linspace(0, len(held) - 1, min(config.identity, len(held))).round().astype(int))
    rows = side.rows.iloc[held[places]]
    try:
        source, target = facesets["source"].looks(), facesets["target"].looks()
        names = {faceset.settings.identifier for faceset in facesets.values()}
        if len(names) > 1:
            raise WorkError(f"the two facesets were made with --identifier {' and '.join(sorted(names))}")
        identifier = identifier or make(IDENTIFIERS, names.pop(), "--identifier")
        points = facesets["target"].landmarks(rows["face_id"])
        crops = [facesets["target"].crop(crop) for crop in rows["crop"]]
    except (MissingError, WorkError) as error:
        log.warning("swaps are not evaluated for identity: %s", error)
        return None
    moved = [in_crop(points[f], m) for f, m in zip(rows["face_id"], rows["matrix"], strict=True)]
    inputs = side.performed(held[places], torch.device("cpu"))
    return Judge(identifier, source, target, tuple(crops), tuple(moved), inputs)


def in_crop(points: Floats, matrix: Sequence[float]) -> Floats:
    """Landmarks of the frame in the crop's pixels; depth is not changed, since it is not used here."""
    moved = np.array(points, np.float32)
    moved[:, :2] = align.transform(points, np.asarray(matrix).reshape(2, 3))[:, :2]
    return moved
