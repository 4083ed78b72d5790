from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reports.artifacts.events import by_severity, explained, group
from reports.artifacts.kinds import KINDS, Kind, Limit, by_name, limits
from reports.artifacts.patch import REGIONS

LIMIT = Limit("edge", "CIELAB", 3.0, 6.0, 12.0, 3, "A step")
EDGE = Kind("edge", "visible edge", "the edge is visible", "hide it", LIMIT)


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
    (found,) = group(_measures([0, 0, 4, 5, 7, 4, 0, 0]), EDGE, LIMIT, 30)
    assert (found.first_frame, found.last_frame, found.worst_frame, found.flagged) == (102, 105, 104, 4)
    assert found.start == pytest.approx(2 + 2 / 30)
    assert found.end == pytest.approx(2 + 6 / 30)
    assert (found.value, found.severity, found.threshold) == (7.0, "medium", 3.0)
    assert found.region == (4, 5, 50, 60)


def test_short_gaps_join_and_long_ones_part():
    joined = group(_measures([4] * 3 + [0] * 5 + [4] * 3), EDGE, LIMIT, 30)
    assert [(f.first_frame, f.last_frame, f.flagged) for f in joined] == [(100, 110, 6)]
    parted = group(_measures([4] * 3 + [0] * 6 + [4] * 3), EDGE, LIMIT, 30)
    assert [(f.first_frame, f.last_frame) for f in parted] == [(100, 102), (109, 111)]


def test_too_few_frames_unknown_values_and_the_threshold_itself_are_no_finding():
    assert group(_measures([0, 9, 9, 0]), EDGE, LIMIT, 30) == []
    assert group(_measures([np.nan] * 5), EDGE, LIMIT, 30) == []
    assert group(_measures([3.0] * 5), EDGE, LIMIT, 30) == []
    assert group(_measures([]), EDGE, LIMIT, 30) == []
    assert group(_measures([9] * 5).drop(columns="edge"), EDGE, LIMIT, 30) == []


def test_unknown_frames_inside_an_event_do_not_end_it():
    (found,) = group(_measures([4, 4, np.nan, 4]), EDGE, LIMIT, 30)
    assert (found.first_frame, found.last_frame, found.flagged) == (100, 103, 3)


def test_order_is_worst_first_then_time():
    mild, bad, early = (group(_measures(v), EDGE, LIMIT, 30)[0] for v in ([0, 4, 4, 4], [0, 13, 13, 13], [4, 4, 4, 0]))
    assert by_severity([mild, bad, early]) == (bad, early, mild)


@pytest.mark.parametrize("has_reference", [True, False])
def test_limits_rise_with_severity_and_names_are_unique(has_reference):
    found = limits(has_reference)
    assert all(0 < x.low <= x.medium <= x.high and x.frames >= 1 for _, x in found)
    assert len({k.name for k, _ in found}) == len({x.measure for _, x in found}) == len(found)
    assert all((k.full_reference if has_reference else k.no_reference) is not None for k, _ in found)
    assert {x.region for _, x in found} <= {"", *REGIONS}


def _event(kind, values, threshold=3.0):
    limit = Limit("edge", "", threshold, 2 * threshold, 4 * threshold, 1, "")
    return group(_measures(values), by_name()[kind], limit, 30)[0]


def test_a_fault_explains_what_else_is_seen_over_its_time():
    fault, shows, later = (
        _event("ghost", [0, 9, 9, 9]),
        _event("soft", [0, 9, 9, 9]),
        _event("soft", [0] * 30 + [9] * 9),
    )
    found = explained([shows, fault, later], 30)
    assert [(f.kind, f.also) for f in found] == [("ghost", ("soft",)), ("soft", ())]


def test_of_two_that_may_explain_each_other_the_stronger_does():
    strong, weak = _event("edge", [0, 30, 30]), _event("colour", [0, 4, 4])
    assert [(f.kind, f.also) for f in explained([weak, strong], 30)] == [("edge", ("colour",))]
    strong, weak = _event("colour", [0, 30, 30]), _event("edge", [0, 4, 4])
    assert [(f.kind, f.also) for f in explained([weak, strong], 30)] == [("colour", ("edge",))]


def test_rules_name_known_kinds():
    assert {name for kind in KINDS for name in kind.explains} <= set(by_name())
    assert all(kind.name not in kind.explains for kind in KINDS)


def test_a_finding_knows_its_region_and_the_pose_of_its_frames():
    regions = pd.DataFrame({"edge": [0, 5, 5, 0]})
    pose = np.array([[0, 0], [20, 4], [30, 6], [np.nan, np.nan]])
    (found,) = group(_measures([0, 4, 4, 4]), EDGE, LIMIT, 30, regions, pose)
    assert (found.region_name, found.pose) == ("mouth", (25.0, 5.0))


@pytest.mark.parametrize("shown", ["edge", "colour", "light"])
@pytest.mark.parametrize("fault", ["misaligned", "jitter", "expression", "gaze", "pose", "lips", "hole"])
def test_a_strong_edge_colour_or_light_is_a_fault_of_its_own(fault, shown):
    strong, weak = _event(shown, [0, 7, 7, 7]), _event(shown, [0, 4, 4, 4])
    other = _event(fault, [0, 60, 60, 60])
    assert {f.kind for f in explained([other, strong], 30)} == {fault, shown}
    if shown in by_name()[fault].explains:
        assert [(f.kind, f.also) for f in explained([other, weak], 30)] == [(fault, (shown,))]


def test_a_strong_colour_and_a_strong_edge_are_both_told_unless_the_edge_is_only_its_feather():
    colour, edge, feather = (_event(k, [0, v, v]) for k, v in (("colour", 8), ("edge", 7), ("edge", 3.5)))
    assert {f.kind for f in explained([colour, edge], 30)} == {"colour", "edge"}
    assert [(f.kind, f.also) for f in explained([colour, feather], 30)] == [("colour", ("edge",))]
