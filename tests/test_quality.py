import pytest
import torch
import torch.nn.functional as F
from pictures import constant_flow, texture

from mdflow.directions import BothDirections
from mdflow.losses import census
from mdflow.occlusion import forward_backward
from mdflow.quality import CENSUS_OF_UNRELATED, guess_error, label_free_scores, middle

SHIFT = 6


@pytest.fixture(scope="module")
def shifted_pair():
    """A texture that moves SHIFT pixels to the right, and its flows."""
    noise = torch.rand(1, 3, 20, 30, generator=torch.Generator().manual_seed(0))
    texture = F.interpolate(noise, (80, 120 + SHIFT), mode="bicubic").clamp(0, 1)
    flow = torch.zeros(1, 2, 80, 120)
    flow[:, 0] = SHIFT
    return texture[..., SHIFT:], texture[..., :-SHIFT], flow


def test_the_true_flow_explains_the_pair(shifted_pair):
    image1, image2, flow = shifted_pair
    scores = label_free_scores(image1, image2, flow, -flow)
    assert scores["census"] < 0.1
    assert scores["consistency"] < 1e-6
    assert scores["visible"] == pytest.approx(100 * (120 - SHIFT) / 120)


def test_standing_still_scores_worse_than_the_truth(shifted_pair):
    image1, image2, flow = shifted_pair
    still = label_free_scores(image1, image2, 0 * flow, 0 * flow)
    assert still["score"] > label_free_scores(image1, image2, flow, -flow)["score"] + 10
    assert still["visible"] == 100


def test_calling_everything_occluded_is_no_way_to_a_good_score(shifted_pair):
    image1, image2, flow = shifted_pair
    torn = label_free_scores(image1, image2, flow, flow)
    assert torn["visible"] == 0
    assert torn["census"] == 0
    assert torn["score"] == pytest.approx(CENSUS_OF_UNRELATED)
    assert torn["consistency"] == pytest.approx(2 * SHIFT)


def test_a_closer_flow_scores_better(shifted_pair):
    image1, image2, flow = shifted_pair
    scores = [label_free_scores(image1, image2, share * flow, -share * flow)["score"] for share in (0, 0.5, 0.9, 1)]
    assert scores == sorted(scores, reverse=True)


def test_only_whole_windows_and_what_stays_inside_are_judged():
    """Ruined at the outermost pixels, and disagreeing where the flow leaves: neither may be seen in the scores."""
    image1, still = texture(40, 48), torch.zeros(1, 2, 40, 48)
    image2 = image1.clone()
    image2[..., 0, :] = torch.rand(1, 3, 48, generator=torch.Generator().manual_seed(0))
    scores = label_free_scores(image1, image2, still, still)
    inner = census(image1, image2)[..., 3:-3, 3:-3].mean()
    assert scores["census"] == pytest.approx(float(inner), rel=1e-4)
    assert scores["score"] == pytest.approx(float(inner), rel=1e-4)
    away = still.clone()
    away[:, 0, :, 40:] = 100
    assert label_free_scores(image1, image1, away, still)["consistency"] == pytest.approx(100 * 8 / (40 + 48))


def test_what_moves_out_by_half_a_pixel_is_not_visible():
    image, flow = texture(40, 48), constant_flow(0.5, 0, 40, 48)
    assert label_free_scores(image, image, flow, -flow)["visible"] == pytest.approx(100 * 47 / 48)


def uniform(dx: float, dy: float, height: int = 48, width: int = 64) -> BothDirections:
    """One motion everywhere."""
    flow = torch.tensor([float(dx), float(dy)]).view(1, 2, 1, 1).expand(1, 2, height, width)
    return checked(flow, -flow)


def checked(flow12: torch.Tensor, flow21: torch.Tensor) -> BothDirections:
    """The flows with their visibility, as a predictor gives them."""
    return BothDirections(flow12, flow21, forward_backward(flow12, flow21), forward_backward(flow21, flow12))


def middle_of(whole: BothDirections) -> BothDirections:
    return BothDirections(*map(middle, whole))


def test_the_middle_is_three_quarters_of_a_frame():
    planes = torch.arange(48.0 * 64).view(1, 1, 48, 64)
    assert torch.equal(middle(planes), planes[..., 6:42, 8:56])


def test_a_guess_that_is_right_has_no_error():
    whole = uniform(4, -3)
    assert guess_error(whole, middle_of(whole)) == 0


def test_a_guess_that_stands_still_errs_by_the_motion_and_only_what_leaves_the_cut_is_judged():
    whole = uniform(4, -3)
    guess = [flow.clone() for flow in middle_of(whole)[:2]]
    guess[0][..., 3:, :-4] += 100  # these stay inside: they move by 4 to the right and 3 up
    guess[1][..., :-3, 4:] += 100
    for flow, rows, columns in ((guess[0], slice(0, 3), slice(-4, None)), (guess[1], slice(-3, None), slice(0, 4))):
        flow[..., rows, :] = 0
        flow[..., :, columns] = 0
    assert guess_error(whole, BothDirections(*guess, *whole[2:])) == pytest.approx(5)


def test_without_motion_out_of_the_middle_there_is_nothing_to_guess():
    whole = uniform(0, 0)
    assert guess_error(whole, middle_of(whole)) is None


def test_what_leaves_the_whole_frame_or_contradicts_itself_is_no_truth():
    gone = uniform(70, 0)
    torn = checked(uniform(4, 0).flow12, uniform(4, 0).flow12)
    assert guess_error(gone, middle_of(gone)) is None
    assert guess_error(torn, middle_of(torn)) is None
