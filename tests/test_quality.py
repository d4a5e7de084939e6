import pytest
import torch
import torch.nn.functional as F

from mdflow.quality import CENSUS_OF_UNRELATED, label_free_scores

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
