import numpy as np
import pytest
import torch
from toy import Pairs

from mdflow.deployment.calibration import (
    calibrate,
    choose_floats,
    distance,
    observe,
    rounding_error,
    sensitivity,
    slopes_behind,
    tight_range,
    tight_ranges,
    wide_range,
    wide_ranges,
    worth_clipping,
)
from mdflow.deployment.quantize import convolutions, fold_normalization, quantize
from mdflow.inference import Predictor
from mdflow.networks import create


@pytest.fixture(scope="module")
def calibrated():
    """A small network and its calibration."""
    torch.manual_seed(0)
    network = create("lightflow", width=0.1).eval()
    fold_normalization(network)
    return network, calibrate(network, [Pairs()[0], Pairs()[1]])


def test_a_tight_range_clips_what_is_too_rare_to_pay_for_and_a_wide_one_holds_more_than_was_seen():
    values = np.random.default_rng(0).standard_t(3, 100_000)
    low, high = tight_range(values)
    assert values.min() < low < -3
    assert 3 < high < values.max()
    assert rounding_error(values, low, high) < 0.5 * rounding_error(values, values.min(), values.max())
    exact = np.random.default_rng(0).uniform(-1, 1, 4000)
    assert tight_range(exact) == pytest.approx((exact.min(), exact.max()))
    assert wide_range(exact) == pytest.approx((1.5 * exact.min(), 1.5 * exact.max()))
    assert wide_range(np.abs(exact))[0] == 0


def test_calibration_sees_every_convolution_and_tells_which_moves_the_flow_most(calibrated):
    network, (ranges, moved) = calibrated
    assert set(ranges) == set(moved) == set(convolutions(network))
    assert list(moved.values()) == sorted(moved.values(), reverse=True)


def test_what_a_convolution_is_said_to_move_is_what_it_moves_with_the_ranges_it_got(calibrated):
    network, (ranges, moved) = calibrated
    assert sensitivity(network, ranges, [Pairs()[0], Pairs()[1]]) == pytest.approx(moved)
    seen = observe(network, [Pairs()[0], Pairs()[1]])
    wide = {name for name, one in seen.items() if ranges[name] == wide_ranges(one)}
    tight = {name for name, one in seen.items() if ranges[name] == tight_ranges(one)}
    assert wide | tight == set(ranges)
    assert wide
    assert tight - wide


def test_what_a_convolution_moves_is_told_from_the_flow_of_rounded_weights(calibrated):
    network, (ranges, moved) = calibrated
    samples, name = [Pairs()[0], Pairs()[1]], next(iter(moved))
    rounded = Predictor(quantize(network, ranges, []))
    flows = [rounded(one.image1, one.image2) for one in samples]
    assert moved[name] == pytest.approx(distance(quantize(network, ranges, [name]), samples, flows))


def test_tight_ranges_go_where_most_is_gained():
    moved = {"most": 10.0, "some": 4.0, "little": 1.0, "worse": 3.0}
    tight = {"most": 1.0, "some": 1.0, "little": 0.5, "worse": 5.0}
    assert worth_clipping(moved, tight) == ["most", "some"]
    assert worth_clipping(moved, moved) == []


def test_the_convolution_that_rounds_worst_comes_first(calibrated):
    network, (ranges, _) = calibrated
    last = list(ranges)[-1]
    spoilt = {**ranges, last: ranges[last]._replace(output=(-1e4, 1e4))}
    moved = sensitivity(network, spoilt, [Pairs(1)[0]])
    assert next(iter(moved)) == last
    assert list(moved.values()) == sorted(moved.values(), reverse=True)


def test_what_costs_little_and_rounds_badly_stays_in_floats():
    moved = {"costly": 3.0, "cheap": 2.0, "harmless": 0.1}
    shares = {"costly": 60.0, "cheap": 10.0, "harmless": 30.0}
    assert choose_floats(moved, shares, 0) == []
    assert choose_floats(moved, shares, 10) == choose_floats(moved, shares, 69) == ["cheap"]
    assert choose_floats(moved, shares, 70) == ["cheap", "costly"]
    assert choose_floats(moved, shares, 100) == ["cheap", "costly", "harmless"]


def test_what_computes_next_to_nothing_stays_in_floats_before_all_others():
    moved = {"cheap": 2.0, "tiny": 0.001, "large": 3.0, "small": 0.002}
    shares = {"cheap": 10.0, "tiny": 0.4, "large": 89.2, "small": 0.4}
    assert choose_floats(moved, shares, 0.5) == ["small"]
    assert choose_floats(moved, shares, 11) == ["small", "tiny", "cheap"]


def test_what_an_activation_makes_small_is_clipped_sooner():
    values = np.random.default_rng(0).standard_t(3, 100_000)
    low, high = tight_range(values)
    low_behind, high_behind = tight_range(values, slope=0.1)
    assert low < low_behind < 0
    assert high < high_behind
    assert rounding_error(np.array([-10.0]), -5, 5, slope=0.1) == pytest.approx((0.1 * 5) ** 1.2, rel=1e-2)


def test_the_activation_right_behind_a_convolution_is_found():
    network = create("fastflownet")
    slopes = slopes_behind(network)
    assert slopes["decoder2.conv1.0"] == slopes["pconv1_1.0"] == pytest.approx(0.1)
    assert "decoder2.conv7" not in slopes


def test_grouped_convolutions_stay_in_integers_until_the_others_are_in_floats():
    moved = {"grouped": 5.0, "plain": 1.0, "tiny": 0.1}
    shares = {"grouped": 10.0, "plain": 10.0, "tiny": 0.1}
    assert choose_floats(moved, shares, 15, ["grouped"]) == ["tiny", "plain"]
    assert choose_floats(moved, shares, 21, ["grouped"]) == ["tiny", "plain", "grouped"]
    assert choose_floats(moved, shares, 1, ["tiny"]) == ["tiny"]
