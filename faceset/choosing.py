"""Selecting and reporting, as several verbs do it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.errors import UsageError
from curate.select.options import Floors, SelectionOptions, Weights
from faceset.options import Given

if TYPE_CHECKING:
    from curate.dataset.faceset import Faceset


def check(given: Given, target: Path | None, folder: Path | None = None) -> None:
    """Refuse wrong options of a selection, and a target that cannot be opened, before the work begins.

    `folder` of the faceset itself, where it is known yet, is no target.
    """
    options = SelectionOptions(
        **given[SelectionOptions], floors=Floors(**given[Floors]), weights=Weights(**given[Weights])
    )
    if options.cover == "target" and target is None:
        raise UsageError("--cover target: name the target with --for TARGETSET")
    if target is not None:
        from curate.dataset.faceset import open_faceset

        check_target(open_faceset(target).folder, folder)
    if options.learn is not None:
        from curate.select.learned import check as check_run

        check_run(Path(options.learn))


def check_target(target: Path, folder: Path | None) -> None:
    """Refuse a faceset as its own target."""
    if folder is not None and target.resolve() == folder.resolve():
        raise UsageError(f"--for {target}: is the faceset itself: name the faceset of the other person")


def select(folder: Path, given: Given, target: Path | None, defaults: bool = False) -> dict[str, Any]:
    """Select from a faceset; the result as JSON values.

    What is not `given` is as in the faceset's last selection, its target too, unless `defaults` starts over.
    """
    from curate.dataset.faceset import open_faceset
    from curate.dataset.lock import lock
    from curate.select.selection import select_faceset, summary

    faceset = open_faceset(folder)
    options, wanted, before = _resolved(faceset, given, target, defaults)
    with lock(faceset), _sheet_if_none_passes(faceset, options):
        choice = select_faceset(faceset, options, wanted)
    found = summary(faceset, choice, options.weights, wanted)
    if before:
        found["notes"].insert(0, f"as in the last selection: {', '.join(before)}; --defaults starts over")
    return found


def _resolved(
    faceset: Faceset, given: Given, target: Path | None, defaults: bool
) -> tuple[SelectionOptions, Faceset | None, list[str]]:
    """Options and target of a selection, and the flags among them that come from the last one."""
    from curate.dataset.faceset import open_faceset
    from curate.select.persist import Last, changed, kept_from, last_options

    last = Last(SelectionOptions(), None) if defaults else last_options(faceset)
    wanted = open_faceset(target) if target else last.target
    if wanted is not None:
        check_target(wanted.folder, faceset.folder)
    before = [*kept_from(last.options, given), *([f"--for {wanted.folder}"] if wanted and not target else [])]
    return changed(last.options, given), wanted, before


@contextmanager
def pinned(folder: Path, pin: Sequence[str], ban: Sequence[str], free: Sequence[str]) -> Iterator[None]:
    """Change a faceset's pins for the selection in the block; where no face is eligible then, they are as before."""
    from curate.dataset.faceset import open_faceset
    from curate.dataset.lock import lock
    from curate.dataset.pins import change_pins, read_pins, write_pins
    from curate.errors import NoneEligibleError

    if not (pin or ban or free):
        yield
        return
    faceset = open_faceset(folder)
    with lock(faceset):
        before = read_pins(faceset)
        change_pins(faceset, pin, ban, free)
    try:
        yield
    except NoneEligibleError:
        with lock(faceset):
            write_pins(faceset, before)
        raise


def preview(folder: Path, given: Given, target: Path | None, defaults: bool = False) -> dict[str, Any]:
    """Choose from a faceset without writing the choice, and show what it would leave out; JSON values."""
    from curate.dataset.faceset import open_faceset
    from curate.select.selection import propose
    from reports.sheets.page import write_left_out

    faceset = open_faceset(folder)
    options, wanted, _ = _resolved(faceset, given, target, defaults)
    with _sheet_if_none_passes(faceset, options):
        found = propose(faceset, options, wanted)
    choice = found.choice
    return {
        "eligible": choice.eligible,
        "selected": len(choice.rows),
        "coverage": found.outcome.coverage,
        "notes": [*choice.notes, "nothing was changed: leave --dry-run out to select these faces"],
        "left_out": str(write_left_out(faceset, found)),
    }


@contextmanager
def _sheet_if_none_passes(faceset: Faceset, options: SelectionOptions) -> Iterator[None]:
    """Add a contact sheet of all faces, with what each fails, to the error that none is eligible."""
    from curate.errors import NoneEligibleError

    try:
        yield
    except NoneEligibleError as error:
        from reports.sheets.page import write_failing

        raise NoneEligibleError(f"{error}; they are shown in {write_failing(faceset, options.floors)}") from None


def sheet(folder: Path) -> str:
    """Write the contact sheet of what a faceset's selection leaves out; its path."""
    from curate.dataset.faceset import open_faceset
    from reports.sheets.page import write_left_out

    return str(write_left_out(open_faceset(folder)))


def ready(folder: Path, target: Path) -> dict[str, Any]:
    """Whether a faceset has what a target needs; JSON values of `curate.select.readiness.Readiness`."""
    from curate.dataset.faceset import open_faceset
    from curate.select.readiness import readiness

    return asdict(readiness(open_faceset(folder), open_faceset(target)))


def report(folder: Path, target: Path | None = None) -> Path:
    """Write the coverage page of a faceset; its path."""
    from curate.dataset.faceset import open_faceset
    from reports.coverage.page import write

    return write(open_faceset(folder), target=open_faceset(target) if target else None)
