"""Faceset in Python, as `faceset.read` returns it: table, selected faces, torch dataset of the crops."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from curate.dataset.consent import require
from curate.dataset.faceset import Faceset, open_faceset
from curate.errors import UsageError
from curate.schema import SELECTION_SCHEMA, table_schema

if TYPE_CHECKING:
    from curate.dataset.torch_dataset import CropDataset


@dataclass(frozen=True)
class Faces:
    """A faceset that was opened for reading.

    Cheap to make: the files are read when a property is first asked for, and kept. Whatever else is asked of it is
    asked of `table`: `faces["yaw"]`, `faces.groupby("clip")`, `len(faces)`.
    """

    faceset: Faceset
    """The folder: manifest, crops (`faceset.crop`), landmarks (`faceset.landmarks`), the subject's mean identity."""
    columns: tuple[str, ...] | None = None
    """Columns of `table` that are read; None: all."""

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """(N rows) one row a face, in order of clip, frame and face; columns, units and ranges: docs/formats.md.

        Scores are float32, NaN where they could not be computed; vectors are (n,) float32 arrays or None.
        Raises WorkError where the faceset has no table yet.
        """
        return self.faceset.table(self.columns)

    @functools.cached_property
    def selected(self) -> pd.DataFrame:
        """(M rows) the chosen faces in order of choice: `table`'s columns and rank, gain, cluster, reason.

        Raises WorkError where nothing was selected yet.
        """
        return self.faceset.selected(self.columns)

    def dataset(
        self,
        size: int = 128,
        transform: Callable[[Any], Any] | None = None,
        columns: Sequence[str] | None = None,
        selected: bool = True,
    ) -> CropDataset:
        """A `torch.utils.data.Dataset` of the crops; imports torch.

        An item is a pair: the image, a (3, size, size) float32 tensor, RGB, 0..1; and a dict of the face's scores, raw
        values as 0-dimensional float32 tensors, NaN where they are null. `transform` gets the image and gives what
        stands in its place. `columns` are the dict's keys instead of the scores: any column of the table; texts stay
        str, vectors become (n,) float32 tensors, NaN where they are null. The items are the chosen faces in order of
        choice, or with `selected=False` the subject's faces in order of the table; faces without a crop are left out.

        Raises UsageError for a size outside 1 to 4096 and for unknown columns, ConsentError where the faceset names no
        subject or no basis, WorkError where there is no selection or no crop.
        """
        from curate.dataset.torch_dataset import make_dataset

        if not 1 <= size <= 4096:
            raise UsageError(f"size={size}: must be 1 to 4096 pixels")
        require(self.faceset.subject, str(self.faceset.folder))
        return make_dataset(self.faceset, size, transform, known(columns, SELECTION_SCHEMA.names), selected)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # pickle and copy look for these before there is a table
            raise AttributeError(name)
        return getattr(self.table, name)

    def __getitem__(self, key: Any) -> Any:
        return self.table[key]

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.table)

    def __repr__(self) -> str:
        subject = self.faceset.subject
        whose = f"{subject.name}, {subject.basis}" if subject else "no subject"
        return f"Faces({str(self.faceset.folder)!r}: {whose}, {len(self.faceset.clips)} clips)"


def read(folder: str | Path, columns: Sequence[str] | None = None) -> Faces:
    """The faceset in `folder`; see `Faces`. `columns`: only these columns of the table, which is quicker.

    Raises UsageError if the folder is not a faceset or a column is unknown, WorkError if the manifest is damaged.
    """
    return Faces(open_faceset(Path(folder)), known(columns))


def known(columns: Sequence[str] | None, more: Sequence[str] = ()) -> tuple[str, ...] | None:
    """The columns as a tuple; raises UsageError for one that neither the table nor `more` has."""
    if columns is None:
        return None
    if isinstance(columns, str):
        raise UsageError(f"columns={columns!r}: must be a list of names, as [{columns!r}]")
    names = [*table_schema().names, *more]
    for column in columns:
        if column not in names:
            near = difflib.get_close_matches(str(column), names, 3) or names[:3]
            raise UsageError(f"no column {column!r} in the table: did you mean {', '.join(near)}? (docs/formats.md)")
    return tuple(columns)
