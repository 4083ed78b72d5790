"""`faceset report`."""

from __future__ import annotations

from typing import Any

from faceset import choosing, console, messages
from faceset.options import Folders, For, Json, Quiet


def report(folders: Folders, target: For = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Write the diversity and coverage page of a faceset; of several facesets also a comparison."""
    console.progress(quiet)
    if target is not None:
        for folder in folders:
            choosing.check_target(target, folder)
    pages = [choosing.report(folder, target) for folder in folders]
    if len(folders) > 1:
        from curate.dataset.faceset import open_faceset
        from reports.coverage.compare import write

        pages.append(write([open_faceset(folder) for folder in folders]))
    found: dict[str, Any] = {
        "report": str(pages[-1]),
        "data": str(pages[-1].with_suffix(".json")),
        "reports": [str(p) for p in pages],
    }
    if target is not None:
        found["readiness"] = choosing.ready(folders[0], target)
    console.say(as_json, found, messages.reported)
