"""How good a flow is when nobody knows the truth."""

import torch
from torch import Tensor

from mdflow.directions import BothDirections
from mdflow.geometry import inside_frame, warp
from mdflow.losses import census, inside_border, masked_mean
from mdflow.occlusion import forward_backward

CENSUS_RADIUS = 3
CENSUS_OF_UNRELATED = 28.0
"""Mean census distance of real frames displaced by 50 px: what a pixel costs that nothing explains."""
CUT = 8  # of a frame, one such part is cut off at each side


@torch.no_grad()
def label_free_scores(image1: Tensor, image2: Tensor, flow12: Tensor, flow21: Tensor) -> dict[str, float]:
    """Scores of the flows between two images (B,3,H,W) in [0,1]; less is better, but for "visible".

    "census": mean census distance (7×7, at most 46.8) of the pixels that both frames show, by the
    forward-backward check. "consistency": mean |f + b_w| in pixels, where f stays in the frame.
    "visible": the share of visible pixels in percent. "score", to choose a checkpoint by: the census over
    all pixels, where one that is not visible counts as badly as unrelated texture (CENSUS_OF_UNRELATED), so
    that neither a flow that stands still nor one that calls everything occluded looks good.
    Each is the mean of both temporal directions.
    """
    # One pass over both directions: everything of frame 1 first, then of frame 2.
    image, other = torch.cat([image1, image2]), torch.cat([image2, image1])
    flow, back = torch.cat([flow12, flow21]), torch.cat([flow21, flow12])
    inside = inside_frame(flow)
    visible = forward_backward(flow, back) * inside
    distance = unexplained(image, other, flow)
    complete = inside_border(image, CENSUS_RADIUS).expand_as(visible)
    consistency = (flow + warp(back, flow, padding="border")).norm(dim=1, keepdim=True)
    cost = visible * distance + (1 - visible) * CENSUS_OF_UNRELATED
    scores = {
        "census": masked_mean(distance, visible * complete),
        "consistency": masked_mean(consistency, inside),
        "visible": 100 * visible.mean(),
        "score": masked_mean(cost, complete),
    }
    return {name: float(value) for name, value in scores.items()}


def unexplained(image1: Tensor, image2: Tensor, flow12: Tensor) -> Tensor:
    """The census distance (B,1,H,W), 7×7, that each pixel of image1 (B,3,H,W) keeps from where its flow leads."""
    return census(image1, warp(image2, flow12, padding="border"), CENSUS_RADIUS)


def middle(planes: Tensor) -> Tensor:
    """The middle (B,C,h,w) of images or maps (B,C,H,W), an eighth less at each side."""
    top, left = (size // CUT for size in planes.shape[-2:])
    return planes[..., top : planes.shape[-2] - top, left : planes.shape[-1] - left]


@torch.no_grad()
def guess_error(whole: BothDirections, cut: BothDirections) -> float | None:
    """Mean distance in pixels of a network's guesses from what it sees: a judge of hidden motion without labels.

    whole: its flows (B,2,H,W) of two frames; cut: those of the frames' `middle`. What moves out of the middle is hidden
    in the cut frames alone, so there the flow of the whole frames, where both directions agree, judges the guess. None
    if nothing moves out. A flow that stands still passes: it is no score to train by.
    """
    flow, visible = torch.cat([whole.flow12, whole.flow21]), torch.cat([whole.visible1, whole.visible2])
    seen, guess = middle(flow), torch.cat([cut.flow12, cut.flow21])
    hidden = middle(visible * inside_frame(flow)) * (1 - inside_frame(seen))
    return float(masked_mean((guess - seen).norm(dim=1, keepdim=True), hidden)) if hidden.any() else None
