"""A dataset type of FiftyOne for facesets: import and export without the command line.

    import fiftyone as fo
    from curate.app.dataset_type import FacesetDataset

    dataset = fo.Dataset.from_dir("her", dataset_type=FacesetDataset)
    dataset.match({"yaw": {"$gt": 30}}).export("turned", dataset_type=FacesetDataset)

Importing this module imports FiftyOne, and sees to it that it finds a database server. Raises MissingError without
FiftyOne or a server. Interfaces: FiftyOne's user guide, "Custom formats" of importing and exporting datasets.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from curate.app.dataset import begin_map, load_faces, load_selection
from curate.app.launch import finish, prepare, remember
from curate.app.views import save_views
from curate.dataset.consent import require
from curate.dataset.faceset import Faceset, create, open_faceset, write_selection, write_table
from curate.errors import UsageError
from curate.safe_io import read_arrow

fo = prepare()

from fiftyone.types import Dataset  # noqa: E402  # once its environment is set
from fiftyone.utils.data.exporters import BatchDatasetExporter  # noqa: E402
from fiftyone.utils.data.importers import BatchDatasetImporter  # noqa: E402

log = logging.getLogger(__name__)


class FacesetDataset(Dataset):  # type: ignore[misc]  # FiftyOne has no types
    """A folder that `faceset curate` made: `dataset_type` of `Dataset.from_dir`, `Dataset.add_dir` and `export`."""

    def get_dataset_importer_cls(self) -> type[FacesetImporter]:
        """The importer's class."""
        return FacesetImporter

    def get_dataset_exporter_cls(self) -> type[FacesetExporter]:
        """The exporter's class."""
        return FacesetExporter


class FacesetImporter(BatchDatasetImporter):  # type: ignore[misc]
    """Faces with a crop as samples: every column of faces.parquet and selection.parquet a described field.

    An empty dataset also gets the saved views, and the App's panels can choose again in it; with `draw_map` the map of
    the diversity space and the search for similar faces (up to a minute). To a dataset with samples the faces are
    added. Raises UsageError where the folder is no faceset, WorkError where it has no table or no crop.
    """

    def __init__(
        self,
        dataset_dir: str | None = None,
        shuffle: bool = False,
        seed: int | None = None,
        max_samples: int | None = None,
        draw_map: bool = False,
    ) -> None:
        super().__init__(dataset_dir, shuffle, seed, max_samples)
        self.draw_map = draw_map
        self.faceset: Faceset | None = None

    def setup(self) -> None:
        """Open the faceset."""
        if self.dataset_dir is None:
            raise UsageError("dataset_dir is missing: give the folder of the faceset")
        self.faceset = open_faceset(Path(self.dataset_dir))

    def import_samples(self, dataset: Any, tags: Sequence[str] | None = None, progress: Any = None) -> list[str]:
        """Add the faces to the dataset; the ids of their samples. `tags` are given to each of them."""
        assert self.faceset is not None  # setup came first
        if len(dataset) or self.shuffle or self.max_samples is not None:
            ids = self._add_some(dataset)
        else:
            _fill(dataset, self.faceset, self.draw_map)
            ids = dataset.values("id")
        if tags:
            dataset.select(ids).tag_samples(list(tags))
        return ids

    def _add_some(self, dataset: Any) -> list[str]:
        assert self.faceset is not None
        whole = fo.Dataset()
        try:
            _fill(whole, self.faceset, False)
            view = whole.shuffle(seed=self.seed) if self.shuffle else whole.view()
            view = view if self.max_samples is None else view.limit(self.max_samples)
            found: list[str] = dataset.add_collection(view, new_ids=True)
        finally:
            whole.delete()
        return found


def _fill(dataset: Any, faceset: Faceset, draw_map: bool) -> None:
    drawing = begin_map(faceset) if draw_map else None
    try:
        load_faces(dataset, faceset)
        load_selection(dataset, faceset)
        save_views(dataset)
        remember(dataset, faceset)
        if drawing is not None:
            finish(dataset, drawing)
    finally:
        if drawing is not None:
            drawing.close()


class FacesetExporter(BatchDatasetExporter):  # type: ignore[misc]
    """The faces of a dataset or view as a faceset of its own, with the subject and the basis of the one they are from.

    Only which faces are exported is FiftyOne's; what stands about them comes out of the faceset that they are from,
    which must still lie where it was. The chosen ones among them stay chosen, in their order. Parts go along whole, so
    `faceset curate OUT` brings the other faces of the same segments back.
    """

    def export_samples(self, sample_collection: Any, progress: Any = None) -> None:
        """Write the faceset.

        Raises UsageError where the samples are not the faces of one faceset or the folder is not empty, ConsentError
        where the faceset names no subject or no basis.
        """
        if self.export_dir is None:
            raise UsageError("export_dir is missing: give the folder of the new faceset")
        copy_faces(*_origin(sample_collection), Path(self.export_dir))


def _origin(samples: Any) -> tuple[Faceset, list[str]]:
    """The faceset that the samples are from, and their faces."""
    if not {"face_id", "crop"} <= set(samples.get_field_schema()):
        raise UsageError("the samples are not faces of a faceset: they have no fields face_id and crop")
    paths, crops, faces = samples.values(["filepath", "crop", "face_id"])
    if not faces:
        raise UsageError("no faces to export: the view is empty")
    pairs = list(zip(paths, crops, strict=True))
    if not all(crop and path.endswith(f"/{crop}") for path, crop in pairs):
        raise UsageError("some samples are not faces of a faceset: their files are not its crops")
    roots = {path.removesuffix(crop) for path, crop in pairs}
    if len(roots) > 1:
        raise UsageError(
            f"the faces belong to {len(roots)} facesets ({', '.join(sorted(roots))}): export one at a time"
        )
    return open_faceset(Path(roots.pop())), faces


def copy_faces(faceset: Faceset, faces: Sequence[str], out: Path) -> Faceset:
    """A faceset in the new folder `out` with these faces only: their rows, crops and segments' parts, the selection.

    Raises UsageError where `out` holds something, ConsentError without subject or basis, WorkError where a file of the
    faceset is gone.
    """
    subject = require(faceset.subject, str(faceset.folder))
    rows = read_arrow(faceset.table_path, filters=[("face_id", "in", list(faces))])
    made = create(out, subject, faceset.settings)
    segments = {(c, s) for c, s in zip(rows["clip"].to_pylist(), rows["segment"].to_pylist(), strict=True)}
    for part in sorted(f"parts/{clip}-{segment:04d}.parquet" for clip, segment in segments):
        _copy(faceset.folder / part, out / part)
    for crop in rows["crop"].to_pylist():
        if crop:
            _copy(faceset.folder / crop, out / crop)
    write_table(made.table_path, rows)
    if faceset.selection_path.is_file():
        chosen = faceset.selection()
        chosen = chosen[chosen["face_id"].isin(set(faces))].reset_index(drop=True)
        chosen = chosen.assign(rank=range(len(chosen)), coverage=np.float32("nan"))  # of these faces it is another
        write_selection(made, chosen, faceset.selection_options())
    clips = tuple(clip for clip in faceset.clips if clip.name in {name for name, _ in segments})
    made = made.changed(clips=clips, references=faceset.references, anchor=faceset.anchor)
    log.info("%s: %d faces copied from %s", out, rows.num_rows, faceset.folder)
    return made


def _copy(source: Path, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, out)
