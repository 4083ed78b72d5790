"""Budget and floors of a selection: how many faces it may take, and which are eligible."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from curate.dataset.pins import Pins
from curate.errors import NoneEligibleError, WorkError
from curate.select.options import Floors
from curate.words import are, many


def eligible_rows(
    kept: pd.DataFrame, floors: Floors, pins: Pins | None = None, among: Collection[str] | None = None
) -> tuple[NDArray[np.bool_], list[str]]:
    """(N,) which kept faces have a head pose, pass the floors and are not banned, and notes for the user.

    Pinned faces need not pass the floors. `among`: ids of the faces that may be selected at all; None: every face.
    Raises WorkError if none is left.
    """
    if not len(kept):
        raise WorkError("no face is kept: run faceset people DIR to see which people were found")
    pins = pins or Pins()
    posed = kept["yaw"].notna().to_numpy(dtype=bool)
    passed, notes = posed.copy(), []
    failed = {"no head pose": int((~posed).sum())}
    for flag, column, value, sign in floors.limits():
        measure = kept[column].to_numpy(dtype=np.float64, na_value=np.nan)
        if np.isnan(measure).all():
            notes.append(f"{flag} {value:g} is ignored: {column} was not measured for any face")
            continue
        good = sign * np.nan_to_num(measure, nan=-sign * np.inf) >= sign * value
        failed[f"{flag} {value:g} ({column})"] = int((~good).sum())
        passed &= good
    banned = kept["face_id"].isin(pins.banned).to_numpy()
    failed["banned"] = int(banned.sum())
    passed = (passed | (posed & kept["face_id"].isin(pins.pinned).to_numpy())) & ~banned
    if among is not None:
        there = kept["face_id"].isin(among).to_numpy()
        failed["not shown in the App"] = int((~there).sum())
        passed &= there
    dropped = ", ".join(f"{reason}: {count}" for reason, count in failed.items() if count)
    if not passed.any():
        way = "free some with faceset select DIR --free clip:NAME" if bool(banned.all()) else "lower the floors"
        raise NoneEligibleError(f"none of {many(len(kept), 'kept face')} is eligible ({dropped}): {way}")
    if dropped:
        out = int((~passed).sum())
        notes.append(f"{out} of {many(len(kept), 'kept face')} {are(out)} not eligible ({dropped})")
    return passed, notes
