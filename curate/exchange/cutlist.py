"""Writing of the minutes worth keeping: which they are, in which format, and what it comes to."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from curate.dataset.faceset import Faceset
from curate.errors import UsageError
from curate.exchange import timeline
from curate.exchange.trimming import check_footage, write_mp4
from curate.select.keep import windows
from curate.select.outcome import COLUMNS
from curate.select.persist import last_options
from curate.select.space import posed
from curate.types import Progress, no_progress

log = logging.getLogger(__name__)


def write(
    faceset: Faceset, out: Path, target: Faceset | None = None, force: bool = False, progress: Progress = no_progress
) -> dict[str, Any]:
    """Write the stretches of the faceset's footage that are worth keeping; the result as JSON values.

    `out` ends in .otio, .edl or .mp4. With a `target` the stretches are those that it needs. Weights are those of the
    faceset's last selection. Raises UsageError for another ending or a file that exists (unless `force`), WorkError
    where nothing is worth keeping, FootageError where the footage for a video is gone.
    """
    if out.suffix.lower() not in timeline.FORMATS:
        raise UsageError(f"--out {out}: must end in {', '.join(timeline.FORMATS)}")
    if out.exists() and not force:
        raise UsageError(f"--out {out}: exists; name another file, or overwrite it with --force")
    if out.exists() and any(Path(c.path).exists() and out.samefile(c.path) for c in faceset.clips):
        raise UsageError(f"--out {out}: is the footage itself; choose another file")
    if not out.parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {out.parent}")
    wanted = None if target is None else posed(target.table(COLUMNS, kept=True))
    table = faceset.table(COLUMNS, kept=True)
    found = windows(table, last_options(faceset).options.weights, wanted)
    cuts = timeline.cuts_of(faceset, found, _beginnings(table, faceset))
    name = f"{faceset.subject.name if faceset.subject else faceset.folder.name}: worth keeping"
    if out.suffix.lower() == ".mp4":
        check_footage(cuts)
        write_mp4(out, cuts, progress)
    else:
        _warn_of_changed(cuts)
        (timeline.write_otio if out.suffix.lower() == ".otio" else timeline.write_edl)(out, cuts, name)
    return {
        "out": str(out),
        "cuts": len(cuts),
        "keep_minutes": round(sum(c.seconds for c in cuts) / 60, 4),
        "minutes": round(sum(c.seconds for c in faceset.clips if c.fps > 0) / 60, 4),
    }


def _warn_of_changed(cuts: Sequence[timeline.Cut]) -> None:
    """Warn of footage whose size is not the one that the faceset knows: the cuts may not fit it."""
    for clip in {cut.clip.path: cut.clip for cut in cuts}.values():
        path = Path(clip.path)
        if path.is_file() and clip.size and path.stat().st_size != clip.size:
            log.warning("%s: is another file than the one that the faceset knows; the cuts may not fit it", path)


def _beginnings(table: pd.DataFrame, faceset: Faceset) -> dict[str, float]:
    """Clip to the timestamp of its first frame."""
    rates = {clip.name: clip.fps for clip in faceset.clips if clip.fps > 0}
    rows = table[table["clip"].isin(rates)]
    first = rows["time"] - rows["frame"] / rows["clip"].map(rates).astype(float)  # of no rows it would be text
    return {str(name): float(begins) for name, begins in first.groupby(rows["clip"]).median().items()}
