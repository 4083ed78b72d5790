"""What the verbs say to people, out of the results that `--json` gives to machines."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from curate.words import are, many, quoted, visible

MOST_PEOPLE = 24
"""People that are listed."""


def selected(r: dict[str, Any]) -> str:
    """Of `select`: how many faces, what they cover, notes and gaps."""
    covered = f"{100 * r['coverage']:.0f} % of the footage covered"
    lines = [f"{r['selected']} of {many(r['eligible'], 'eligible face')} selected, {covered}"]
    if r.get("bound") is not None:  # a dry run has no bound and does not measure what is worth keeping
        lines.append(f"at least {100 * r['bound']:.0f} % of the value of the best possible choice of {r['selected']}")
    lines += [worth_keeping(r)] if "distinct_faces" in r else []
    lines += [f"note: {note}" for note in r["notes"]]
    lines += [str(r["left_out"])] if "left_out" in r else []
    if "target" in r:
        before, after = (100 * r["target"]["coverage"][k] for k in ("before", "after"))
        lines.append(
            f"closeness to the target's faces: {after:.0f} % by the selection, {before:.0f} % by all eligible faces "
            "(faceset report --for says how many of them have a like face)"
        )
        gaps = [f"gap: {gap['sentence']}" for gap in r["target"]["gaps"]]
        lines += gaps or ["no gap: the source has faces like all of the target's"]
    return "\n".join(lines)


def worth_keeping(r: dict[str, Any]) -> str:
    """How much of the footage is worth keeping."""
    faces = many(r["distinct_faces"], "distinct face")
    if r["keep_minutes"] is None:
        return faces
    return f"{faces}; {r['keep_minutes']:.2f} of {r['minutes']:.2f} minutes of footage are worth keeping (faceset cut)"


def _reason(failure: dict[str, Any]) -> str:
    """Why footage failed, after its path."""
    path, reason = str(failure["path"]), str(failure["reason"])
    return reason if reason.startswith(f"{path}: ") else f"{path}: {reason}"


def cut(r: dict[str, Any]) -> str:
    """Of `cut`."""
    return f"{many(r['cuts'], 'cut')}, {r['keep_minutes']:.2f} of {r['minutes']:.2f} minutes of footage\n{r['out']}"


def curated(r: dict[str, Any]) -> str:
    """Of `curate`: what failed, how much there was, the page."""
    lines = [f"failed: {_reason(f)}" for f in r["failed"]]
    lines += [f"note: {note}" for note in r["notes"]]
    skipped = f" ({r['skipped']} skipped: nothing changed)" if r["skipped"] else ""
    lines.append(
        f"{many(r['frames'], 'frame')}{skipped}, {many(r['kept'], 'face')} kept, {r['selected']} selected, "
        f"{r['seconds']:.0f} s, {r['disk'] / 1e6:.0f} MB"
    )
    lines.append(worth_keeping(r))
    return "\n".join([*lines, str(r["report"])])


def reported(r: dict[str, Any]) -> str:
    """Of `report`: whether the footage is enough for the target, and the pages."""
    return "\n".join([*([r["readiness"]["verdict"]] if "readiness" in r else []), *r["reports"]])


def imported(r: dict[str, Any]) -> str:
    """Of `import`."""
    lines = [f"failed: {_reason(f)}" for f in r["failed"]]
    pictures, kept = many(r["pictures"], "picture"), many(r["kept"], "face")
    lines.append(f"{pictures} ({r['format']}), {kept} kept, {r['selected']} selected")
    lines += [f"note: {note}" for note in r["notes"]]
    return "\n".join([*lines, str(r["report"])])


def exported(r: dict[str, Any]) -> str:
    """Of `export`: how many faces, and how each came to be."""
    lines = [f"failed: {_reason(f)}" for f in r["failed"]]
    ways = {"unchanged": "kept", "cropped from the footage": "from_footage", "cropped from our crops": "from_crops"}
    counts = ", ".join(f"{r[key]} {words}" for words, key in ways.items() if r[key])
    return "\n".join([*lines, f"{many(r['faces'], 'face')} ({counts})", r["out"]])


READABLE = 128
"""Least side of an exported model's crops whose watermark is read in finished videos; see docs/evidence.md."""


def exported_model(r: dict[str, Any]) -> str:
    """Of `export --format dfm`."""
    lines = [f"{r['size']} px, watermark {r['watermark']} in every swap"]
    if found := r["reader"]:
        lines.append(
            f"performance read from the crop: swaps of {found['faces']} held-out faces differ from the run's own by "
            f"{found['levels']:.1f} levels ({found['levels_unread']:.1f} without reading), SSIM {found['ssim']:.3f}"
        )
    if r["size"] < READABLE:
        lines.append(f"the watermark of a {r['size']} px model cannot be read in finished videos; 128 px are needed")
    return "\n".join([*lines, r["out"], f"{r['statement']} (signed statement)"])


def trained(out: Path) -> Any:
    """Of `train` into the run `out`."""

    def text(r: dict[str, Any]) -> str:
        """The lines that are printed."""
        parts = [f"{visible(str(out))}: {many(r['steps'], 'step')} ({r['ended']})", f"held-out SSIM {r['ssim']:.3f}"]
        if r["nearer"] is not None:
            parts.append(f"{100 * r['nearer']:.0f} % of swaps closer to the source than to the target")
        if r["performance"]:
            weak = min(r["performance"], key=lambda axis: r["performance"][axis]["correlation"])
            parts.append(f"weakest movement: {weak} (correlation {r['performance'][weak]['correlation']:.2f})")
        parts.append(f"{r['seconds']:.0f} s")
        if r["device_hours"] is not None:
            parts.append(f"{r['device_hours']:.2f} device-hours" + (f", cost {r['cost']:.2f}" if r["cost"] else ""))
        return ", ".join(parts) + f"\n{out / 'reports' / 'training.html'}"

    return text


def forgotten(r: dict[str, Any]) -> str:
    """Of `forget`: what was, or would be, removed and what was left alone."""
    word = "removed" if r["done"] else "would be removed"
    lines = [f"{p['kind']} {p['where']}: {many(p['files'], 'sample' if p['kind'] == 'dataset' else 'file')}, "
             f"{p['bytes'] / 1e6:.1f} MB {word}" for p in r["pieces"]]  # fmt: skip
    if r["entries"]:
        lines.append(f"{many(r['entries'], 'entry', 'entries')} in the list of renders: names {word}, hashes kept")
    lines += [f"left alone: {path}: {why}" for path, why in r["left"].items()]
    if not r["pieces"] and not r["entries"]:
        return "\n".join([*lines, f"nothing of {r['subject']} was found"])
    return "\n".join(lines if r["done"] else [*lines, "nothing was removed yet; --yes removes it"])


def finding(f: dict[str, Any]) -> str:
    """One finding of a report of artifacts."""
    where = f"{f['start']:8.2f}-{f['end']:.2f} s"
    return f"{f['severity']:7}{f['kind']:18}{where}  {f['measure']} {f['value']:.3g} (limit {f['threshold']:.3g})"


def inspected(r: dict[str, Any]) -> str:
    """Of `inspect`: the findings, the verdict, the page."""
    return "\n".join([*map(finding, r["findings"]), str(r["verdict"]), str(r["report"])])


def pruned(done: bool) -> Callable[[dict[str, Any]], str]:
    """Of `prune`: what was, or would be, freed."""

    def text(r: dict[str, Any]) -> str:
        """The lines that are printed."""
        from curate.runtime.disk import text as size_of

        size = f"{many(r['crops'], 'crop')}, {size_of(r['bytes'])}"
        what = f"{size} freed" if done else f"would free {size}; --yes deletes them"
        sheet = f"\n{r['sheet']}" if r["sheet"] else ""
        others = f"; {many(r['pictures'], 'small picture')} of other people {'deleted' if done else 'would be deleted'}"
        kept = f"{many(r['kept'], 'crop')} of selected or pinned faces {are(r['kept'])} kept"
        return f"{what}; {kept}{others if r['pictures'] else ''}{sheet}"

    return text


def restored(r: dict[str, Any]) -> str:
    """Of `prune --restore`."""
    return f"{many(r['restored'], 'crop')} recreated"


def removed(r: dict[str, Any]) -> str:
    """Of `remove`: what goes with each clip, and what is selected afterwards."""
    word = "removed" if r["done"] else "would be removed"
    lines = [
        f"{c['name']}: {many(c['faces'], 'face')} ({c['kept']} kept, {c['selected']} selected), "
        f"{many(c['files'], 'file')}, "
        f"{c['bytes'] / 1e6:.1f} MB {word}"
        for c in r["clips"]
    ]
    if not r["done"]:
        return "\n".join([*lines, "nothing was removed yet; --yes removes it", r["sheet"]])
    return "\n".join([*lines, selected(r), r["report"]])


def merged(r: dict[str, Any]) -> str:
    """Of `merge`."""
    return "\n".join([f"{many(len(r['clips']), 'clip')} merged", selected(r), r["report"]])


def people(changed: str) -> Callable[[dict[str, Any]], str]:
    """Of `people`: a line each, notes; where the subject was `changed`, in what way and what to do next."""

    def text(r: dict[str, Any]) -> str:
        """The lines that are printed."""
        lines = [_person(p) for p in r["people"][:MOST_PEOPLE]]
        if len(r["people"]) > MOST_PEOPLE:
            lines.append(f"{len(r['people']) - MOST_PEOPLE} more; --json lists all")
        lines += [*r["notes"], r["sheet"]]
        return "\n".join(
            [*lines, *([f"{changed}; select again: faceset select {quoted(r['faceset'])}"] if changed else [])]
        )

    return text


def _person(p: dict[str, Any]) -> str:
    clips = f"{many(p['faces'], 'face')} in {many(p['clips'], 'clip')}"
    return f"person {p['person']}: {clips}, " + (
        f"the subject, {p['kept']} kept" if p["subject"] else f"identity distance {p['distance']:.2f}"
    )


def checked(r: dict[str, Any]) -> str:
    """Of `doctor`: a line for each check."""
    lines = (
        f"{c['state']:8}{c['name']:42}{c['detail']}" + (f"   -> {c['fix']}" if c["fix"] else "") for c in r["checks"]
    )
    return "\n".join(lines)


def planned(r: dict[str, Any]) -> str:
    """Of `run --dry-run`: a line for each step, and the totals."""
    from curate.runtime.disk import text as size_of

    if not r["due"]:
        return "nothing to do: every result is up to date"
    lines = []
    for p in r["steps"]:
        takes = f"{_time(p['seconds'])}, {size_of(p['size'])}" if p["due"] else ""
        rough = "" if p["measured"] or not p["due"] else ", estimated from another machine"
        lines.append(f"{'due' if p['due'] else 'done':5}{p['words']:<46}  {takes:<20}  {p['why']}{rough}".rstrip())
    cost = "" if r["cost"] is None else f", cost {r['cost']:.2f}"
    lines.append(
        f"{many(r['due'], 'step')}, about {_time(r['seconds'])}{cost}, at most {size_of(r['bytes'])} of disk space"
    )
    if r["bytes"] > r["free"]:
        lines.append(f"warning: only {size_of(r['free'])} are free on this disk")
    return "\n".join(lines)


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def ran(r: dict[str, Any]) -> str:
    """Of `run`: what was done, what failed and what to do, and the page."""
    made = [s for s in r["steps"] if s["state"] != "current"]
    if not made:
        return f"nothing to do: every result is up to date\n{r['index']}"
    lines = [f"{s['state']:8}{s['step']}" + (f": {s['problem']}" if s["problem"] else f", {_time(s['seconds'])}")
             for s in made]  # fmt: skip
    return "\n".join([*lines, str(r["index"])])


def forecast(r: dict[str, Any]) -> str:
    """Of `forecast`: the new one, and earlier ones next to what came."""
    lines = []
    for f in r["earlier"]:
        says = (
            f"step {f['at']}: held-out SSIM {f['ssim']:.3f} ({f['low']:.3f} to {f['high']:.3f}), from step {f['made']}"
        )
        if f["came"] is not None:
            lines.append(f"{says}; {f['came']:.3f} came, {'inside' if f['held'] else 'outside'} the interval")
            continue
        takes = "" if math.isnan(f["seconds"]) else f", {_time(f['seconds'])} more"
        lines.append(says + takes + (f", cost {f['cost']:.2f}" if f["cost"] is not None else ""))
    return "\n".join(lines) or "no forecast yet: give --steps N or --hours X"
