"""Torch dataset of a faceset's crops. Imports torch, so import this module only when needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor
from torch.utils.data import Dataset

from curate.dataset.faceset import Faceset
from curate.errors import WorkError
from curate.schema import BY_NAME, SCORES, SELECTION_SCHEMA


class CropDataset(Dataset[tuple[Any, dict[str, Any]]]):
    """Items as `curate.dataset.reading.Faces.dataset` says. Holds the columns, not the pictures: workers may pickle
    it."""

    rows: pd.DataFrame
    """The faces' rows in the items' order: face_id, crop and the columns of the dict."""

    def __init__(
        self,
        faceset: Faceset,
        rows: pd.DataFrame,
        names: Sequence[str],
        size: int,
        transform: Callable[[Any], Any] | None,
    ) -> None:
        self.rows = rows
        self.size = size
        self.transform = transform
        self._faceset = faceset
        self._columns = {name: _column(name, rows[name]) for name in names}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Any, dict[str, Any]]:
        """Image and scores of one face; raises WorkError if its crop cannot be read, IndexError past the end."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"face {index} is out of range; there are {len(self)}")
        pixels = self._faceset.crop(self.rows["crop"].iloc[index])
        if pixels.shape[0] != self.size:
            how = cv2.INTER_AREA if pixels.shape[0] > self.size else cv2.INTER_CUBIC
            pixels = cv2.resize(pixels, (self.size, self.size), interpolation=how).astype(np.uint8, copy=False)
        image: Any = torch.from_numpy(pixels).permute(2, 0, 1).contiguous().float() / 255
        if self.transform is not None:
            image = self.transform(image)
        return image, {name: values[index] for name, values in self._columns.items()}


def make_dataset(
    faceset: Faceset, size: int, transform: Callable[[Any], Any] | None, columns: Sequence[str] | None, selected: bool
) -> CropDataset:
    """Dataset of a faceset's faces that have a crop; raises WorkError if there are none."""
    names = [c.name for c in SCORES] if columns is None else list(columns)
    stored = [name for name in {"face_id", "crop", "kept", *names} if name in BY_NAME]
    if selected:
        rows = faceset.selected(stored)
    else:
        rows = faceset.table(stored)
        rows = rows[rows["kept"]]
        rows = rows.assign(**{n: None for n in names if n not in rows})
    rows = rows[rows["crop"].notna() & (rows["crop"] != "")].reset_index(drop=True)
    if rows.empty:
        raise WorkError(f"{faceset.folder} has no crops of these faces: curate the footage again with --crop-size 256")
    return CropDataset(faceset, rows[list(dict.fromkeys(["face_id", "crop", *names]))], names, size, transform)


def _column(name: str, values: pd.Series[Any]) -> Tensor | list[Any]:
    """(N,) or (N, n) float32 of a column of numbers; its own values where they are texts or bytes."""
    kind = BY_NAME[name].type if name in BY_NAME else SELECTION_SCHEMA.field(name).type
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return ["" if null else v for v, null in zip(values.tolist(), values.isna(), strict=True)]
    if pa.types.is_fixed_size_list(kind):
        empty = np.full(kind.list_size, np.nan, np.float32)
        return torch.from_numpy(np.stack([empty if v is None else np.asarray(v, np.float32) for v in values]))
    return torch.from_numpy(values.to_numpy(np.float32, na_value=np.nan).copy())
