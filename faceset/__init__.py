"""faceset: curate the footage worth training a face-swap model on, train, render, and report."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from curate.dataset.reading import Faces


def read(folder: str | Path, columns: Sequence[str] | None = None) -> Faces:
    """A faceset: `.table` and `.selected` (pandas DataFrames), `.dataset()` (torch)."""
    from curate.dataset.reading import read as open_faces

    return open_faces(folder, columns)
