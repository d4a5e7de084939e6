"""Which pixels the other frame shows: masks (B,1,H,W), 1 = visible, never with a gradient."""

import torch
from torch import Tensor

from mdflow.geometry import inside_frame, range_map, warp

RELATIVE, ABSOLUTE = 0.01, 0.5  # of the squared lengths; in px². Sundaram et al. 2010, UnFlow, MDFlow


@torch.no_grad()
def forward_backward(flow12: Tensor, flow21: Tensor) -> Tensor:
    """Pixels of frame 1 whose flow and the backward flow found at its end cancel.

    |f + b_w|² < 0.01 (|f|² + |b_w|²) + 0.5, with b_w = flow21 warped by f = flow12 (Sundaram et al., ECCV 2010).
    Outside the frame b_w is zero, as in MDFlow's release. On an untrained network this calls nearly
    everything occluded: start with `range_map_visibility` or no mask.
    """
    backward = warp(flow21, flow12)
    squared = (flow12**2).sum(1, keepdim=True) + (backward**2).sum(1, keepdim=True)
    difference = ((flow12 + backward) ** 2).sum(1, keepdim=True)
    return (difference < RELATIVE * squared + ABSOLUTE).to(flow12.dtype)


def visible_inside(flow12: Tensor, flow21: Tensor) -> Tensor:
    """Pixels of frame 1 that pass the forward-backward check and stay inside the frame."""
    return forward_backward(flow12, flow21) * inside_frame(flow12)


@torch.no_grad()
def range_map_visibility(flow21: Tensor) -> Tensor:
    """How far each pixel of frame 1 is one that pixels of frame 2 map to, at most 1 (Wang et al., CVPR 2018)."""
    return range_map(flow21).clamp(0, 1)
