"""One faceset as a FiftyOne dataset: fields from the schema, samples, saved views and the map."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from curate.app import sample
from curate.app.map_process import Drawing
from curate.app.panels import OUTCOME
from curate.dataset.faceset import Faceset
from curate.dataset.links import inside
from curate.dataset.pins import Pins, read_pins
from curate.errors import WorkError
from curate.schema import BY_NAME, COLUMNS, SELECTION_COLUMNS, SELECTION_SCHEMA, Column
from curate.select.left_out import left_out_of
from curate.select.outcome import COLUMNS as OUTCOME_COLUMNS
from curate.select.outcome import Outcome, read_outcome, remarks_on
from curate.select.space import SPACE_COLUMNS, Space
from curate.types import Floats

log = logging.getLogger(__name__)

MAP, SIMILAR = "map", "similar"
"""Brain keys of the map, which is also a workspace that shows it next to the faces, and of the similarity search."""
LIKE_SAMPLE = 4000
EXPLAINED = 20_000
"""Faces of each reason, the most doubtful, that have a place in the order of what was left out."""
LEAST_MAP = 3
INDEXED = ("face_id", "clip", "status", "kept", "person", "selected", "rank", "cluster", "group")
DERIVED = (
    Column("group", pa.string(), "Group of the selected face that is most similar", "table", "selection"),
    Column("pin", pa.string(), "pinned: always selected; banned: never selected", "table", "selection"),
    Column(
        "alike",
        pa.float32(),
        "Similarity to the most similar other face, among up to 4000 faces of the footage",
        "table",
        "selection",
        low=0,
        high=1,
    ),
    Column(
        "quality_rank",
        pa.float32(),
        "Mean rank of the quality measures among the kept faces",
        "table",
        "quality",
        low=0,
        high=1,
        higher_is_better=True,
    ),
    Column("left_out", pa.string(), "Why this face is not selected", "table", "selection"),
    Column("left_out_detail", pa.string(), "The value behind the reason", "table", "selection"),
    Column(
        "left_out_order",
        pa.int32(),
        "Order by reason, from the clearest to the most doubtful",
        "table",
        "selection",
        low=0,
    ),
)
"""Fields that are computed when the faceset is loaded."""
EXPLANATIONS = tuple(c.name for c in DERIVED if c.name.startswith("left_out"))
SHOWN = tuple(c.name for c in SELECTION_COLUMNS if c.name not in BY_NAME and c.name not in {d.name for d in DERIVED})
"""Columns of the selection that are fields of their own."""
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
    columns.append(Column("selected", pa.bool_(), "This face is selected", group="selection"))
    columns += [c for c in SELECTION_COLUMNS if c.name in SHOWN]
    columns += DERIVED
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
    """Load all faces with a crop anew: fields, samples, indexes. Tags are kept; map and similarity search are removed.

    Of a very large faceset those that `curate.app.sample` has chosen. Raises WorkError where no face has a crop, or a
    crop's path leaves the faceset.
    """
    tags = dict(zip(*dataset.values(["face_id", "tags"]), strict=True)) if dataset.has_field("face_id") else {}
    shown = sample.shown_of(faceset, dataset)
    dataset.delete_brain_runs()
    dataset.clear()
    _declare(dataset)
    _insert(dataset, shown, _derived(shown), tags)
    for field in INDEXED:
        dataset.create_index(field)


def _insert(dataset: Any, faceset: Faceset, derived: pd.DataFrame | None, tags: dict[str, list[str]]) -> None:
    """Add the faceset's faces with a crop, read piece by piece, with what was `derived` of them."""
    rng = np.random.default_rng(SEED)  # for the App's own shuffling
    for batch in pq.ParquetFile(faceset.table_path).iter_batches(BATCH):
        piece = batch if faceset.only is None else _of(batch, faceset.only)
        rows = _shown(piece.to_pandas())
        rows = rows if derived is None else rows.join(derived, on="face_id")
        if rows.empty:
            continue
        documents = list(_documents(dataset, faceset.folder, rows, tags, rng))
        # add_samples takes three times as long; what it would store is in `_documents`.
        dataset._sample_collection.insert_many(documents)


def _of(batch: pa.RecordBatch, faces: frozenset[str]) -> pa.RecordBatch:
    return batch.filter(pa.array([face in faces for face in batch["face_id"].to_pylist()], pa.bool_()))


def add_faces(dataset: Any, faceset: Faceset, faces: Collection[str]) -> None:
    """Also show these faces of a very large faceset, of which only a sample is loaded."""
    before = sample.kept(dataset)
    more = frozenset() if before is None else frozenset(faces) - before.ids
    if before is None or not more:
        return
    _insert(dataset, replace(faceset, only=more), None, {})
    sample.keep(dataset, sample.Sample(before.faces, before.ids | more))


def _shown(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with a crop: only those can be shown."""
    return rows[rows["crop"].notna() & (rows["crop"] != "")].reset_index(drop=True)


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
        path = inside(root, values["crop"])
        known = {name: value for name, value in values.items() if value is not None}
        marks = {"tags": tags.get(values["face_id"], []), "selected": False, "_rand": float(rng.random())}
        yield {**template, **known, **marks, "_id": ObjectId(), "filepath": str(path)}


def show_face(dataset: Any, faceset: Faceset, face_id: str) -> None:
    """Show one face's row of the table again, which has changed."""
    import fiftyone.core.utils as fou
    from bson import Binary

    rows = pq.read_table(faceset.table_path, filters=[("face_id", "==", face_id)]).to_pandas()
    values: dict[str, Any] = {}
    for spec in (s for s in field_specs() if s.name in rows.columns):
        value = _plain(rows[spec.name])[0] if spec.kind != "VectorField" else rows[spec.name].iloc[0]
        packed = spec.kind == "VectorField" and value is not None
        values[spec.name] = Binary(fou.serialize_numpy_array(value)) if packed else value
    dataset._sample_collection.update_one({"face_id": face_id}, {"$set": values})
    dataset.reload()


def _plain(column: pd.Series[Any]) -> list[Any]:
    """Python values of a column; None where it is null or NaN."""
    return [None if null else v for v, null in zip(column.tolist(), column.isna(), strict=True)]


def begin_map(faceset: Faceset) -> Drawing | None:
    """A flat map of the diversity space (UMAP) of the kept faces, begun in a process of its own; None: too few."""
    rows = _shown(faceset.table(["face_id", "crop", "kept", *SPACE_COLUMNS]))
    kept = rows[rows["kept"]]
    if len(kept) < LEAST_MAP:
        return None
    return Drawing(kept["face_id"].tolist(), Space.fit(kept).embed(kept), SEED)


def _derived(faceset: Faceset) -> pd.DataFrame:
    """`quality_rank` and `alike` of the kept faces with a crop, by face id.

    Raises WorkError where no face has a crop.
    """
    from curate.select.like import quality
    from curate.select.selection import select_columns

    rows = _shown(faceset.table(["crop", *select_columns()]))
    if rows.empty:
        raise WorkError(
            f"{faceset.folder} has no crops to show: run faceset curate on its footage with --crop-size 256"
        )
    faces = rows[rows["kept"]].set_index("face_id")
    found = pd.DataFrame(index=faces.index, columns=["quality_rank", "alike"], dtype="float32")
    if len(faces):
        space = Space.fit(faces)
        found["quality_rank"] = pd.Series(quality(faces), faces.index).rank(pct=True).astype("float32")
        found["alike"] = likeness(space, space.embed(faces))
    return found


def likeness(space: Space, points: Floats) -> Floats:
    """(N,) 0..1: similarity of each of the points (N, D) to the other one most like it, of at most LIKE_SAMPLE."""
    rows = np.unique(np.linspace(0, len(points) - 1, min(len(points), LIKE_SAMPLE)).astype(int))
    best = np.zeros(len(points), np.float32)
    for start in range(0, len(points), 1000):
        found = space.similarity(points[start : start + 1000], points[rows])
        found[rows[None] == np.arange(start, start + len(found))[:, None]] = 0
        best[start : start + 1000] = found.max(1)
    return best


def show_map(dataset: Any, drawing: Drawing) -> None:
    """Add the map to the Embeddings panel, a workspace with both, and the search for similar faces."""
    import fiftyone as fo
    import fiftyone.brain as fob

    places = drawing.places()
    ids = dict(zip(*dataset.values(["face_id", "id"]), strict=True))
    samples = [ids[f] for f in drawing.faces]
    for key in {MAP, SIMILAR} & set(dataset.list_brain_runs()):
        dataset.delete_brain_run(key)
    fob.compute_visualization(dataset, points=dict(zip(samples, places.astype(np.float64), strict=True)), brain_key=MAP)
    panels = fo.Panel(type="Samples", pinned=True), fo.Panel(type="Embeddings")
    halves = [fo.Space(children=[panel], active_child=panel.component_id) for panel in panels]
    both = fo.Space(children=halves, orientation="horizontal")
    dataset.save_workspace(
        MAP, both, description="The faces next to the map of pose, expression and light", overwrite=True
    )
    # The whole dataset, of which the faces that are not kept have no vector: a view would be part of the run.
    vectors = dict(zip(samples, drawing.points, strict=True))
    fob.compute_similarity(dataset, embeddings=vectors, brain_key=SIMILAR, backend="sklearn", metric="euclidean")


def load_selection(dataset: Any, faceset: Faceset) -> None:
    """Load the selection, its groups and the pins anew; without a selection no face is selected."""
    pins = read_pins(faceset)
    add_faces(dataset, faceset, (*pins.pinned, *pins.banned))
    show_pins(dataset, pins)
    if not faceset.selection_path.is_file():
        _clear_selection(dataset)
        return
    found = read_outcome(faceset)
    if sample.kept(dataset) is None:
        for remark in remarks_on(faceset, found, faceset.table(OUTCOME_COLUMNS, kept=True)):
            log.warning("%s", remark)
    show_selection(dataset, faceset, faceset.selection(), found, faceset.selection_options())


def _clear_selection(dataset: Any) -> None:
    dataset.clear_sample_fields([*SHOWN, "group", *EXPLANATIONS])
    was = dataset.match({"selected": True})
    was.set_values("selected", [False] * len(was))
    dataset.info.pop(OUTCOME, None)
    dataset.save()


def show_selection(
    dataset: Any, faceset: Faceset, chosen: pd.DataFrame, outcome: Outcome, options: Mapping[str, Any]
) -> None:
    """Show the rows `chosen` (SELECTION_SCHEMA) as the selection, with what it is worth and why others are left out.

    `options`: how it was made, as `Faceset.selection_options` has it.
    """
    _clear_selection(dataset)
    add_faces(dataset, faceset, chosen["face_id"].tolist())
    faceset = sample.shown_of(faceset, dataset)
    ids = dict(zip(*dataset.values(["face_id", "id"]), strict=True))
    _show_groups(dataset, faceset, chosen, set(ids), outcome.space)
    rest = left_out_of(faceset, set(chosen["face_id"]), options, outcome.space)
    _show_left_out(dataset, rest[rest["face_id"].isin(ids)], ids)
    dataset.info[OUTCOME] = {n: getattr(outcome, n) for n in ("selected", "eligible", "kept", "coverage")}
    dataset.save()
    chosen = chosen[chosen["face_id"].isin(ids) & chosen["rank"].notna()]
    for name in SHOWN:
        kind = int if pa.types.is_integer(SELECTION_SCHEMA.field(name).type) else None
        values = [kind(v) if kind and v is not None else v for v in _plain(chosen[name])]
        dataset.set_values(name, dict(zip(chosen["face_id"].map(ids), values, strict=True)), key_field="id")
    dataset.set_values("selected", {ids[f]: True for f in chosen["face_id"]}, key_field="id")


def _show_groups(dataset: Any, faceset: Faceset, chosen: pd.DataFrame, ids: set[str], fitted: Space | None) -> None:
    """Set every kept face's group: that of the most similar selected face in the space `fitted` for the selection."""
    table = faceset.table(["face_id", "kept", *SPACE_COLUMNS])
    kept = table[table["kept"] & table["face_id"].isin(ids)].reset_index(drop=True)
    names = chosen.set_index("face_id")["group"]
    at = np.flatnonzero(kept["face_id"].isin(names.index))
    if not len(at):
        return
    space = fitted or Space.fit(kept)
    points = space.embed(kept)
    nearest = np.concatenate(
        [space.similarity(points[i : i + 1000], points[at]).argmax(1) for i in range(0, len(points), 1000)]
    )
    nearest[at] = np.arange(len(at))
    groups = kept["face_id"].iloc[at[nearest]].map(names).fillna("no name").to_numpy()
    for name, faces in kept["face_id"].groupby(groups):
        # A write a group; set_values makes one a face.
        dataset._sample_collection.update_many({"face_id": {"$in": faces.tolist()}}, {"$set": {"group": name}})


def _show_left_out(dataset: Any, rest: pd.DataFrame, ids: Mapping[str, str]) -> None:
    """Set why the rows of `curate.select.left_out.left_out` are left out."""
    rest = rest.assign(left_out_order=np.arange(len(rest), dtype=np.int32))
    for reason, rows in rest.groupby("reason"):
        # A write a reason; set_values makes one a face.
        wanted = {"face_id": {"$in": rows["face_id"].tolist()}}
        dataset._sample_collection.update_many(wanted, {"$set": {"left_out": reason}})
    last = rest.groupby("reason").tail(EXPLAINED)
    samples = last["face_id"].map(ids).tolist()
    for field, column in (("left_out_order", "left_out_order"), ("left_out_detail", "detail")):
        dataset.set_values(field, dict(zip(samples, last[column].tolist(), strict=True)), key_field="id")


def show_pins(dataset: Any, pins: Pins) -> None:
    """Set the field `pin` anew."""
    dataset.clear_sample_field("pin")
    for word, faces in (("pinned", pins.pinned), ("banned", pins.banned)):
        view = dataset.match({"face_id": {"$in": list(faces)}})
        view.set_values("pin", [word] * len(view))
