"""Views and workspace of a faceset's dataset in the App: what it opens on, what was left out, faces worth checking."""

from __future__ import annotations

from typing import Any

from curate.schema import STATUS_OK

LOOK = "faceset"
"""Workspace with which the App opens: the faces next to the Coverage panel and the map."""
PANEL = "coverage"
"""Type of our Coverage panel."""
SELECTED, NOT_SELECTED, DROPPED = "selected", "kept, not selected", "dropped: "
TWINS, WORST, OUTLIERS, PINNED = "near-duplicates", "worst quality", "outliers", "pinned or banned"
LEFT_OUT = "left out, by reason"
BY_CLIP, BY_GROUP, BY_PERSON = "by clip", "by group", "by person"
"""Names of the saved views; DROPPED is followed by the reason."""
TWIN, OUTLIER_SHARE, WORST_SHARE = 0.95, 0.02, 0.1
"""Similarity from which on a face is a near-duplicate; shares of the kept faces that are outliers, and worst."""


def save_look(dataset: Any) -> None:
    """Save the workspace LOOK."""
    import fiftyone as fo

    faces, coverage, places = fo.Panel(type="Samples", pinned=True), fo.Panel(type=PANEL), fo.Panel(type="Embeddings")
    left, above, below = (
        fo.Space(children=[panel], active_child=panel.component_id) for panel in (faces, coverage, places)
    )
    right = fo.Space(children=[above, below], orientation="vertical", sizes=[0.55, 0.45])
    both = fo.Space(children=[left, right], orientation="horizontal")
    dataset.save_workspace(LOOK, both, description="The faces, their coverage and their map", overwrite=True)


def first_look(dataset: Any) -> dict[str, Any]:
    """With what the App opens: the selection in order of choice where there is one, and the workspace LOOK."""
    look = {"spaces": dataset.load_workspace(LOOK)} if LOOK in dataset.list_workspaces() else {}
    selected = SELECTED in dataset.list_saved_views() and dataset.match({"selected": True}).count()
    return look | ({"view": dataset.load_saved_view(SELECTED)} if selected else {})


def save_views(dataset: Any) -> None:
    """Save the views: the selection, what is left out, one view per reason, and faces worth checking; and LOOK.

    Views of reasons that are gone are deleted, views that people saved stay.
    """
    kept = {"kept": True}
    least, count = dataset.match(kept), dataset.count("alike")
    outliers, worst = (max(1, round(share * count)) for share in (OUTLIER_SHARE, WORST_SHARE))
    views = {
        SELECTED: (dataset.match({"selected": True}).sort_by("rank"), "The selection, in order of choice"),
        NOT_SELECTED: (dataset.match({**kept, "selected": False}), "The subject's faces that are not selected"),
        LEFT_OUT: (
            dataset.exists("left_out_order").sort_by("left_out_order"),
            "What is not selected, by reason; the most doubtful of each reason last",
        ),
        TWINS: (
            dataset.match({**kept, "alike": {"$gte": TWIN}}).sort_by([("group", 1), ("alike", -1)]),
            "Faces with a near-duplicate in the footage, by group",
        ),
        OUTLIERS: (
            least.exists("alike").sort_by("alike").limit(outliers),
            "The faces that differ most from all others",
        ),
        WORST: (
            least.exists("quality_rank").sort_by("quality_rank").limit(worst),
            "The tenth of the faces with the lowest quality",
        ),
        PINNED: (dataset.exists("pin"), "Faces that are always, or never, selected"),
        BY_CLIP: (least.group_by("clip", order_by="frame"), "One stack per clip"),
        BY_GROUP: (least.exists("group").group_by("group"), "One stack per group of similar faces"),
        BY_PERSON: (dataset.exists("person").group_by("person", order_by="frame"), "One stack per person"),
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
    save_look(dataset)
