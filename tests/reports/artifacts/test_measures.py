from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import pytest

from curate.face.align import hull_mask
from curate.face.mesh import canonical
from reports.artifacts import measures as m
from reports.artifacts import spectrum as s
from reports.artifacts import temporal as t
from reports.artifacts.edge import edge
from reports.artifacts.patch import REGIONS, region_cells, upright
from reports.artifacts.series_measures import frozen, jitter, thrown

# Sharma, Wu and Dalal 2005, table 1: the pairs that catch the usual mistakes.
SHARMA = [
    ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
    ((50, 3.1571, -77.2803), (50, 0, -82.7485), 2.8615),
    ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0000),
    ((50, 0, 0), (50, -1, 2), 2.3669),
    ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
    ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
    ((50, -0.001, 2.49), (50, 0.0009, -2.49), 4.8045),
    ((50, -0.001, 2.49), (50, 0.0011, -2.49), 4.7461),
    ((50, 2.5, 0), (50, 0, -2.5), 4.3065),
    ((50, 2.5, 0), (73, 25, -18), 27.1492),
    ((50, 2.5, 0), (56, -27, -3), 31.9030),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((61.2901, 3.7196, -5.3901), (61.4292, 2.2480, -4.9620), 1.8731),
    ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ((90.9257, -0.5406, -0.9208), (88.6381, -0.8985, -0.7239), 1.5381),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
]


@pytest.fixture
def at(landmarks):
    return m.zones(hull_mask(landmarks, 240, 240))


@pytest.fixture
def inside(landmarks):
    return hull_mask(landmarks, 240, 240) > 0.5


@pytest.mark.parametrize(("first", "second", "expected"), SHARMA)
def test_ciede2000_gives_the_published_values_both_ways(first, second, expected):
    assert m.ciede2000(np.array(first), np.array(second)) == pytest.approx(expected, abs=5e-5)
    assert m.ciede2000(np.array(second), np.array(first)) == pytest.approx(expected, abs=5e-5)


def test_zones_are_apart_and_know_the_size(at, inside):
    assert not (at.inside & at.ring).any()
    assert (at.inside <= inside).all() and not (at.ring & inside).any()
    assert at.width == pytest.approx(np.sqrt(np.pi * 50 * 65), rel=0.02)
    assert set(np.unique(at.sector)) == set(range(m.SECTORS))
    assert (at.distance.ravel()[at.band] < m.INNER * at.width + 4).all()


def test_zones_refuse_what_cannot_be_measured():
    assert m.zones(np.zeros((100, 100), np.float32)) is None
    assert m.zones(np.ones((100, 100), np.float32)) is None
    tiny = np.zeros((100, 100), np.float32)
    tiny[40:50, 40:50] = 1
    assert m.zones(tiny) is None


def test_lab_of_known_colours():
    colours = np.array([[[255, 255, 255], [0, 0, 0], [255, 0, 0]]], np.uint8)
    assert m.lab(colours)[0] == pytest.approx(np.array([[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]]), abs=0.15)


def test_motion_counts_levels_where_it_looks_and_leaves_light_out(at, inside):
    before = np.full((240, 240), 90, np.float32)
    half = np.where(np.indices((240, 240))[1] < 120, 8, 0)
    now = before + np.where(inside, half, 0).astype(np.float32)
    assert m.motion(now, before, at.inside) == pytest.approx(4, rel=0.05)
    assert m.motion(now, before, at.distance < -20) == pytest.approx(0, abs=1e-3)
    assert m.motion(before + 5, before, at.inside) == pytest.approx(0, abs=1e-3)


def test_identical_pictures_measure_nothing(scene, at):
    luma = m.luma(scene(0))
    assert m.sharpness(m.bands(luma, at), m.bands(luma, at)) == (0, 0)
    assert np.abs(m.flow(luma, luma)).max() < 0.05
    assert m.motion(luma, luma, at.inside) == 0
    assert edge(luma, luma, at) == 0
    power = s.power(luma[56:184, 56:184])
    assert s.checkerboard(power, power) == s.ghost(power, power) == 0


def test_colour_is_the_difference_of_the_cells_less_the_grade_of_the_surroundings():
    reference = np.full((8, 8, 3), (60, 10, 10), np.float32)
    weight = np.ones((8, 8), np.float32)
    weight[0] = 0.5
    found = m.colour(reference + np.float32([8, 2, -3]), reference, weight, np.float32([2, 2, -3]))
    expected = float(m.ciede2000(np.array([66, 10, 10]), np.array([60, 10, 10])))
    assert found[1:] == pytest.approx(np.full((7, 8), expected), rel=1e-4)
    assert np.isnan(found[0]).all()


def test_tilt_is_the_slope_from_side_to_side():
    y, x = np.indices((8, 8))
    right, down = m.tilt((2 * x - y).astype(np.float32), np.ones((8, 8), np.float32))
    assert (right, down) == pytest.approx((14, -7))
    assert np.isnan(m.tilt(np.zeros((8, 8), np.float32), np.zeros((8, 8), np.float32))).all()


def test_blur_in_the_face_is_lost_detail_and_blur_everywhere_is_not(scene, at, inside):
    reference = m.luma(scene(0))
    soft = cv2.GaussianBlur(reference, (0, 0), 2)
    grain = reference + np.where(inside, np.random.default_rng(0).normal(0, 12, reference.shape), 0).astype(np.float32)
    own = m.bands(reference, at)
    lost, added = m.sharpness(m.bands(np.where(inside, soft, reference), at), own)
    assert lost > 0.8 and added == 0
    assert max(m.sharpness(m.bands(soft, at), own)) < 0.15
    lost, added = m.sharpness(m.bands(grain, at), own)
    assert lost == 0 and added > 0.3


def test_detail_that_the_codec_takes_everywhere_is_neither_lost_nor_added(scene, at):
    reference = m.luma(scene(0))
    own = m.bands(reference, at)
    noise = own[0] / 2
    less, more = ((own[0] ** 2 + sign * noise**2) ** 0.5 for sign in (-1, 1))
    assert m.sharpness((less, own[1]), own)[0] > 0.1 and m.sharpness((less, own[1]), own, noise)[0] < 1e-6
    assert m.sharpness((more, own[1]), own)[1] > 0.05 and m.sharpness((more, own[1]), own, noise)[1] < 1e-6


@pytest.mark.parametrize("pixels", [1, 3])
def test_travel_is_the_shift_where_the_picture_has_detail(scene, at, pixels):
    reference = cv2.GaussianBlur(m.luma(scene(0)), (0, 0), 2)
    moved = np.roll(reference, pixels, axis=1)
    assert m.travel(m.flow(moved, reference), reference, at.inside) == pytest.approx((pixels, 0), abs=0.15)


def test_a_step_along_the_outline_is_an_edge_and_its_sectors_agree(scene, at, inside):
    reference = m.luma(scene(0))
    hard = reference + np.where(inside, 20, 0).astype(np.float32)
    soft = reference + 20 * np.clip(at.distance / 30, 0, 1)
    assert edge(hard, reference, at) == pytest.approx(20 / 2.55, rel=0.2)
    assert edge(soft, reference, at) < 1


def _moves(place):
    return np.diff(place, axis=0, prepend=np.nan)


def test_a_head_that_speeds_up_and_brakes_does_not_shake():
    frames = np.arange(60)
    nods = np.column_stack([8 * np.sin(frames / 4), 3 * np.cos(frames / 5)])
    noise = np.random.default_rng(3).normal(0, 0.3, (60, 2))
    still, shaken, together = (
        jitter(_moves(face), _moves(ring))[10:50]
        for face, ring in ((nods, 0 * nods), (nods + noise, 0 * nods), (nods + noise, noise))
    )
    assert max(still.max(), together.max()) < 0.02
    assert 0.2 < np.median(shaken) < 0.5


def test_a_head_in_frames_of_which_some_are_repeated_does_not_shake():
    frames = np.repeat(np.arange(40), 2)[np.arange(80) % 6 != 5]
    nods = np.column_stack([8 * np.sin(frames / 4), 3 * np.cos(frames / 5)])
    assert np.nanmax(jitter(_moves(nods), _moves(0 * nods))) < 0.02
    assert np.isnan(jitter(np.zeros((8, 2)), np.zeros((8, 2)))).all()


def test_a_pattern_stands_out_by_decibels_unless_the_reference_has_it():
    grey = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 40, (128, 128)).astype(np.float32), (0, 0), 2) + 128
    wave = 3 * np.cos(2 * np.pi * 0.41 * np.indices((128, 128)).sum(0)).astype(np.float32)
    plain, marked = s.power(grey), s.power(grey + wave)
    assert s.checkerboard(plain, plain) < 1
    assert s.checkerboard(marked, plain) > 12
    assert s.checkerboard(marked, None) > s.checkerboard(plain, None) + 6
    assert s.checkerboard(marked, marked) < 1


def test_an_echo_has_its_strength_and_blur_is_none():
    grey = np.random.default_rng(0).normal(128, 30, (160, 160)).astype(np.float32)
    grey = cv2.GaussianBlur(grey, (0, 0), 0.7)
    echo = 0.7 * grey + 0.3 * np.roll(grey, (4, 9), (0, 1))
    cut = (slice(16, 144), slice(16, 144))
    assert s.ghost(s.power(echo[cut]), s.power(grey[cut])) > 15
    assert s.ghost(s.power(cv2.GaussianBlur(grey, (0, 0), 2)[cut]), s.power(grey[cut])) < 10


def test_the_square_is_the_largest_that_fits():
    image = np.zeros((300, 300), np.uint8)
    assert s.square(image, (150, 150), 200).shape == (160, 160)
    assert s.square(image, (40, 150), 200).shape == (64, 64)
    assert s.square(image, (150, 150), 50) is None


def test_flicker_lasts_and_a_step_does_not():
    beat = np.zeros(30)
    beat[10:20] = 0.01 * (-1.0) ** np.arange(10)
    found = t.sustained(beat)
    assert np.nanmax(found[12:18]) == pytest.approx(0.02)
    assert np.nanmax(t.sustained((np.arange(30) > 14) * 1.0)) == 0


def test_jumps_keep_bursts_and_follow_drifts():
    burst = np.zeros((60, 2))
    burst[20:40, 0] = 5
    found = t.jumps(burst + np.linspace(0, 6, 60)[:, None], 1.0)
    assert found[20:40].min() > 1.5
    assert max(found[:20].max(), found[40:].max()) < 0.3


def test_lag_is_found_to_part_of_a_frame_where_the_mouth_moves():
    time = np.arange(150) / 25

    def mouth(late):
        shifted = time - late / 25
        return np.stack([np.sin(9 * shifted) + 0.5 * np.sin(5 * shifted), np.cos(7 * shifted)], axis=1)

    for late in (3, -2, 2.4):
        assert t.lag(mouth(late), mouth(0), 25.0, 0.15)[20:130] == pytest.approx(abs(late), abs=0.3)
    assert t.lag(mouth(0) + 0.3, mouth(0), 25.0, 0.15).max() < 0.3
    assert np.isnan(t.lag(0.1 * mouth(3), 0.1 * mouth(0), 25.0, 0.15)).all()


def test_a_face_out_of_its_place_is_thrown_and_a_moving_one_or_a_shaken_camera_is_not():
    frames = np.arange(40)
    still = np.stack([300.0 + 4 * frames, np.full(40, 200.0)], axis=1)  # it walks through the picture

    def found(place, ring=None):
        rows = pd.DataFrame({"place_x": place[:, 0], "place_y": place[:, 1], "across": 100.0})
        rows[["ring_x", "ring_y"]] = np.zeros((40, 2)) if ring is None else ring
        return thrown(rows.assign(across=np.where(np.isnan(place[:, 0]), np.nan, 100.0)))

    off, shaken = still.copy(), np.zeros((40, 2))
    off[20:22, 1] -= 12
    shaken[20, 1], shaken[22, 1] = -12, 12
    assert found(still).max() == 0 and np.flatnonzero(found(off) > 0.6).tolist() == [20, 21]
    assert found(off, shaken).max() == 0
    gone = off.copy()
    gone[10] = np.nan
    assert np.flatnonzero(found(gone) > 0.6).tolist() == [20, 21]
    nod, shake = still.copy(), still.copy()
    nod[20:23, 1] += (7, 12, 7)
    shake[:, 0] += 12 * np.sin(2 * np.pi * 3 * frames / 25) * ((frames > 10) & (frames < 27))
    assert found(nod).max() == found(shake).max() == 0
    names = ("place_x", "place_y", "across", "ring_x", "ring_y")
    assert np.isnan(thrown(pd.DataFrame([dict.fromkeys(names, 1.0)]))).all()


def test_popped_is_away_from_both_neighbours_and_back():
    cells, weight = np.zeros((20, 16, 3)), np.ones((20, 16))
    cells[8:10] = 9
    cells[15:] = 9
    found = t.popped(cells, weight)
    assert np.flatnonzero(found).tolist() == [8, 9]


def test_a_hole_is_where_it_is_and_not_a_face_that_is_missed():
    cells, apart = np.zeros((20, 8, 8, 3)), np.full((20, 8, 8), 6.0)
    weight = np.ones((20, 8, 8))
    apart[5, 2:4, 4:6] = 0
    apart[9] = 0
    found, where = t.hole(cells, apart, weight, 2.0)
    assert found[5] == pytest.approx(100) and where[5] == 2 * 7 + 4
    assert found[9] == found[0] == 0


def test_regions_are_the_persons_own_left_and_right():
    v = canonical().vertices
    points = np.column_stack([120 + 8 * v[:, 0], 125 - 8 * v[:, 1], -8 * v[:, 2]]).astype(np.float32)
    names = region_cells(points, upright(points))
    assert REGIONS[names[4, 6]] == "left cheek" and REGIONS[names[4, 1]] == "right cheek"
    assert {REGIONS[n] for n in names.ravel()} >= {"forehead", "mouth", "nose", "jaw/chin", "left eye", "right eye"}


def test_repeated_frames_are_not_frozen_faces():
    """Footage whose frame rate was converted repeats single frames; a face that is frozen stays so for longer."""
    repeated = np.arange(58) % 6 == 5
    due, moved = np.where(repeated, 0.3, 1.0), np.where(repeated, 0.01, 4.0)
    moved[30:34] = 0.03
    rows = pd.DataFrame({"moved": moved, "due": due, "moved_long": np.nan, "due_long": np.nan})
    found = frozen(rows, has_reference=False)
    assert found[30:34].min() > 95 and np.delete(found, range(29, 36)).max() == 0
