"""Which pseudo-labels to trust."""

import torch
from torch import Tensor

from mdflow.config import ConfidenceConfig
from mdflow.losses import inside_border
from mdflow.occlusion import visible_inside
from mdflow.quality import CENSUS_RADIUS, unexplained


@torch.no_grad()
def reliable_mask(image1: Tensor, image2: Tensor, flow12: Tensor, flow21: Tensor, config: ConfidenceConfig) -> Tensor:
    """The trust in the label flow12 of frame 1's pixels (B,1,H,W): visible, and census distance at most τ.

    M = O · 1[census(I1, warp(I2, flow)) ≤ τ] (MDFlow, Kong & Yang 2022). τ is not published: `threshold` is
    an absolute one, out of 46.8; `quantile` one drawn from each image's visible pixels. The strictest
    of those that are set counts. `soft` trusts by degrees: what remains gets the weight exp(−census / soft).
    """
    visible = torch.ones_like(flow12[:, :1])
    if config.occlusion:
        visible = visible_inside(flow12, flow21)
    if config.threshold is None and config.quantile is None and config.soft is None:
        return visible
    distance = unexplained(image1, image2, flow12)
    mask = visible
    if config.threshold is not None:
        mask = mask * (distance <= config.threshold)
    if config.quantile is not None:
        mask = mask * (distance <= image_quantile(distance, visible, config.quantile))
    if config.soft is not None:
        mask = mask * torch.exp(-distance / config.soft)
    return mask * inside_border(mask, CENSUS_RADIUS)


def image_quantile(values: Tensor, weight: Tensor, quantile: float) -> Tensor:
    """The quantile of each image's values where weight is set, (B,1,1,1); of an empty mask the maximum of all."""
    chosen = values.masked_fill(weight == 0, float("nan")).flatten(1)
    found = torch.nanquantile(chosen, quantile, dim=1)
    return torch.where(found.isnan(), values.flatten(1).amax(1), found).view(-1, 1, 1, 1)
