from __future__ import annotations

import cv2
import numpy as np
import pytest

from curate.align import hull_mask
from reports import measures as m

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
    assert not (at.inner & at.outer).any()
    assert (at.inner <= inside).all() and not (at.outer & inside).any()
    assert at.width == pytest.approx(np.sqrt(np.pi * 50 * 65), rel=0.02)
    assert set(np.unique(at.sector)) == set(range(m.SECTORS))


def test_zones_refuse_what_cannot_be_measured():
    assert m.zones(np.zeros((100, 100), np.float32)) is None
    assert m.zones(np.ones((100, 100), np.float32)) is None
    tiny = np.zeros((100, 100), np.float32)
    tiny[40:50, 40:50] = 1
    assert m.zones(tiny) is None


def test_lab_of_known_colours():
    colours = np.array([[[255, 255, 255], [0, 0, 0], [255, 0, 0]]], np.uint8)
    assert m.lab(colours)[0] == pytest.approx(np.array([[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]]), abs=0.15)


def test_identical_pictures_measure_nothing(scene, at):
    image = scene(0)
    lab, luma = m.lab(image), m.luma(image)
    assert m.colour(lab, lab, at) == 0
    assert m.edge(lab, lab, at) == 0
    assert m.sharpness(luma, luma, at) == 0
    assert m.misalignment(luma, luma, at) == pytest.approx(0, abs=0.01)
    assert m.difference(lab, lab, at) == 0
    assert m.motion(luma, luma, at.inside) == 0


def test_colour_is_the_difference_of_the_face(at, inside):
    reference = np.full((240, 240, 3), (60, 10, 10), np.float32)
    output = reference.copy()
    output[inside] += (6, 0, 0)
    expected = float(m.ciede2000(np.array([60, 10, 10]), np.array([66, 10, 10])))
    assert m.colour(output, reference, at) == pytest.approx(expected, rel=1e-4)
    assert m.edge(output, reference, at) == pytest.approx(6, rel=1e-3)


def test_a_grade_of_the_whole_frame_is_no_fault_of_the_face(scene, at):
    reference = m.lab(scene(0))
    output = reference + np.float32([5, 2, -3])
    assert m.colour(output, reference, at) == pytest.approx(0, abs=1e-3)
    assert m.edge(output, reference, at) == pytest.approx(0, abs=1e-3)


def test_light_from_the_other_side_is_a_difference_of_colour(at):
    ramp = np.linspace(-10, 10, 240, dtype=np.float32)
    reference = np.full((240, 240, 3), (60, 10, 10), np.float32)
    output = reference.copy()
    output[..., 0] += np.where(np.hypot(*(np.indices((240, 240)) - 120)) < 80, ramp, 0)
    assert abs(float((output - reference)[at.inside].mean())) < 0.2
    assert m.colour(output, reference, at) > 1.5


def test_blur_in_the_face_is_lost_detail_and_blur_everywhere_is_not(scene, at, inside):
    reference = m.luma(scene(0))
    soft = cv2.GaussianBlur(reference, (0, 0), 2)
    face = np.where(inside, soft, reference)
    assert m.sharpness(face, reference, at) < -0.8
    assert abs(m.sharpness(soft, reference, at)) < 0.15
    grain = reference + np.where(inside, np.random.default_rng(0).normal(0, 12, reference.shape), 0).astype(np.float32)
    assert m.sharpness(grain, reference, at) > 0.3


def test_misalignment_is_the_shift_in_per_cent_of_the_face(scene, at):
    reference = m.luma(scene(0))
    for pixels in (1, 3):
        moved = np.roll(reference, pixels, axis=1)
        assert m.misalignment(moved, reference, at) == pytest.approx(100 * pixels / at.width, rel=0.1)


def test_misalignment_of_nothing_is_unknown(at):
    flat = np.full((240, 240), 90, np.float32)
    assert np.isnan(m.misalignment(flat, flat, at))


def test_a_cut_out_has_a_line_along_its_edge(scene, at, inside):
    plain = m.luma(scene(0)) * 0 + 90 + cv2.GaussianBlur(m.luma(scene(0)), (0, 0), 3) * 0.2
    cut = plain + np.where(inside, 25, 0)
    assert m.edge_alone(plain.astype(np.float32), at) < 1.5
    assert m.edge_alone(cut.astype(np.float32), at) > 4


def test_motion_counts_levels_where_it_looks(at, inside):
    before = np.full((240, 240), 90, np.float32)
    now = before + np.where(inside, 4, 0).astype(np.float32)
    assert m.motion(now, before, at.inside) == pytest.approx(4, rel=0.05)
    assert m.motion(now, before, at.distance < -20) == pytest.approx(0, abs=1e-3)


def test_means_leaves_out_small_groups():
    values = np.arange(12, dtype=np.float32).reshape(3, 4, 1)
    label = np.array([[0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 2]])
    found = m.means(values, label, np.ones((3, 4), bool), 4, least=2)[:, 0]
    assert found[0] == 1.5
    assert found[1] == 7
    assert np.isnan(found[2]) and np.isnan(found[3])
