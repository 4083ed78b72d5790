"""One faceset as a FiftyOne dataset: fields out of the schema, samples, views, the map. `curate.app` says when."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from curate.errors import WorkError
from curate.faceset import Faceset
from curate.table import BY_NAME, COLUMNS, SELECTION_COLUMNS, SELECTION_SCHEMA, STATUS_OK, Column

MAP = "map"
"""Brain key of the map, and name of the workspace that shows it beside the faces."""
SELECTED, NOT_SELECTED, DROPPED = "selected", "kept, not selected", "dropped: "
"""Names of the saved views; the last is followed by the reason."""
INDEXED = ("face_id", "clip", "status", "kept", "person", "selected", "rank", "cluster")
BATCH = 2000
SEED = 0

_KINDS: dict[str, Callable[[pa.DataType], bool]] = {
    "StringField": pa.types.is_string,
    "IntField": pa.types.is_integer,
    "FloatField": pa.types.is_floating,
    "BooleanField": pa.types.is_boolean,
    "VectorField": lambda t: pa.types.is_fixed_size_list(t) or pa.types.is_list(t),
}


@dataclass(frozen=True)
class FieldSpec:
    """One field of the dataset, generated from a column of the schema."""

    name: str
    kind: str
    """Name of the field's class in `fiftyone`."""
    description: str
    group: str
    """Group in the App's sidebar."""
    info: dict[str, Any]
    """unit, low, high, higher_is_better, where the column has them."""


def field_specs() -> tuple[FieldSpec, ...]:
    """The fields of a dataset: every column of faces.parquet, `selected`, and those of selection.parquet."""
    columns = [c for c in COLUMNS if c.level != "part"]
    columns.append(Column("selected", pa.bool_(), "This face was chosen", group="selection"))
    columns += [c for c in SELECTION_COLUMNS if c.name not in BY_NAME]
    return tuple(_spec(column) for column in columns)


def _spec(column: Column) -> FieldSpec:
    names = ("unit", "low", "high", "higher_is_better")
    info = {n: v for n in names if (v := getattr(column, n)) not in (None, "")}
    low, high = ("" if v is None else f"{v:g}" for v in (column.low, column.high))
    span = f"{low} to {high}" if low and high else f"from {low}" if low else f"up to {high}" if high else ""
    better = {None: "", True: "higher is better", False: "lower is better"}[column.higher_is_better]
    notes = "; ".join(n for n in (f"{span} {column.unit}".strip(), better) if n)
    kind = next(name for name, fits in _KINDS.items() if fits(column.type))
    return FieldSpec(column.name, kind, f"{column.doc} [{notes}]" if notes else column.doc, column.group, info)


def load_faces(dataset: Any, faceset: Faceset) -> None:
    """All faces with a crop anew: fields, samples, indexes, the map. Tags are kept by face.

    Raises WorkError where no face has a crop, or a crop's path leaves the faceset.
    """
    tags = dict(zip(*dataset.values(["face_id", "tags"]), strict=True)) if dataset.has_field("face_id") else {}
    dataset.delete_brain_runs()
    dataset.clear()
    _declare(dataset)
    rows = faceset.table()
    rows = rows[rows["crop"].notna() & (rows["crop"] != "")].reset_index(drop=True)
    if rows.empty:
        raise WorkError(f"{faceset.folder} has no crops to show: curate its footage with --crop-size 256")
    rng = np.random.default_rng(SEED)  # for the App's own shuffling
    for start in range(0, len(rows), BATCH):
        documents = list(_documents(dataset, faceset.folder, rows.iloc[start : start + BATCH], tags, rng))
        # add_samples takes three times as long; what it would store is in `_documents`.
        dataset._sample_collection.insert_many(documents)
    for field in INDEXED:
        dataset.create_index(field)
    _draw_map(dataset, rows)


def _declare(dataset: Any) -> None:
    """Fields of the schema, those of older schemas taken away, and the groups of the sidebar."""
    import fiftyone as fo

    specs = field_specs()
    dataset.media_type = "image"
    wanted = {s.name: getattr(fo, s.kind) for s in specs}
    old = [n for n, field in dataset.get_field_schema().items() if n in wanted and not isinstance(field, wanted[n])]
    if old:
        dataset.delete_sample_fields(old)
    for spec in specs:
        dataset.add_sample_field(spec.name, wanted[spec.name], description=spec.description, info=spec.info)
    groups: dict[str, list[str]] = {"tags": [], "selection": []}
    for spec in specs:
        groups.setdefault(spec.group, []).append(spec.name)
    groups["metadata"] = ["id", "filepath", "metadata.size_bytes", "metadata.mime_type", "metadata.width"]
    groups["metadata"] += ["metadata.height", "metadata.num_channels", "created_at", "last_modified_at"]
    dataset.app_config.sidebar_groups = [
        fo.SidebarGroupDocument(name=name, paths=paths, expanded=name in ("selection", "face", "pose"))
        for name, paths in groups.items()
    ]
    dataset.save()


def _documents(
    dataset: Any, folder: Path, rows: pd.DataFrame, tags: dict[str, list[str]], rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """What the database stores of each row: FiftyOne's own document of a sample with the row's values put in."""
    import fiftyone as fo
    import fiftyone.core.utils as fou
    from bson import Binary, ObjectId

    root = folder.resolve()
    now = datetime.now(UTC)
    template = dataset._make_dict(fo.Sample(filepath="face.jpg"), created_at=now, last_modified_at=now)
    vectors = {s.name for s in field_specs() if s.kind == "VectorField"} & set(rows.columns)
    columns = {n: _plain(rows[n]) for n in (s.name for s in field_specs()) if n in rows.columns and n not in vectors}
    packed = {n: [None if v is None else Binary(fou.serialize_numpy_array(v)) for v in rows[n]] for n in vectors}
    filled = columns | packed
    for row in zip(*filled.values(), strict=True):
        values = dict(zip(filled, row, strict=True))
        path = (root / values["crop"]).resolve()
        if not path.is_relative_to(root):
            raise WorkError(f"crop path {values['crop']!r} leaves the faceset {folder}")
        known = {name: value for name, value in values.items() if value is not None}
        marks = {"tags": tags.get(values["face_id"], []), "selected": False, "_rand": float(rng.random())}
        yield {**template, **known, **marks, "_id": ObjectId(), "filepath": str(path)}


def _plain(column: pd.Series[Any]) -> list[Any]:
    """Python values of a column; None where it is null or NaN."""
    return [None if null else v for v, null in zip(column.tolist(), column.isna(), strict=True)]


def map_points(rows: pd.DataFrame) -> NDArray[np.float64]:
    """(N, 2) places of the faces in a flat map of the diversity space (UMAP)."""
    from curate.cluster import map2d
    from curate.space import Space

    return np.asarray(map2d(Space.fit(rows).embed(rows), SEED), np.float64)


def _draw_map(dataset: Any, rows: pd.DataFrame) -> None:
    """The subject's faces in the Embeddings panel, and a workspace with the panel beside the faces."""
    import fiftyone as fo
    import fiftyone.brain as fob

    kept = rows[rows["kept"]]
    if len(kept) < 3:
        return
    ids = dict(zip(*dataset.values(["face_id", "id"]), strict=True))
    points = dict(zip((ids[f] for f in kept["face_id"]), map_points(kept), strict=True))
    fob.compute_visualization(dataset, points=points, brain_key=MAP)
    panels = fo.Panel(type="Samples", pinned=True), fo.Panel(type="Embeddings")
    halves = [fo.Space(children=[panel], active_child=panel.component_id) for panel in panels]
    both = fo.Space(children=halves, orientation="horizontal")
    dataset.save_workspace(MAP, both, description="The faces beside the map of pose, expression, light", overwrite=True)


def load_selection(dataset: Any, faceset: Faceset) -> None:
    """`selected` and the columns of selection.parquet anew; without a selection nothing is selected."""
    names = [f.name for f in SELECTION_SCHEMA if f.name not in BY_NAME]
    dataset.clear_sample_fields(names)
    was = dataset.match({"selected": True})
    was.set_values("selected", [False] * len(was))
    if not faceset.selection_path.is_file():
        return
    ids = dict(zip(*dataset.values(["face_id", "id"]), strict=True))
    chosen = faceset.selection()
    chosen = chosen[chosen["face_id"].isin(ids) & chosen["rank"].notna()]
    for name in names:
        kind = int if pa.types.is_integer(SELECTION_SCHEMA.field(name).type) else None
        values = [kind(v) if kind and v is not None else v for v in _plain(chosen[name])]
        dataset.set_values(name, dict(zip(chosen["face_id"].map(ids), values, strict=True)), key_field="id")
    dataset.set_values("selected", {ids[f]: True for f in chosen["face_id"]}, key_field="id")


def save_views(dataset: Any) -> None:
    """The saved views: selected in order of choice; kept but not selected; dropped, one a reason.

    Views of reasons that are gone are deleted, views that people saved stay.
    """
    views = {
        SELECTED: (dataset.match({"selected": True}).sort_by("rank"), "The selection, in order of choice"),
        NOT_SELECTED: (dataset.match({"kept": True, "selected": False}), "The subject's faces that were not chosen"),
    }
    reasons: dict[str, list[str | None]] = {}
    for reason in dataset.match({"kept": False}).count_values("status"):
        reasons.setdefault("no reason given" if reason in (None, STATUS_OK) else reason, []).append(reason)
    for text, statuses in sorted(reasons.items()):
        dropped = dataset.match({"kept": False, "status": {"$in": statuses}})
        views[DROPPED + text] = (dropped, f"Not kept: {text}")
    for name in dataset.list_saved_views():
        if name.startswith(DROPPED) and name not in views:
            dataset.delete_saved_view(name)
    for name, (view, description) in views.items():
        dataset.save_view(name, view, description=description, overwrite=True)
