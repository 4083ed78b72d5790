from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reports.events import by_severity, group
from reports.thresholds import ALONE, REFERENCE, Limit, limits

LIMIT = Limit("edge", "visible edge", "edge", "CIELAB", 3.0, 6.0, 12.0, 3, "A step")


def _measures(values):
    count = len(values)
    return pd.DataFrame(
        {
            "frame": np.arange(100, 100 + count),
            "time": 2 + np.arange(count) / 30,
            "x": np.arange(count) + 0.0,
            "y": 5.0,
            "width": 50.0,
            "height": 60.0,
            "edge": np.asarray(values, float),
        }
    )


def test_an_event_has_its_frames_its_times_and_its_worst_value():
    (found,) = group(_measures([0, 0, 4, 5, 7, 4, 0, 0]), LIMIT, 30)
    assert (found.first_frame, found.last_frame, found.worst_frame, found.flagged) == (102, 105, 104, 4)
    assert found.start == pytest.approx(2 + 2 / 30)
    assert found.end == pytest.approx(2 + 6 / 30)
    assert (found.value, found.severity, found.threshold) == (7.0, "medium", 3.0)
    assert found.region == (4, 5, 50, 60)


def test_short_gaps_join_and_long_ones_part():
    joined = group(_measures([4] * 3 + [0] * 5 + [4] * 3), LIMIT, 30)
    assert [(f.first_frame, f.last_frame, f.flagged) for f in joined] == [(100, 110, 6)]
    parted = group(_measures([4] * 3 + [0] * 6 + [4] * 3), LIMIT, 30)
    assert [(f.first_frame, f.last_frame) for f in parted] == [(100, 102), (109, 111)]


def test_too_few_frames_unknown_values_and_the_threshold_itself_are_no_finding():
    assert group(_measures([0, 9, 9, 0]), LIMIT, 30) == []
    assert group(_measures([np.nan] * 5), LIMIT, 30) == []
    assert group(_measures([3.0] * 5), LIMIT, 30) == []
    assert group(_measures([]), LIMIT, 30) == []
    assert group(_measures([9] * 5).drop(columns="edge"), LIMIT, 30) == []


def test_unknown_frames_inside_an_event_do_not_end_it():
    (found,) = group(_measures([4, 4, np.nan, 4]), LIMIT, 30)
    assert (found.first_frame, found.last_frame, found.flagged) == (100, 103, 3)


def test_order_is_worst_first_then_time():
    mild, bad, early = (group(_measures(v), LIMIT, 30)[0] for v in ([0, 4, 4, 4], [0, 13, 13, 13], [4, 4, 4, 0]))
    assert by_severity([mild, bad, early]) == (bad, early, mild)


@pytest.mark.parametrize("has_reference", [True, False])
def test_limits_rise_with_severity_and_names_are_unique(has_reference):
    found = limits(has_reference)
    assert all(0 < x.threshold <= x.medium <= x.high and x.frames >= 1 for x in found)
    assert len({x.kind for x in found}) == len({x.measure for x in found}) == len(found)
    assert {x.kind for x in ALONE} <= {x.kind for x in REFERENCE}
