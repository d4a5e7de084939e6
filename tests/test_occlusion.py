from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pictures import constant_flow

from mdflow.geometry import inside_frame
from mdflow.occlusion import forward_backward, range_map_visibility, visible_inside

RECORDED = Path(__file__).parents[2] / "shared" / "reference" / "forward_backward_occlusion.npz"
SIZE, SIDE, STEP = 48, 16, 6


def square_over_background() -> tuple[torch.Tensor, ...]:
    """(flow12, flow21, visible1, visible2) of a square that moves STEP pixels right over a still background."""
    flow12, flow21 = torch.zeros(1, 2, SIZE, SIZE), torch.zeros(1, 2, SIZE, SIZE)
    rows, left = slice(16, 16 + SIDE), 12
    flow12[:, 0, rows, left : left + SIDE] = STEP
    flow21[:, 0, rows, left + STEP : left + STEP + SIDE] = -STEP
    visible1, visible2 = torch.ones(1, 1, SIZE, SIZE), torch.ones(1, 1, SIZE, SIZE)
    visible1[..., rows, left + SIDE : left + SIDE + STEP] = 0  # about to be covered
    visible2[..., rows, left : left + STEP] = 0  # just uncovered
    return flow12, flow21, visible1, visible2


def away_from_edges(mask: torch.Tensor) -> torch.Tensor:
    """True farther than a pixel from where the mask changes."""
    return F.max_pool2d(mask, 3, 1, 1) == -F.max_pool2d(-mask, 3, 1, 1)


@pytest.mark.parametrize("backward", [False, True])
def test_a_moving_square_hides_exactly_what_it_covers(backward):
    flow12, flow21, visible1, visible2 = square_over_background()
    if backward:
        flow12, flow21, visible1 = flow21, flow12, visible2
    sure = away_from_edges(visible1)
    for found in (forward_backward(flow12, flow21), range_map_visibility(flow21)):
        assert torch.equal(found[sure], visible1[sure])


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (5, 0), (-3.4, 2.2)])
def test_a_pure_shift_hides_nothing_but_what_leaves_the_frame(dx, dy):
    flow = constant_flow(dx, dy, 20, 24)
    inside = inside_frame(flow)
    assert torch.equal(forward_backward(flow, -flow) * inside, inside)
    assert torch.equal((range_map_visibility(-flow) > 1e-4).float() * inside, inside)
    assert inside.mean() < 1 or dx == dy == 0


@pytest.mark.parametrize("dx", [0.5, 5, -5])
def test_what_leaves_the_frame_is_not_visible_and_all_else_of_a_shift_is(dx):
    """Half a pixel passes the forward-backward check even where nothing comes back."""
    flow = constant_flow(dx, 0, 8, 32)
    assert torch.equal(visible_inside(flow, -flow), inside_frame(flow))
    assert inside_frame(flow).mean() < 1


def test_masks_are_zero_or_one_and_carry_no_gradient():
    flow12, flow21, *_ = square_over_background()
    flow12.requires_grad_()
    flow21.requires_grad_()
    for mask in (forward_backward(flow12, flow21), inside_frame(flow12)):
        assert not mask.requires_grad
        assert set(mask.unique().tolist()) <= {0.0, 1.0}
    soft = range_map_visibility(flow21)
    assert not soft.requires_grad
    assert 0 <= soft.min() <= soft.max() <= 1


@pytest.mark.parametrize(("speed", "back", "expected"), [(0, 1, 0), (20, -18, 1), (20, -17.1, 0), (17.3, -20, 1)])
def test_the_tolerance_grows_with_the_motion_there_and_back(speed, back, expected):
    """0.01 (|f|² + |b|²) + 0.5 is 0.51, 7.74, 7.42 and 7.49 px²; they are 1, 4, 8.41 and 7.29 apart."""
    visible = forward_backward(constant_flow(speed, 0, 4, 64), constant_flow(back, 0, 4, 64))
    assert (visible[..., :40] == expected).all()


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded outputs in ../shared are not there")
def test_the_masks_are_those_of_the_original():
    recorded = np.load(RECORDED)
    flow12, flow21 = (torch.from_numpy(recorded[name]) for name in ("flow12", "flow21"))
    for found, name in ((forward_backward(flow12, flow21), "visible1"), (forward_backward(flow21, flow12), "visible2")):
        assert np.array_equal(found.numpy() > 0.5, recorded[name] > 0)
