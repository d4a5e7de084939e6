import numpy as np
import pytest

from mdflow.data.sample import Sample
from mdflow.errors import InputError
from mdflow.metrics import (
    distance_to_occlusion_boundary,
    endpoint_error,
    fl_outliers,
    regions,
    summarise,
    tally,
)


def flow_of(*vectors: tuple[float, float]) -> np.ndarray:
    return np.array([vectors], np.float32)


def sample_of(truth: np.ndarray, **labels: np.ndarray) -> Sample:
    image = np.zeros((*truth.shape[:2], 3), np.uint8)
    return Sample("pair", image, image, flow12=truth, **labels)


def test_endpoint_error_is_the_euclidean_distance():
    assert endpoint_error(flow_of((3, 4), (1, 1)), flow_of((0, 0), (1, 1))).tolist() == [[5, 0]]


def test_endpoint_error_refuses_flows_of_different_sizes():
    with pytest.raises(InputError, match="1x2x2 and its truth 1x1x2"):
        endpoint_error(flow_of((0, 0), (0, 0)), flow_of((0, 0)))


@pytest.mark.parametrize(
    ("error", "speed", "outlier"),
    [(3.1, 10, True), (3.0, 10, False), (3.1, 100, False), (5.1, 100, True), (np.nan, 10, True)],
)
def test_fl_outlier_is_above_three_pixels_and_above_five_percent(error, speed, outlier):
    assert fl_outliers(np.array([[error]]), flow_of((speed, 0)))[0, 0] == outlier


def test_an_error_of_just_the_limit_is_not_above_it():
    found = tally(flow_of((1, 0), (3, 0), (5, 0)), sample_of(flow_of(*[(0, 0)] * 3)))["all"]
    assert (found.over1, found.over3, found.over5) == (2, 1, 0)


def test_regions_split_the_known_pixels():
    truth = flow_of((5, 0), (20, 0), (50, 0), (0, 0))
    known = np.array([[True, True, True, False]])
    visible = np.array([[True, False, True, True]])
    foreground = np.array([[False, True, False, True]])
    masks = regions(sample_of(truth, valid1=known, visible1=visible, foreground1=foreground))
    assert masks["matched"].tolist() == [[True, False, True, False]]
    assert masks["unmatched"].tolist() == [[False, True, False, False]]
    assert masks["fg"].tolist() == [[False, True, False, False]]
    assert [masks[name].argmax() for name in ("s0-10", "s10-40", "s40+")] == [0, 1, 2]
    assert [int(masks[name].sum()) for name in ("s0-10", "s10-40", "s40+")] == [1, 1, 1]
    assert masks["bg"].sum() + masks["fg"].sum() == masks["all"].sum() == 3


def test_regions_are_of_known_pixels():
    truth, nowhere = np.zeros((1, 4, 2), np.float32), np.zeros((1, 4), bool)
    known = np.array([[True, True, False, False]])
    masks = regions(sample_of(truth, valid1=known, visible1=nowhere, foreground1=nowhere))
    assert masks["unmatched"].tolist() == masks["bg"].tolist() == known.tolist()


def test_a_flow_that_is_no_number_is_unknown_whatever_its_label_says():
    truth = flow_of((1, 0), (np.nan, 0), (2, np.inf))
    masks = regions(sample_of(truth, valid1=np.ones((1, 3), bool)))
    assert masks["all"].tolist() == [[True, False, False]]


def test_regions_without_labels_are_left_out():
    assert set(regions(sample_of(flow_of((1, 0))))) == {"all", "s0-10", "s10-40", "s40+"}


def test_distance_is_measured_to_the_nearest_occlusion_boundary():
    visible = np.ones((1, 100), bool)
    visible[:, 20:30] = False
    distance = distance_to_occlusion_boundary(visible)[0]
    assert distance[[19, 20, 29, 30]].tolist() == [0, 0, 0, 0]
    assert distance[0] == pytest.approx(19, abs=0.01)
    assert distance[99] == pytest.approx(69, abs=0.01)
    assert np.isinf(distance_to_occlusion_boundary(np.ones((4, 4), bool))).all()


def test_bands_of_distance_are_of_dense_labels_and_known_pixels():
    truth, visible, known = np.zeros((1, 200, 2), np.float32), np.ones((1, 200), bool), np.ones((1, 200), bool)
    visible[:, :10], known[:, 195:] = False, False
    masks = regions(sample_of(truth, visible1=visible, valid1=known))
    # The boundary is at columns 9 and 10: column 10 + d is at the distance d.
    assert [int(masks[name].sum()) for name in ("d0-10", "d10-60", "d60-140")] == [10 + 10, 50, 80]
    far = regions(sample_of(truth, visible1=np.roll(visible, 100, 1), valid1=known))
    assert int(far["d60-140"].sum()) == 40 + 25
    known[:, 90:] = False
    assert "d0-10" not in regions(sample_of(truth, visible1=visible, valid1=known))


def test_set_averages_take_epe_per_image_and_outliers_per_pixel():
    # One pair of one pixel with error 10, one of three pixels with error 0.
    one = tally(flow_of((10, 0)), sample_of(flow_of((0, 0))))
    three = tally(np.zeros((1, 3, 2), np.float32), sample_of(np.zeros((1, 3, 2), np.float32)))
    figures = summarise([one, three])
    assert figures["pairs"] == 2
    assert figures["epe"] == 5
    assert figures["fl"] == figures["over5"] == 25
    assert figures["epe_s0-10"] == 2.5
    assert "epe_s40+" not in figures


def test_matched_epe_skips_pairs_without_matched_pixels():
    truth = np.zeros((1, 2, 2), np.float32)
    hidden = sample_of(truth, visible1=np.array([[False, False]]))
    half = sample_of(truth, visible1=np.array([[True, False]]))
    flow = flow_of((4, 0), (1, 0))
    figures = summarise([tally(flow, hidden), tally(flow, half)])
    assert figures["epe_matched"] == 4
    assert figures["epe_unmatched"] == pytest.approx((4 + 1 + 1) / 3)


def test_nan_in_a_flow_is_never_a_good_pixel():
    figures = summarise([tally(flow_of((np.nan, 0)), sample_of(flow_of((0, 0))))])
    assert np.isnan(figures["epe"])
    assert figures["fl"] == figures["over1"] == 100
